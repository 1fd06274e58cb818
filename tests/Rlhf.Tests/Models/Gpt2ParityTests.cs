using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>GPT-2 against the numbers that transformers gave (tests/fixtures/README.md).</summary>
public sealed class Gpt2ParityTests
{
    private const double Tolerance = 1e-4;

    /// <summary>
    /// Every GPT-2 of the fixtures with each layout of its padding for which a tensor is expected; one usual name when there is
    /// none, so that it is skipped by name.
    /// </summary>
    public static TheoryData<string, string> Layouts(string tensor)
    {
        (string, string)[] found = [..
            from model in Models()
            where File.Exists(ExpectedPath(model))
            let expected = FixtureTensors.Load(ExpectedPath(model))
            from layout in new[] { "right", "left", "left_nopos" }
            where expected.Has($"{layout}.{tensor}")
            select (model, layout)];
        return new(found.Length > 0 ? found : [("gpt2-tiny", "right")]);
    }

    public static TheoryData<string> ModelNames() => [.. Models()];

    private static string[] Models()
    {
        string[] found = !Directory.Exists(Fixtures.Root) ? [] : [.. Directory.GetDirectories(Fixtures.Root)
            .Where(d => File.Exists(ExpectedPath(Path.GetFileName(d))) && File.Exists(Path.Combine(d, "config.json"))
                && File.ReadAllText(Path.Combine(d, "config.json")).Contains("\"gpt2\"", StringComparison.Ordinal))
            .Select(d => Path.GetFileName(d)!).Order()];
        return found.Length > 0 ? found : ["gpt2-tiny"];
    }

    private static string ExpectedPath(string model) => Path.Combine(Fixtures.Root, model + "-expected.safetensors");

    [Theory]
    [MemberData(nameof(Layouts), "hidden_states")]
    public void HiddenStatesLogitsAndLogprobsMatch(string name, string layout)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Expected(name);
        using var model = (Gpt2LMHeadModel)AutoModelForCausalLM.FromPretrained(Fixtures.Path(name));
        var mask = Rows(expected[layout + ".attention_mask"]);
        using var batch = Batch(expected, layout);

        var states = model.HiddenStates(batch);
        var wanted = expected[layout + ".hidden_states"];
        for (int layer = 0; layer < states.Count; layer++)
            AssertClose(PackRows(wanted[layer], mask), states[layer], Tolerance);
        var hidden = model.Forward(batch);
        AssertClose(PackRows(expected[layout + ".logits"], mask), model.Logits(hidden), Tolerance);

