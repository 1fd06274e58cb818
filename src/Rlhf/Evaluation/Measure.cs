namespace Rlhf.Evaluation;

/// <summary>One thing that is measured before and after.</summary>
/// <param name="Name">What it is, and its unit.</param>
/// <param name="Before">Its value before.</param>
/// <param name="After">Its value after.</param>
/// <param name="Decimals">Decimals that are worth showing.</param>
public sealed record Measure(string Name, double Before, double After, int Decimals = 2)
{
    /// <summary>Is it a score, whose sign says something?</summary>
    public bool IsScore { get; private init; }

    private (SampleStatistics Before, SampleStatistics After, SampleStatistics? Gain)? Samples { get; init; }

    /// <summary>All measures of a comparison, in the order in which they are shown.</summary>
    public static IReadOnlyList<Measure> Of(EvaluationComparison comparison)
    {
        var (before, after) = (comparison.Before, comparison.After);
        return
        [
            OfMeans("reward, mean (95 % interval)", before.Reward, after.Reward, comparison.RewardGain),
            new("reward, median", before.Reward.Median, after.Reward.Median) { IsScore = true },
            new("reward, standard deviation", before.Reward.StandardDeviation, after.Reward.StandardDeviation),
            .. before.Judge is { } b && after.Judge is { } a
                ? [OfMeans("judge, mean (95 % interval)", b, a, comparison.JudgeGain)] : Array.Empty<Measure>(),
            new("KL from before, nats per response", before.Kl, after.Kl),
            new("perplexity under the model before", before.Perplexity, after.Perplexity, 1),
            new("distinct-2", before.Distinct2, after.Distinct2, 3),
            new("repeated bigrams within a response", before.Repetition2, after.Repetition2, 3),
            new("response length, tokens", before.MeanLength, after.MeanLength, 1),
        ];
    }

    /// <summary>Texts of both values and of the difference query by query, empty where none is known.</summary>
    /// <param name="number">A number with this many decimals.</param>
    /// <param name="score">A score.</param>
    public (string Before, string After, string Gain) Texts(Func<double, int, string> number, Func<double, string> score)
    {
        string WithInterval(SampleStatistics s) => $"{score(s.Mean)} ({score(s.MeanCi95.Low)} to {score(s.MeanCi95.High)})";
        string Single(double value) => IsScore ? score(value) : number(value, Decimals);
        return Samples is var (before, after, gain) ? (WithInterval(before), WithInterval(after), gain is null ? "" : WithInterval(gain))
            : (Single(Before), Single(After), "");
    }

    private static Measure OfMeans(string name, SampleStatistics before, SampleStatistics after, SampleStatistics? gain) =>
        new(name, before.Mean, after.Mean) { IsScore = true, Samples = (before, after, gain) };
}
