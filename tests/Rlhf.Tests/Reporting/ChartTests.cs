using System.Globalization;
using System.Xml.Linq;
using Rlhf.Reporting;
using Rlhf.Runs;

namespace Rlhf.Tests.Reporting;

public class ChartTests
{
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    private static XElement Draw(Chart chart) => XElement.Parse(SvgChart.Draw(chart, "id").ToString());

    private static double[][] Points(XElement shape) => [.. shape.Attribute("points")!.Value.Split(' ').Select(p =>
        p.Split(',').Select(n => double.Parse(n, CultureInfo.InvariantCulture)).ToArray())];

    private static Chart Lines(params ChartPoint[] points) => new("x", "X", ChartKind.Lines, [new("s", points, 1)]);

    [Fact]
    public void ACurveRunsFromLeftToRightAndUpwardsWithItsValues()
    {
        var points = Points(Draw(Lines([.. Enumerable.Range(0, 50).Select(i => new ChartPoint(i, i))])).Descendants(Svg + "polyline").Single());
        Assert.Equal(50, points.Length);
        Assert.Equal(points.Select(p => p[0]).Order(), points.Select(p => p[0]));
        Assert.Equal(points.Select(p => p[1]).OrderDescending(), points.Select(p => p[1]));
        Assert.All(points, p => Assert.True(p[0] is >= 0 and <= 480 && p[1] is >= 0 and <= 250));
    }

    [Fact]
    public void ACurveIsInterruptedWhereItHasNoValueAndNothingLeavesThePicture()
    {
        var svg = Draw(Lines(new(1, 1), new(2, 2), new(3, double.NaN), new(4, double.PositiveInfinity), new(5, 1e300), new(6, -1e300)));
        Assert.Equal(2, svg.Descendants(Svg + "polyline").Count());
        Assert.DoesNotContain("points=\"NaN", svg.ToString());
        Assert.DoesNotContain("\u221e", svg.Attribute("data-plot")!.Value);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(-1e-12)]
    [InlineData(1e300)]
    public void ValuesThatAreAllTheSameHaveAnAxis(double value)
    {
        var svg = Draw(Lines(new(1, value), new(2, value)));
        Assert.NotEmpty(svg.Descendants(Svg + "text"));
        Assert.All(Points(svg.Descendants(Svg + "polyline").Single()), p => Assert.InRange(p[1], 0, 250));
    }

    [Fact]
    public void NothingLoggedIsSaid()
    {
        Assert.Contains("nothing was logged", Draw(new("x", "X", ChartKind.Lines, [])).Value);
        Assert.Contains("nothing was logged", Draw(Lines(new ChartPoint(1, double.NaN))).Value);
        Assert.Single(Draw(Lines(new ChartPoint(1, 1))).Descendants(Svg + "circle"));
    }

    [Fact]
    public void LongCurvesAreThinnedAndKeepTheirPeaks()
    {
        var points = Enumerable.Range(0, 100_000).Select(i => new ChartPoint(i, i == 77_777 ? 1000 : 0)).ToArray();
        var thinned = new ChartSeries("s", points, 1).Thinned(240);
        Assert.Equal(240, thinned.Points.Count);
        Assert.Equal(1000, thinned.Points.Max(p => p.High));
        Assert.True(SvgChart.Draw(Lines(points), "id").ToString().Length < 40_000);
    }

    [Fact]
    public void LayersLieOnEachOther()
    {
        var svg = Draw(new("t", "T", ChartKind.Stack, [new("a", [new(1, 1), new(2, 2)], 1), new("b", [new(1, 3), new(2, 1)], 2)]));
        var areas = svg.Descendants(Svg + "polygon").Select(Points).ToArray();
        Assert.Equal(2, areas.Length);
        Assert.Equal(areas[0][0][1], areas[1][3][1]); // the first one's top is the second one's bottom
        Assert.Equal(areas[0][1][1], areas[1][2][1]);
        double zero = areas[0][3][1], unit = zero - areas[0][0][1];
        Assert.Equal(4 * unit, zero - areas[1][0][1], 0.5);
    }