        var ids = Rows(expected[layout + ".input_ids"]);
        var logprobs = expected[layout + ".next_token_logprobs"];
        for (int b = 0; b < mask.Length; b++)
        {
            var columns = Enumerable.Range(0, mask[b].Length).Where(t => mask[b][t] != 0).ToArray();
            if (columns.Length < 2)
                continue;
            var targets = tensor(columns.Skip(1).Select(t => (long)ids[b][t]).ToArray());
            var actual = model.Head.Logprobs(hidden.narrow(0, batch.Offsets[b], columns.Length - 1), targets);
            AssertClose(logprobs[b].index_select(0, tensor(columns.SkipLast(1).Select(t => (long)t).ToArray())), actual, Tolerance);
        }
    }

    [Theory]
    [MemberData(nameof(Layouts), "cached_logits")]
    public void TheCachedPathEqualsTheFullPath(string name, string layout)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Expected(name);
        Assert.SkipWhen(layout == "left_nopos", "Positions that count padding have no cached form.");
        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path(name));
        var mask = Rows(expected[layout + ".attention_mask"]);
        var ids = Rows(expected[layout + ".input_ids"]);
        var tokens = ids.Select((row, b) => row.Where((_, t) => mask[b][t] != 0).ToArray()).ToArray();
        var wanted = tokens.Select((_, b) => expected[layout + ".cached_logits"][b]
            .index_select(0, tensor(Enumerable.Range(0, mask[b].Length).Where(t => mask[b][t] != 0).Select(t => (long)t)
                .ToArray()))).ToArray();

        using var cache = model.CreateCache(tokens.Length, tokens.Max(t => t.Length));
        using var prefix = PackedBatch.FromRows(tokens.Select(t => t[..Math.Max(1, t.Length / 2)]).ToArray());
        var hidden = model.Prefill(prefix, cache);
        for (int b = 0; b < tokens.Length; b++)
            AssertClose(wanted[b].narrow(0, 0, prefix.Length(b)),
                model.Logits(hidden.narrow(0, prefix.Offsets[b], prefix.Length(b))), Tolerance);

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
                AssertClose(wanted[rows[r]][at[r]], logits[r], Tolerance);
        }
    }

    [Theory]
    [MemberData(nameof(Layouts), "labels")]
    public void LossAndGradientsMatch(string name, string layout)
    {
        using var scope = NewDisposeScope();
        var expected = Expected(name);
        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path(name));
        using var batch = Batch(expected, layout);
        var labels = Rows(expected[layout + ".labels"]);
        List<long> positions = [], targets = [];
        for (int b = 0; b < labels.Length; b++)
            for (int t = 1; t < batch.Length(b); t++)
                if (labels[b][t] != -100)
                {
                    positions.Add(batch.Offsets[b] + t - 1);
                    targets.Add(labels[b][t]);
                }
        var hidden = model.Forward(batch).index_select(0, tensor(positions.ToArray()));
        var pass = model.Head.ForwardBackward(hidden, tensor(targets.ToArray()), (long _, Tensor l) =>
            full_like(l, -1.0 / targets.Count));
        hidden.backward([pass.HiddenGradient]);

        Assert.Equal(expected[layout + ".lm_loss"].ToDouble(), -pass.Logprobs.mean().ToDouble(), 1e-4);
        int compared = 0;
        foreach (var (parameter, value) in model.Parameters)
            if (expected.TryGetValue($"{layout}.lm_grad.{parameter}", out var gradient))
            {
                AssertClose(gradient, value.grad!, Tolerance);
                compared++;
            }
        Assert.Equal(model.Parameters.Count, compared);
    }

    [Theory]
    [MemberData(nameof(ModelNames))]
    public void TheFullContextMatches(string name)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Expected(name);
        Assert.SkipUnless(expected.ContainsKey("full.input_ids"), $"{name} has no numbers for the full context.");
        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path(name));
        var ids = Rows(expected["full.input_ids"]);
        using var batch = PackedBatch.FromRows(ids);
        var last = model.Forward(batch).view(ids.Length, ids[0].Length, -1)[TensorIndex.Colon, -1];
        AssertClose(expected["full.last_logits"], model.Logits(last), Tolerance);
    }

    [Theory]
    [MemberData(nameof(Layouts), "values")]
    public void ValuesMatch(string name, string layout)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Expected(name);
        using var model = CausalLMWithValueHead.FromPretrained(Fixtures.Path(name));
        using var batch = Batch(expected, layout);
        var mask = Rows(expected[layout + ".attention_mask"]);
        var hidden = model.PretrainedModel.Forward(batch);
        AssertClose(PackRows(expected[layout + ".lm_logits"], mask), model.PretrainedModel.Logits(hidden), Tolerance);
        AssertClose(PackRows(expected[layout + ".values"].unsqueeze(2), mask).squeeze(1), model.Values(hidden), Tolerance);
    }

    [Theory]
    [MemberData(nameof(ModelNames))]
    public void SavingKeepsNamesAndNumbers(string name)
    {
        using var scope = NewDisposeScope();
        using var folder = new Fixtures.TemporaryFolder();
        var original = SafeTensors.Load(Fixtures.Path(name, "model.safetensors"));
        using (var model = CausalLMWithValueHead.FromPretrained(Fixtures.Path(name)))
            model.SavePretrained(folder.Path, includeValueHead: original.ContainsKey("v_head.summary.weight"));
        var saved = SafeTensors.Load(Path.Combine(folder.Path, "model.safetensors"));
        Assert.Equal(original.Keys.Order(), saved.Keys.Order());
        foreach (var (tensor, value) in original)
            Assert.True(value.equal(saved[tensor]).all().ToBoolean(), tensor);
    }

    private static Dictionary<string, Tensor> Expected(string name) => SafeTensors.Load(Fixtures.Path(name + "-expected.safetensors"));

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

    private static void AssertClose(Tensor expected, Tensor actual, double tolerance)
    {
        Assert.Equal(expected.shape, actual.shape);
        Assert.InRange((expected - actual).abs().max().ToDouble(), 0, tolerance);
    }
}
