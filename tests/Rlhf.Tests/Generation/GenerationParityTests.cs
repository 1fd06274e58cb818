using System.Text.Json;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Runtime;

namespace Rlhf.Tests.Generation;

public sealed class GenerationParityTests
{
    public static TheoryData<string> Cases() => [.. GenerationFixtures.GenerateCases()];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Responses_are_those_of_transformers(string name)
    {
        using var sampling = JsonDocument.Parse(File.ReadAllText(Fixtures.Path("sampling.json")));
        var generate = sampling.RootElement.GetProperty("generate").EnumerateArray()
            .Single(g => g.GetProperty("name").GetString() == name);
        var settings = generate.GetProperty("settings");
        Assert.SkipWhen(settings.TryGetProperty("num_beams", out _), "Beam search is not offered.");
        bool onTheRight = generate.GetProperty("padding_side").GetString() == "right";
        Assert.SkipWhen(onTheRight, "Continuing behind padding on the right is wrong usage.");

        var padded = generate.GetProperty("input_ids").Deserialize<int[][]>()!;
        var mask = generate.GetProperty("attention_mask").Deserialize<int[][]>()!;
        var sequences = generate.GetProperty("sequences").Deserialize<int[][]>()!;
        var queries = padded.Select((row, b) => row.Where((_, t) => mask[b][t] == 1).ToArray()).ToArray();
        var config = GenerationFixtures.Config(settings);
        if (settings.TryGetProperty("max_length", out var maxLength))
            config = config with { MaxNewTokens = maxLength.GetInt32() - padded[0].Length };
        var ends = EndTokens(settings);
        config = config with { EosTokenId = ends.Length > 0 ? ends[0] : -1 };

        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));
        var generator = new TextGenerator(model) { StopTokenIds = ends };
        var result = generator.Generate(queries, config, null, new RandomStream(0, "unused"));
        int padding = settings.GetProperty("pad_token_id").GetInt32();
        for (int b = 0; b < queries.Length; b++)
        {
            var expected = sequences[b][padded[b].Length..];
            Assert.Equal(expected[..result.Responses[b].Length], result.Responses[b]);
            // transformers fills the rest of the batch with the padding token.
            Assert.All(expected[result.Responses[b].Length..], id => Assert.Equal(padding, id));
            Assert.Equal(ends.Contains(result.Responses[b][^1]), result.EndedByEos[b]);
        }
    }

    private static int[] EndTokens(JsonElement settings) => settings.GetProperty("eos_token_id") switch
    {
        { ValueKind: JsonValueKind.Number } one => [one.GetInt32()],
        { ValueKind: JsonValueKind.Array } several => several.Deserialize<int[]>()!,
        _ => [],
    };
}
