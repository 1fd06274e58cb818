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

    [Theory]
    [InlineData(0, 1, "0.0 0.2 0.4 0.6 0.8 1.0")]
    [InlineData(-3, 17, "0 5 10 15")]
    [InlineData(5, 5, "4.6 4.8 5.0 5.2 5.4")]
    [InlineData(0, 0, "-1.0 -0.5 0.0 0.5 1.0")]
    [InlineData(0.00001, 0.00015, "2e-5 4e-5 6e-5 8e-5 1e-4 1.2e-4 1.4e-4")]
    [InlineData(1200, 4100, "1,500 2,000 2,500 3,000 3,500 4,000")]
    public void TicksAreRound(double low, double high, string expected)
    {
        var axis = Axis.Of([low, high, double.NaN]);
        Assert.True(axis.Low < low && axis.High > high);
        Assert.Equal(expected, string.Join(' ', axis.Ticks().Select(axis.Label)));
    }
}
