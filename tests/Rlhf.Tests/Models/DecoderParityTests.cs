using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Decoders;
using Rlhf.Runtime;
using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>
/// Llama, Mistral, Qwen, Gemma, Phi-3, Pythia, OLMo 2 and SmolLM3 against the numbers that transformers gave, under each form of their
/// config.json (tests/fixtures/README.md, "families").
/// </summary>
public sealed class DecoderParityTests
{
    private const double Tolerance = 1e-4;

    private static readonly string Root = Path.Combine(Fixtures.Root, "families");

    /// <summary>Every model for which a tensor is expected, with every form of its configuration; a usual name when there is none.</summary>
    public static TheoryData<string, string> Cases(string tensor)
    {
        (string, string)[] found = [..
            from model in Models()
            where FixtureTensors.Load(ExpectedPath(model)).Has(tensor)
            from config in new[] { "config.json", "config-v4.json", "config-hub.json" }
            where File.Exists(Path.Combine(Root, model, config))
            select (model, config)];
        return new(found.Length > 0 ? found : [("llama", "config.json")]);
    }

    private static IEnumerable<string> Models() => !Directory.Exists(Root) ? [] : Directory.GetDirectories(Root)
        .Select(d => Path.GetFileName(d)!).Where(n => File.Exists(ExpectedPath(n)) && Kind(n) != "gpt2").Order();

    private static string? Kind(string model) =>
        (string?)JsonNode.Parse(File.ReadAllText(Path.Combine(Root, model, "config.json")))!["model_type"];

    private static string ExpectedPath(string model) => Path.Combine(Root, model + "-expected.safetensors");

