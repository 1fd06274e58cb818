using Rlhf.Studio.Charts;

namespace Rlhf.Studio.Tests;

public sealed class CurveTests
{
    [Fact]
    public void SmoothingIsACorrectedMovingAverage()
    {
        // With weight 1/2: 4; (4/4 + 8/2) / (3/4) = 20/3; NaN stays and is passed over; (4/8 + 8/4 + 2/2) / (7/8) = 4.
        var smooth = Curve.Smooth([4, 8, double.NaN, 2], 0.5);
        Assert.Equal(4, smooth[0], 12);
        Assert.Equal(20.0 / 3, smooth[1], 12);
        Assert.True(double.IsNaN(smooth[2]));
        Assert.Equal(4, smooth[3], 12);
    }

    [Fact]
    public void AConstantStaysConstantHoweverSmooth() =>
        Assert.All(Curve.Smooth([.. Enumerable.Repeat(3.0, 500)], 0.98), v => Assert.Equal(3, v, 9));

    [Theory]
    [InlineData("env/reward_mean", 30, true)]
    [InlineData("env/reward_mean", 29, false)]
    [InlineData("objective/kl_coef", 500, false)]
    [InlineData("train/learning_rate", 500, false)]
    [InlineData("objective/kl", 500, true)]
    public void SchedulesAndShortCurvesAreNotSmoothed(string metric, int points, bool expected) =>
        Assert.Equal(expected, Curve.IsSmoothed(metric, points));

    [Fact]
    public void DownsamplingKeepsEndsAndSpikes()
    {
        double[] x = [.. Enumerable.Range(0, 10_000).Select(i => (double)i)], y = [.. x.Select(v => Math.Sin(v / 500))];
        y[1234] = 50;
        y[7777] = -50;
        var kept = Curve.Downsample(x, y);
        Assert.Equal(Curve.MostPoints, kept.Count);
        Assert.Equal((0, 9999), (kept[0], kept[^1]));
        Assert.Contains(1234, kept);
        Assert.Contains(7777, kept);
        Assert.True(kept.Zip(kept.Skip(1)).All(p => p.First < p.Second));
    }

    [Fact]
    public void WhatIsNotFiniteIsNotDrawn()
    {
        Assert.Equal([0, 3], Curve.Downsample([1, 2, 3, 4], [1, double.NaN, double.PositiveInfinity, 2]));
        Assert.Empty(Curve.Downsample([], []));
    }
}
