using CsCheck;
using Rlhf.Evaluation;

namespace Rlhf.Tests.Evaluation;

public class SampleStatisticsTests
{
    [Fact]
    public void Mean_median_and_deviation_are_those_calculated_by_hand()
    {
        // 2, 4, 4, 4, 5, 5, 7, 9: squares of the distances from the mean 5 sum to 32.
        var statistics = SampleStatistics.Of([9, 2, 5, 4, 4, 7, 5, 4]);
        Assert.Equal(8, statistics.Count);
        Assert.Equal(5, statistics.Mean, 12);
        Assert.Equal(4.5, statistics.Median, 12);
        Assert.Equal(Math.Sqrt(32.0 / 7), statistics.StandardDeviation, 12);
    }

    [Fact]
    public void One_value_has_no_spread()
    {
        var statistics = SampleStatistics.Of([3.5]);
        Assert.Equal((3.5, 3.5, 0.0), (statistics.Mean, statistics.Median, statistics.StandardDeviation));
        Assert.Equal(new ConfidenceInterval(3.5, 3.5), statistics.MeanCi95);
        Assert.Equal(new ConfidenceInterval(3.5, 3.5), statistics.MedianCi95);
    }

    [Fact]
    public void The_interval_of_a_mean_is_that_of_the_binomial_distribution()
    {
        // 50 zeros and 50 ones: a resampled mean is Binomial(100, 1/2) / 100, whose 2.5 % and 97.5 % quantiles are 0.40 and 0.60.
        var statistics = SampleStatistics.Of([.. Enumerable.Range(0, 100).Select(i => (double)(i % 2))], seed: 7);
        Assert.Equal(0.40, statistics.MeanCi95.Low, 0.0101);
        Assert.Equal(0.60, statistics.MeanCi95.High, 0.0101);
        Assert.Equal(new ConfidenceInterval(0, 1), statistics.MedianCi95);
    }

    [Fact]
    public void The_interval_of_a_median_lies_at_the_ranks_that_the_binomial_distribution_gives()
    {
        // Median of 1..101 resampled: P(median <= k) = P(Binomial(101, k/101) >= 51), 2.5 % at k = 41 and 97.5 % at k = 61
        // (normal: 51 ± 1.96 · 5.02).
        var statistics = SampleStatistics.Of([.. Enumerable.Range(1, 101).Select(i => (double)i)], seed: 3);
        Assert.InRange(statistics.MedianCi95.Low, 40, 42);
        Assert.InRange(statistics.MedianCi95.High, 60, 62);
    }

    [Fact]
    public void The_same_seed_gives_the_same_interval_and_another_seed_another()
    {
        double[] values = [1, 2.5, 3.25, 8, -4, 0.5];
        Assert.Equal(SampleStatistics.Of(values, seed: 1), SampleStatistics.Of(values, seed: 1));
        Assert.NotEqual(SampleStatistics.Of(values, seed: 1).MeanCi95, SampleStatistics.Of(values, seed: 2).MeanCi95);
    }

    [Fact]
    public void Intervals_stay_within_the_sample_whatever_its_order() =>
        Gen.Double[-100, 100].Array[1, 30].Sample(values =>
        {
            var a = SampleStatistics.Of(values, resamples: 200);
            var b = SampleStatistics.Of([.. values.Reverse()], resamples: 200);
            return a == b && a.MeanCi95.Low <= a.MeanCi95.High
                && a.MedianCi95.Low >= values.Min() && a.MedianCi95.High <= values.Max();
        }, iter: 200);

    [Theory]
    [InlineData(0.0, 1.0)]
    [InlineData(0.25, 1.75)]
    [InlineData(0.5, 2.5)]
    [InlineData(1.0, 4.0)]
    public void Quantiles_interpolate(double probability, double expected) =>
        Assert.Equal(expected, SampleStatistics.Quantile([1, 2, 3, 4], probability), 12);

    [Fact]
    public void Missing_and_non_finite_values_are_refused()
    {
        Assert.Throws<ArgumentException>(() => SampleStatistics.Of([]));
        Assert.Contains("Value 1", Assert.Throws<ArgumentException>(() => SampleStatistics.Of([1, double.NaN])).Message);
    }
}
