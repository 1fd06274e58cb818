using System.Text.Json;
using Rlhf.Generation;

namespace Rlhf.Tests.Generation;

/// <summary>Reads transformers' generation settings.</summary>
internal static class GenerationFixtures
{
    /// <summary>Names of the generation cases of sampling.json; one that says so when the file is not there.</summary>
    public static IEnumerable<string> GenerateCases()
    {
        var path = Path.Combine(Fixtures.Root, "sampling.json");
        if (!File.Exists(path))
            return ["absent"];
        using var sampling = JsonDocument.Parse(File.ReadAllText(path));
        return [.. sampling.RootElement.GetProperty("generate").EnumerateArray().Select(g => g.GetProperty("name").GetString()!)];
    }

    /// <param name="settings">Names and values as in transformers' GenerationConfig.</param>
    public static GenerationConfig Config(JsonElement settings)
    {
        double Number(string name, double absent) =>
            settings.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : absent;
        return new GenerationConfig
        {
            DoSample = !settings.TryGetProperty("do_sample", out var sample) || sample.GetBoolean(),
            Temperature = Number("temperature", 1),
            TopK = (int)Number("top_k", 0),
            TopP = Number("top_p", 1),
            MinP = settings.TryGetProperty("min_p", out var minP) ? minP.GetDouble() : null,
            TypicalP = Number("typical_p", 1),
            RepetitionPenalty = Number("repetition_penalty", 1),
            NoRepeatNgramSize = (int)Number("no_repeat_ngram_size", 0),
            MinLength = (int)Number("min_length", -1),
            MinNewTokens = (int)Number("min_new_tokens", 0),
            MaxNewTokens = (int)Number("max_new_tokens", 20),
        };
    }
}