    [Fact]
    public void EveryNameStandsInTheLegendInAsManyRowsAsItTakes()
    {
        string[] names = ["generation", "reward", "reference", "forward", "backward", "optimizer", "other"];
        var chart = new Chart("t", "T", ChartKind.Stack, [.. names.Select((n, i) => new ChartSeries(n, [new(1, 1), new(2, 2)], i))]);
        foreach (var (width, rows) in new[] { (1000, 1), (480, 2), (240, 4) })
        {
            var svg = XElement.Parse(SvgChart.Draw(chart, "id", width).ToString());
            var texts = svg.Descendants(Svg + "text").Where(t => names.Contains(t.Value)).ToArray();
            Assert.Equal(names.Order(), texts.Select(t => t.Value).Order());
            Assert.Equal(rows, texts.Select(t => t.Attribute("y")!.Value).Distinct().Count());
            double last = texts.Max(t => double.Parse(t.Attribute("y")!.Value, CultureInfo.InvariantCulture));
            Assert.All(svg.Descendants(Svg + "polygon").SelectMany(Points), p => Assert.True(p[1] > last));
        }
    }

    [Theory]
    [InlineData(2, 250)]
    [InlineData(4, 250)]
    [InlineData(9, 360)]
    public void RowsOfIntervalsFillThePicture(int rows, double height)
    {
        var svg = Draw(new("i", "I", ChartKind.Intervals, [.. Enumerable.Range(0, rows).Select(i => new ChartSeries($"row {i}", [new(0, i, i - 1, i + 1)], 1))]));
        Assert.Equal(height, double.Parse(svg.Attribute("viewBox")!.Value.Split(' ')[3], CultureInfo.InvariantCulture));
        double[] places = [.. svg.Descendants(Svg + "circle").Select(c => double.Parse(c.Attribute("cy")!.Value, CultureInfo.InvariantCulture))];
        double between = places[1] - places[0];
        Assert.Equal((height - 14 - 40) / rows, between, 0.1); // all that the axis leaves
        Assert.All(places.Zip(places.Skip(1), (a, b) => b - a), gap => Assert.Equal(between, gap, 0.2));
    }

    [Theory]
    [InlineData(0, "0 queries")]
    [InlineData(1, "1 query")]
    [InlineData(1200, "1,200 queries")]
    public void WhatIsCountedIsSingularOrPlural(long number, string text) => Assert.Equal(text, Numbers.Count(number, "query", "queries"));

    [Fact]
    public void RewardsBeforeAndAfterShareTheirBinsAndAreAllCounted()
    {
        var run = new RunData
        {
            Name = "r",
            FirstSamples = [.. Enumerable.Range(0, 10).Select(i => new RunSample(1, "", "", i))],
            LastSamples = [.. Enumerable.Range(0, 10).Select(i => new RunSample(9, "", "", 10 + i)), new RunSample(9, "", "", double.NaN)],
        };
        var chart = RunCharts.Rewards(run)!;
        Assert.Equal([10, 10], chart.Series.Select(s => (int)s.Points.Sum(p => p.Y)));
        Assert.Equal(chart.Series[0].Points.Select(p => p.X), chart.Series[1].Points.Select(p => p.X));
        Assert.Equal((0, 19), (chart.Series[0].Points[0].X, chart.Series[0].Points[^1].X));
    }

    [Theory]
    [InlineData(0, "0")]
    [InlineData(0.00012, "1.2e-4")]
    [InlineData(-0.5, "\u22120.5")]
    [InlineData(1234, "1,234")]
    [InlineData(12.34, "12.3")]
    [InlineData(1.5e7, "1.5e7")]
    public void NumbersAreShort(double value, string text) => Assert.Equal(text, Numbers.Short(value));

    [Theory]
    [InlineData(0, 1, "0.0 0.2 0.4 0.6 0.8 1.0")]
    [InlineData(-3, 17, "0 5 10 15")]
    [InlineData(5, 5, "4.6 4.8 5.0 5.2 5.4")]
    [InlineData(0, 0, "\u22121.0 \u22120.5 0.0 0.5 1.0")]
    [InlineData(0.00001, 0.00015, "2e-5 4e-5 6e-5 8e-5 1e-4 1.2e-4 1.4e-4")]
    [InlineData(1200, 4100, "1,500 2,000 2,500 3,000 3,500 4,000")]
    public void TicksAreRound(double low, double high, string expected)
    {
        var axis = Axis.Of([low, high, double.NaN]);
        Assert.True(axis.Low < low && axis.High > high);
        Assert.Equal(expected, string.Join(' ', axis.Ticks().Select(axis.Label)));
    }
}
