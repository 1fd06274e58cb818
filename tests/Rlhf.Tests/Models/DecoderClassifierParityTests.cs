using System.Text.Json;
using Rlhf.Models;
using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>Classifiers and reward models on language models against the numbers of transformers, and which position they read.</summary>
public sealed class DecoderClassifierParityTests
{
    private static readonly string Root = Path.Combine(Fixtures.Root, "families");

    public static TheoryData<string> Names()
    {
        string[] found = !Directory.Exists(Root) ? [] : [.. Directory.GetFiles(Root, "*-expected.safetensors")
            .Where(f => FixtureTensors.Load(f).Has("alone.logits")).Select(f => Path.GetFileName(f)[..^"-expected.safetensors".Length]).Order()];
        return [.. found.Length > 0 ? found : ["llama-reward"]];
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void LogitsMatch(string name)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var model = AutoModelForSequenceClassification.FromPretrained(Fixtures.Path("families", name));
        Assert.Empty(model.LoadNotes);
        var expected = SafeTensors.Load(Fixtures.Path("families", name + "-expected.safetensors"));
        foreach (string layout in new[] { "right", "left" })
        {
            using var batch = PackedBatch.FromPadded(Rows(expected[layout + ".input_ids"]), Rows(expected[layout + ".attention_mask"]),
                expected.TryGetValue(layout + ".position_ids", out var positions) ? Rows(positions) : null);
            AssertClose(expected[layout + ".logits"], model.Forward(batch));
        }
        using var folder = new Fixtures.TemporaryFolder();
        model.SavePretrained(folder.Path);
        using var again = AutoModelForSequenceClassification.FromPretrained(folder.Path);
        Assert.All(model.Parameters, p => Assert.True(p.Value.Equals(again.Parameters[p.Key]), p.Key));
    }

    /// <summary>Cases of one row or of rows without padding inside; those with padding that is attended to are another library's input.</summary>
    [Fact]
    public void ThePositionThatIsReadIsTheLastTokenThatIsNotPadding()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var cases = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Path("families", "classifier-cases.json")));
        int compared = 0;
        foreach (var test in cases.RootElement.EnumerateArray())
        {
            if (!test.TryGetProperty("logits", out var logits))
                continue; // several rows without a padding token: rows stand by themselves here
            string folder = Fixtures.Path("families", test.GetProperty("model").GetString()!);
            var config = ModelConfig.Read(folder).With("pad_token_id", test.GetProperty("pad_token_id").ValueKind == JsonValueKind.Null
                ? null : test.GetProperty("pad_token_id").GetInt32());
            using var model = AutoModelForSequenceClassification.FromConfig(config);
            using var weights = WeightFiles.Open(folder);
            model.LoadWeights(weights);
            var ids = test.GetProperty("input_ids").Deserialize<int[][]>()!;
            var read = test.GetProperty("position_read").Deserialize<int[]>()!;
            var mask = test.GetProperty("attention_mask").Deserialize<int[][]?>();
            var positions = test.GetProperty("position_ids").Deserialize<int[][]?>();
            for (int b = 0; b < ids.Length; b++)
            {
                // A causal model computes the same without what stands behind the position, and without what its mask hides.
                bool hidden = mask is not null && Enumerable.Range(0, read[b] + 1).Any(t => mask[b][t] == 0);
                if (hidden && mask![b][read[b]] == 0)
                    continue;
                int first = hidden ? Array.IndexOf(mask![b], 1) : 0;
                using var batch = positions is null && hidden
                    ? PackedBatch.FromRows([ids[b][first..]], positionOffsets: [first]) : PackedBatch.FromRows([ids[b][first..]]);
                var wanted = tensor(logits[b].Deserialize<float[]>()!);
                AssertClose(wanted, model.Forward(batch)[0]);
                compared++;
            }
        }
        Assert.True(compared > 20);
    }

    private static int[][] Rows(Tensor matrix) => Enumerable.Range(0, (int)matrix.shape[0])
        .Select(b => matrix[b].data<long>().Select(v => (int)v).ToArray()).ToArray();

    private static void AssertClose(Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.shape, actual.shape);
        Assert.InRange((expected - actual).abs().max().ToDouble(), 0, 1e-4);
    }
}
