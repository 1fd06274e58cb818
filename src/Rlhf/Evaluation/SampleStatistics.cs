using Rlhf.Runtime;

namespace Rlhf.Evaluation;

/// <summary>An interval that holds the true value with a stated confidence.</summary>
/// <param name="Low">Lower end.</param>
/// <param name="High">Upper end.</param>
public readonly record struct ConfidenceInterval(double Low, double High)
{
    /// <summary>Standard normal quantile of a two-sided 95 % interval.</summary>
    private const double Z95 = 1.959963984540054;

    /// <summary>Wilson's interval of a share (Wilson 1927), which stays within 0 and 1 and holds for few cases, too.</summary>
    /// <param name="share">Share of the cases, from 0 to 1.</param>
    /// <param name="count">Cases, above 0.</param>
    /// <param name="z">Standard normal quantile; by default that of a 95 % interval.</param>
    public static ConfidenceInterval OfShare(double share, double count, double z = Z95)
    {
        double square = z * z, center = (share + square / (2 * count)) / (1 + square / count);
        double half = z / (1 + square / count) * Math.Sqrt(share * (1 - share) / count + square / (4 * count * count));
        return new(Math.Max(0, center - half), Math.Min(1, center + half));
    }
}

/// <summary>Where a sample of numbers lies and how far it spreads.</summary>
/// <param name="Count">Numbers in the sample.</param>
/// <param name="Mean">Arithmetic mean.</param>
/// <param name="Median">Middle number; the mean of the two middle ones when their count is even.</param>
/// <param name="StandardDeviation">Standard deviation of the sample (divided by n - 1); 0 for a single number.</param>
/// <param name="MeanCi95">95 % bootstrap interval of the mean.</param>
/// <param name="MedianCi95">95 % bootstrap interval of the median.</param>
public sealed record SampleStatistics(
    int Count, double Mean, double Median, double StandardDeviation, ConfidenceInterval MeanCi95, ConfidenceInterval MedianCi95)
{
    /// <summary>
    /// Bootstrap resamples behind an interval; percentile intervals need a few thousand (Efron and Tibshirani 1993, 13.3).
    /// </summary>
    public const int DefaultResamples = 10_000;

    /// <summary>Describes a sample.</summary>
    /// <param name="values">At least one finite number.</param>
    /// <param name="seed">Seed of the bootstrap: the same seed and values give the same intervals.</param>
    /// <param name="resamples">Bootstrap resamples.</param>
    /// <exception cref="ArgumentException">There is no value, or one is not finite.</exception>
    public static SampleStatistics Of(IReadOnlyList<double> values, long seed = 0, int resamples = DefaultResamples)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(resamples, 1);
        var sorted = Sorted(values);
        double mean = Average(sorted);
        var (means, medians) = Bootstrap(sorted, new RandomStream(seed, "evaluation/bootstrap"), resamples);
        return new(sorted.Length, mean, Quantile(sorted, 0.5), Deviation(sorted, mean), Interval95(means), Interval95(medians));
    }

    /// <summary>Quantile of sorted numbers with linear interpolation between neighbors (numpy's default).</summary>
    /// <param name="sorted">Numbers in ascending order.</param>
    /// <param name="probability">From 0 (the smallest) to 1 (the largest).</param>
    public static double Quantile(IReadOnlyList<double> sorted, double probability)
    {
        ArgumentOutOfRangeException.ThrowIfZero(sorted.Count, nameof(sorted));
        double position = Math.Clamp(probability, 0, 1) * (sorted.Count - 1);
        int below = (int)position;
        int above = Math.Min(below + 1, sorted.Count - 1);
        return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
    }

    private static double[] Sorted(IReadOnlyList<double> values)
    {
        if (values.Count == 0)
            throw new ArgumentException("Statistics need at least one value.", nameof(values));
        for (int i = 0; i < values.Count; i++)
            if (!double.IsFinite(values[i]))
                throw new ArgumentException($"Value {i} is {values[i]}; statistics need finite values.", nameof(values));
        return [.. values.Order()];
    }

    /// <summary>Sorted means and medians of samples drawn with replacement.</summary>
    private static (double[] Means, double[] Medians) Bootstrap(double[] sorted, RandomStream random, int resamples)
    {
        double[] means = new double[resamples], medians = new double[resamples];
        var drawn = new int[sorted.Length];
        for (int r = 0; r < resamples; r++)
        {
            Array.Clear(drawn);
            double sum = 0;
            for (int i = 0; i < sorted.Length; i++)
            {
                int k = random.NextInt32(0, sorted.Length);
                drawn[k]++;
                sum += sorted[k];
            }
            means[r] = sum / sorted.Length;
            medians[r] = (Drawn(drawn, sorted, (sorted.Length - 1) / 2) + Drawn(drawn, sorted, sorted.Length / 2)) / 2;
        }
        Array.Sort(means);
        Array.Sort(medians);
        return (means, medians);
    }

    /// <summary>
    /// The number of a rank among those drawn: how often each was drawn is known in order, so no resample is ever sorted.
    /// </summary>
    private static double Drawn(int[] drawn, double[] sorted, int rank)
    {
        int k = 0;
        for (int seen = drawn[0]; seen <= rank; seen += drawn[k])
            k++;
        return sorted[k];
    }

    private static ConfidenceInterval Interval95(double[] sorted) => new(Quantile(sorted, 0.025), Quantile(sorted, 0.975));

    private static double Average(double[] values) => values.Sum() / values.Length;

    private static double Deviation(double[] values, double mean) =>
        values.Length == 1 ? 0 : Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)) / (values.Length - 1));
}
