using System.Text.Json;
using Rlhf.Generation;
using Rlhf.Runtime;

namespace Rlhf.Tests.Generation;

public sealed class LogitsProcessorsTests
{
    private static readonly JsonDocument? Sampling = Read();

    public static TheoryData<int, string> Cases()
    {
        var cases = new TheoryData<int, string>();
        if (Sampling is null)
            cases.Add(-1, "absent");
        else
            foreach (var (filter, index) in Sampling.RootElement.GetProperty("filters").EnumerateArray().Select((f, i) => (f, i)))
                cases.Add(index, $"{filter.GetProperty("kind")} {filter.GetProperty("settings")} {filter.GetProperty("row")}");
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Filters_give_the_logits_that_transformers_gives(int index, string name)
    {
        Assert.SkipWhen(index < 0, $"Fixture sampling.json is {name}.");
        var filter = Sampling!.RootElement.GetProperty("filters")[index];
        var row = filter.GetProperty("row").GetString()!;
        var logits = Floats(Sampling.RootElement.GetProperty("rows").GetProperty(row));
        var text = filter.GetProperty("input_ids").Deserialize<int[]>()!;
        Filter(filter.GetProperty("kind").GetString()!, filter.GetProperty("settings"), logits, text);

        var expected = Floats(filter.GetProperty("filtered_logits"));
        var kept = Enumerable.Range(0, logits.Length).Where(i => float.IsFinite(logits[i]));
        Assert.Equal(filter.GetProperty("kept").Deserialize<int[]>(), kept);
        for (int i = 0; i < expected.Length; i++)
            if (float.IsFinite(expected[i]))
                Assert.Equal(expected[i], logits[i]);

        var distribution = new Categorical(logits, new double[Categorical.BlockCount(logits.Length)]);
        var probabilities = filter.GetProperty("probabilities").Deserialize<double[]>()!;
        for (int i = 0; i < probabilities.Length; i++)
            Assert.Equal(probabilities[i], distribution.Probability(i), 1e-6);
    }

    [Fact]
    public void Top_p_on_a_large_vocabulary_keeps_the_shortest_sufficient_ranking()
    {
        var random = new RandomStream(7, "top-p");
        foreach (double spread in new[] { 0.01, 1, 6 })
            foreach (double p in new[] { 0.05, 0.9, 0.999 })
            {
                var logits = Enumerable.Range(0, 5000).Select(_ => (float)(spread * random.NextGaussian())).ToArray();
                double total = logits.Sum(l => Math.Exp(l));
                var ranking = Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).ToArray();
                int needed = 0;
                for (double mass = 0; mass < p; needed++)
                    mass += Math.Exp(logits[ranking[needed]]) / total;
                var filtered = logits.ToArray();
                LogitsProcessors.TopP(filtered, p);
                var kept = Enumerable.Range(0, logits.Length).Where(i => filtered[i] == logits[i]).ToHashSet();
                Assert.InRange(kept.Count, needed - 1, needed + 1);
                Assert.Equal(ranking.Take(kept.Count).ToHashSet(), kept);
            }
    }

    [Fact]
    public void Filters_leave_a_token_whatever_came_before()
    {
        var logits = Enumerable.Repeat(float.NegativeInfinity, 20).ToArray();
        logits[11] = -3;
        LogitsProcessors.TopK(logits, 5);
        LogitsProcessors.TopP(logits, 0.01);
        LogitsProcessors.MinP(logits, 1);
        LogitsProcessors.TypicalP(logits, 0.01);
        Assert.Equal([11], Enumerable.Range(0, 20).Where(i => float.IsFinite(logits[i])));
    }

    private static void Filter(string kind, JsonElement settings, Span<float> logits, ReadOnlySpan<int> text)
    {
        double Number(string name) => settings.GetProperty(name).GetDouble();
        int Integer(string name, int absent = 0) =>
            settings.TryGetProperty(name, out var value) ? (int)value.GetDouble() : absent;
        int[] ends = settings.TryGetProperty("eos_token_id", out var eos) ? eos.Deserialize<int[]>()! : [];
        switch (kind)
        {
            case "temperature": LogitsProcessors.Temperature(logits, Number(kind)); break;
            case "top_k": LogitsProcessors.TopK(logits, Math.Max(Integer(kind), Integer("min_tokens_to_keep"))); break;
            case "top_p": LogitsProcessors.TopP(logits, Number(kind), Integer("min_tokens_to_keep", 1)); break;
            case "min_p": LogitsProcessors.MinP(logits, Number(kind)); break;
            case "typical_p": LogitsProcessors.TypicalP(logits, Number(kind)); break;
            case "repetition_penalty": LogitsProcessors.RepetitionPenalty(logits, text, Number(kind)); break;
            case "no_repeat_ngram_size": LogitsProcessors.NoRepeatNgram(logits, text, Integer(kind)); break;
            case "min_length" or "min_new_tokens" or "combined":
                var config = GenerationFixtures.Config(settings);
                LogitsProcessors.Apply(logits, text, Integer("prompt_length"), config, ends);
                break;
            default: Assert.Skip($"Filter '{kind}' is not offered."); break;
        }
    }

    private static float[] Floats(JsonElement numbers) =>
        [.. numbers.EnumerateArray().Select(n => n.ValueKind == JsonValueKind.Null ? float.NegativeInfinity : n.GetSingle())];

    private static JsonDocument? Read()
    {
        var path = Path.Combine(Fixtures.Root, "sampling.json");
        return File.Exists(path) ? JsonDocument.Parse(File.ReadAllText(path)) : null;
    }
}
