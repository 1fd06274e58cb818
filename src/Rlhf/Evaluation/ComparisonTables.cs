using Rlhf.Models;
using Rlhf.Runtime.Text;

namespace Rlhf.Evaluation;

/// <summary>A comparison as tables of a model card.</summary>
internal static class ComparisonTables
{
    /// <summary>The numbers before and after, and the first responses.</summary>
    /// <param name="comparison">The comparison.</param>
    /// <param name="samples">Queries to show.</param>
    public static IReadOnlyList<ModelCardTable> Of(EvaluationComparison comparison, int samples = 8) =>
        [Numbers(comparison), Samples(comparison, samples)];

    /// <summary>One line per measure: before, after.</summary>
    public static ModelCardTable Numbers(EvaluationComparison comparison) => new(
        $"{comparison.Rows.Count:N0} held-out queries", ["", "before", "after"],
        [.. Measure.Of(comparison).Select(m => (m.Name, Texts: m.Texts(Decimals.Text, Number)))
            .Select(m => (IReadOnlyList<string>)[m.Name, m.Texts.Before, m.Texts.After])]);

    /// <summary>The first queries with both responses and their rewards.</summary>
    public static ModelCardTable Samples(EvaluationComparison comparison, int samples = 8) => new(
        "Samples", ["query", "response before", "reward", "response after", "reward"],
        [.. comparison.Rows.Take(samples).Select(r =>
            (IReadOnlyList<string>)[r.Query, r.ResponseBefore, Number(r.RewardBefore), r.ResponseAfter, Number(r.RewardAfter)])]);

    private static string Number(double value) => Decimals.Text(value);
}
