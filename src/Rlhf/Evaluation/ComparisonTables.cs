using Rlhf.Models;
using Rlhf.Runtime;

namespace Rlhf.Evaluation;

/// <summary>A comparison as tables of a model card.</summary>
public static class ComparisonTables
{
    /// <summary>The numbers before and after, and the first responses.</summary>
    /// <param name="comparison">The comparison.</param>
    /// <param name="samples">Queries to show.</param>
    public static IReadOnlyList<ModelCardTable> Of(EvaluationComparison comparison, int samples = 8) =>
        [Numbers(comparison), Samples(comparison, samples)];

    /// <summary>One line per measure: before, after.</summary>
    public static ModelCardTable Numbers(EvaluationComparison comparison)
    {
        var (before, after) = (comparison.Before, comparison.After);
        List<IReadOnlyList<string>> rows =
        [
            ["reward, mean (95 % interval)", WithInterval(before.Reward), WithInterval(after.Reward)],
            ["reward, median", Number(before.Reward.Median), Number(after.Reward.Median)],
            ["reward, standard deviation", Number(before.Reward.StandardDeviation), Number(after.Reward.StandardDeviation)],
            ["KL to the model before, nats per response", Number(before.Kl), Number(after.Kl)],
            ["perplexity under the model before", Number(before.Perplexity), Number(after.Perplexity)],
            ["distinct-2", Number(before.Distinct2), Number(after.Distinct2)],
            ["repeated bigrams within a response", Number(before.Repetition2), Number(after.Repetition2)],
            ["response length, tokens", Number(before.MeanLength), Number(after.MeanLength)],
        ];
        if (before.Judge is { } judgeBefore && after.Judge is { } judgeAfter)
            rows.Insert(3, ["second judge, mean (95 % interval)", WithInterval(judgeBefore), WithInterval(judgeAfter)]);
        return new($"{comparison.Rows.Count:N0} held-out queries", ["", "before", "after"], rows);
    }

    /// <summary>The first queries with both responses and their rewards.</summary>
    public static ModelCardTable Samples(EvaluationComparison comparison, int samples = 8) => new(
        "Samples", ["query", "response before", "reward", "response after", "reward"],
        [.. comparison.Rows.Take(samples).Select(r =>
            (IReadOnlyList<string>)[r.Query, r.ResponseBefore, Number(r.RewardBefore), r.ResponseAfter, Number(r.RewardAfter)])]);

    private static string WithInterval(SampleStatistics s) =>
        $"{Number(s.Mean)} ({Number(s.MeanCi95.Low)} to {Number(s.MeanCi95.High)})";

    private static string Number(double value) => Decimals.Text(value);
}