    [Theory]
    [MemberData(nameof(Cases), "right.hidden_states")]
    public void HiddenStatesLogitsAndLogprobsMatch(string name, string config)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Expected(name);
        using var model = (DecoderForCausalLM)Load(name, config);
        Assert.Equal(model.Parameters.ElementCount, model.Shape.Parameters);
        foreach (string layout in new[] { "right", "left" })
        {
            var mask = Rows(expected[layout + ".attention_mask"]);
            using var batch = Batch(expected, layout);
            var states = model.HiddenStates(batch);
            var wanted = expected[layout + ".hidden_states"];
            for (int layer = 0; layer < states.Count; layer++)
                AssertClose(PackRows(wanted[layer], mask), states[layer], $"{layout} layer {layer}");
            var hidden = model.Forward(batch);
            AssertClose(PackRows(expected[layout + ".logits"], mask), model.Logits(hidden), layout + " logits");

            var ids = Rows(expected[layout + ".input_ids"]);
            var logprobs = expected[layout + ".next_token_logprobs"];
            for (int b = 0; b < mask.Length; b++)
            {
                var columns = Enumerable.Range(0, mask[b].Length).Where(t => mask[b][t] != 0).ToArray();
                if (columns.Length < 2)
                    continue;
                var targets = tensor(columns.Skip(1).Select(t => (long)ids[b][t]).ToArray());
                var actual = model.Head.Logprobs(hidden.narrow(0, batch.Offsets[b], columns.Length - 1), targets);
                AssertClose(logprobs[b].index_select(0, tensor(columns.SkipLast(1).Select(t => (long)t).ToArray())), actual, layout);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases), "right.cached_logits")]
    public void TheCachedPathMatches(string name, string config)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Expected(name);
        using var model = Load(name, config);
        foreach (string layout in new[] { "right", "left" })
        {
            var mask = Rows(expected[layout + ".attention_mask"]);
            var ids = Rows(expected[layout + ".input_ids"]);
            var tokens = ids.Select((row, b) => row.Where((_, t) => mask[b][t] != 0).ToArray()).ToArray();
            var wanted = tokens.Select((_, b) => expected[layout + ".cached_logits"][b].index_select(0,
                tensor(Enumerable.Range(0, mask[b].Length).Where(t => mask[b][t] != 0).Select(t => (long)t).ToArray()))).ToArray();

            using var cache = model.CreateCache(tokens.Length, tokens.Max(t => t.Length));
            using var prefix = PackedBatch.FromRows(tokens.Select(t => t[..Math.Max(1, t.Length / 2)]).ToArray());
            var hidden = model.Prefill(prefix, cache);
            for (int b = 0; b < tokens.Length; b++)
                AssertClose(wanted[b].narrow(0, 0, prefix.Length(b)),
                    model.Logits(hidden.narrow(0, prefix.Offsets[b], prefix.Length(b))), layout + " prefill");

            // Rows that have no further token leave the cache; the last active row takes their place.
            var rows = Enumerable.Range(0, tokens.Length).ToList();
            while (true)
            {
                for (int r = rows.Count - 1; r >= 0; r--)
                    if (cache.Lengths[r] == tokens[rows[r]].Length)
                    {
                        cache.Remove(r);
                        rows[r] = rows[^1];
                        rows.RemoveAt(rows.Count - 1);
                    }
                if (rows.Count == 0)
                    break;
                var next = rows.Select((b, r) => (long)tokens[b][cache.Lengths[r]]).ToArray();
                var at = rows.Select((_, r) => cache.Lengths[r]).ToArray();
                var logits = model.Logits(model.Decode(tensor(next), cache));
                for (int r = 0; r < rows.Count; r++)
                    AssertClose(wanted[rows[r]][at[r]], logits[r], layout + " step");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases), "right.labels")]
    public void LossAndGradientsMatch(string name, string config)
    {
        using var scope = NewDisposeScope();
        var expected = Expected(name);
        using var model = Load(name, config);
        var labels = Rows(expected["right.labels"]);
        var mask = Rows(expected["right.attention_mask"]);
        var ids = Rows(expected["right.input_ids"]);
        using var rows = ScoredRows.Of([.. ids.Select((row, b) =>
        {
            int length = mask[b].Sum();
            return new TokenRow(row[..length], [.. labels[b][..length].Select(l => l != -100)]);
        })]);
        var hidden = rows.Hidden(model.Forward(rows.Batch));
        var pass = model.Head.ForwardBackward(hidden, rows.Targets, all => full_like(all.Logprobs, -1.0 / rows.Count));
        hidden.backward([pass.HiddenGradient]);

        Assert.Equal(expected["right.lm_loss"].ToDouble(), -pass.Logprobs.mean().ToDouble(), 1e-4);
        int compared = 0;
        foreach (var (parameter, value) in model.Parameters)
            if (expected.TryGetValue($"right.lm_grad.{parameter}", out var gradient))
            {
                AssertClose(gradient, value.grad!, parameter);
                compared++;
            }
        Assert.Equal(expected.Keys.Count(k => k.StartsWith("right.lm_grad.", StringComparison.Ordinal)), compared);
    }

    [Theory]
    [MemberData(nameof(Cases), "full.input_ids")]
    public void LongRowsMatch(string name, string config)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Expected(name);
        using var model = Load(name, config);
        var ids = Rows(expected["full.input_ids"]);
        using var batch = PackedBatch.FromRows(ids);
        var last = model.Forward(batch).view(ids.Length, ids[0].Length, -1)[TensorIndex.Colon, -1];
        AssertClose(expected["full.last_logits"], model.Logits(last), "last logits");
    }

    [Theory]
    [MemberData(nameof(Cases), "greedy.sequences")]
    public void GreedyAnswersMatch(string name, string config)
    {
        using var scope = NewDisposeScope();
        var expected = Expected(name);
        using var model = Load(name, config);
        int[][] padded = Rows(expected["greedy.input_ids"]), mask = Rows(expected["greedy.attention_mask"]);
        var sequences = Rows(expected["greedy.sequences"]);
        var queries = padded.Select((row, b) => row.Where((_, t) => mask[b][t] == 1).ToArray()).ToArray();
        int longest = sequences[0].Length - padded[0].Length;
        var result = new TextGenerator(model).Generate(
            queries, new GenerationConfig { DoSample = false, MaxNewTokens = longest }, null, new RandomStream(0, "unused"));
        for (int b = 0; b < queries.Length; b++)
        {
            var wanted = sequences[b][padded[b].Length..];
            int end = Array.FindIndex(wanted, id => model.EosTokenIds.Contains(id));
            Assert.Equal(end < 0 ? wanted : wanted[..(end + 1)], result.Responses[b]);
        }
    }

    /// <summary>Recomputed at each step: a text that grows beyond the original length changes its frequencies.</summary>
    [Theory]
    [MemberData(nameof(Cases), "nocache.sequences")]
    public void AnswersWithoutACacheMatch(string name, string config)
    {
        using var noGrad = no_grad();
        var expected = Expected(name);
        using var model = Load(name, config);
        int[] wanted = Rows(expected["nocache.sequences"])[0];
        List<int> text = [.. Rows(expected["nocache.input_ids"])[0]];
        while (text.Count < wanted.Length)
        {
            using var scope = NewDisposeScope();
            using var batch = PackedBatch.FromRows([[.. text]]);
            text.Add((int)model.Logits(model.Forward(batch).narrow(0, text.Count - 1, 1)).argmax(-1).item<long>());
        }
        Assert.Equal(wanted, text);
    }

    [Theory]
    [MemberData(nameof(Cases), "right.values")]
    public void ValuesMatch(string name, string config)
    {
        Assert.True(config.Length > 0);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Expected(name);
        using var model = CausalLMWithValueHead.FromPretrained(Path.Combine(Root, name));
        Assert.Empty(model.PretrainedModel.LoadNotes);
        foreach (string layout in new[] { "right", "left" })
        {
            using var batch = Batch(expected, layout);
            var mask = Rows(expected[layout + ".attention_mask"]);
            var hidden = model.PretrainedModel.Forward(batch);
            AssertClose(PackRows(expected[layout + ".lm_logits"], mask), model.PretrainedModel.Logits(hidden), "logits");
            AssertClose(PackRows(expected[layout + ".values"].unsqueeze(2), mask).squeeze(1), model.Values(hidden), "values");
        }
        using var folder = new Fixtures.TemporaryFolder();
        model.SavePretrained(folder.Path);
        Assert.Equal(SafeTensors.Load(Path.Combine(Root, name, "model.safetensors")).Keys.Order(),
            SafeTensors.Load(Path.Combine(folder.Path, "model.safetensors")).Keys.Order());
    }

    [Theory]
    [MemberData(nameof(Cases), "right.hidden_states")]
    public void SavingKeepsNamesNumbersAndConfiguration(string name, string config)
    {
        using var scope = NewDisposeScope();
        using var folder = new Fixtures.TemporaryFolder();
        using var model = Load(name, config);
        model.SavePretrained(folder.Path);
        using var again = AutoModelForCausalLM.FromPretrained(folder.Path);
        Assert.All(model.Parameters, p => Assert.True(p.Value.Equals(again.Parameters[p.Key]), p.Key));
        var before = JsonNode.Parse(File.ReadAllText(Path.Combine(Root, name, config)))!.AsObject();
        var after = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "config.json")))!.AsObject();
        foreach (var (key, value) in before)
            if (key is not ("torch_dtype" or "dtype"))
                Assert.True(JsonNode.DeepEquals(value, after[key]), key);
        using var copy = model.CreateFrozenCopy(1);
        Assert.Same(model.Parameters[0].Value, copy.Parameters[0].Value);
        Assert.NotSame(model.Parameters[^1].Value, copy.Parameters[^1].Value);
    }

    private static CausalLM Load(string name, string config)
    {
        string file = Fixtures.Path("families", name, config);
        var model = AutoModelForCausalLM.FromConfig(ModelConfig.Parse(File.ReadAllBytes(file), file));
        using var weights = WeightFiles.Open(Path.Combine(Root, name));
        model.LoadWeights(weights);
        Assert.Empty(model.LoadNotes);
        return model;
    }

    private static Dictionary<string, Tensor> Expected(string name) =>
        SafeTensors.Load(Fixtures.Path("families", name + "-expected.safetensors"));

    private static PackedBatch Batch(Dictionary<string, Tensor> expected, string layout) => PackedBatch.FromPadded(
        Rows(expected[layout + ".input_ids"]), Rows(expected[layout + ".attention_mask"]),
        expected.TryGetValue(layout + ".position_ids", out var positions) ? Rows(positions) : null);

    private static int[][] Rows(Tensor matrix) => Enumerable.Range(0, (int)matrix.shape[0])
        .Select(b => matrix[b].data<long>().Select(v => (int)v).ToArray()).ToArray();

    /// <summary>Padded [B, T, ..] to the rows [N, ..] where the mask is 1.</summary>
    private static Tensor PackRows(Tensor padded, int[][] mask)
    {
        var index = mask.SelectMany((row, b) =>
            Enumerable.Range(0, row.Length).Where(t => row[t] != 0).Select(t => (long)b * row.Length + t)).ToArray();
        return padded.reshape([-1, .. padded.shape[2..]]).index_select(0, tensor(index));
    }

    private static void AssertClose(Tensor expected, Tensor actual, string what)
    {
        Assert.Equal(expected.shape, actual.shape);
        double difference = (expected - actual).abs().max().ToDouble();
        Assert.True(difference <= Tolerance, $"{what} differs by {difference}");
    }
}
