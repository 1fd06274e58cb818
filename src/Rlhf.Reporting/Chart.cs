namespace Rlhf.Reporting;

/// <summary>A point of a curve; low and high are the ends of its band, NaN without one.</summary>
/// <param name="X">Place on the horizontal axis.</param>
/// <param name="Y">Value; a curve is interrupted where it is not finite.</param>
/// <param name="Low">Lower end of the band.</param>
/// <param name="High">Upper end of the band.</param>
public readonly record struct ChartPoint(double X, double Y, double Low = double.NaN, double High = double.NaN);

/// <summary>A curve, a layer of a stack, or a histogram's counts.</summary>
/// <param name="Name">Name in the legend.</param>
/// <param name="Points">From left to right.</param>
/// <param name="Color">Number of the color in the palette; 0 is a neutral grey.</param>
public sealed record ChartSeries(string Name, IReadOnlyList<ChartPoint> Points, int Color)
{
    /// <summary>At most this many points, each the mean of its neighbors with their range as its band.</summary>
    public ChartSeries Thinned(int most)
    {
        if (Points.Count <= most)
            return this;
        var thinned = Enumerable.Range(0, most).Select(i =>
        {
            int from = (int)((long)i * Points.Count / most), until = (int)((long)(i + 1) * Points.Count / most);
            var part = Points.Skip(from).Take(until - from).Where(p => double.IsFinite(p.Y)).ToArray();
            return part.Length == 0 ? Points[from] : new ChartPoint(part[part.Length / 2].X, part.Average(p => p.Y),
                part.Min(p => double.IsFinite(p.Low) ? p.Low : p.Y), part.Max(p => double.IsFinite(p.High) ? p.High : p.Y));
        });
        return this with { Points = [.. thinned] };
    }
}

/// <summary>How a chart's series are drawn.</summary>
public enum ChartKind
{
    /// <summary>Curves, with their bands.</summary>
    Lines,

    /// <summary>Layers on top of each other.</summary>
    Stack,

    /// <summary>Bars of equal width over one another; X is a bar's left edge, and the last point only ends the one before.</summary>
    Histogram,

    /// <summary>A row for each series with its only point: Y between Low and High; X is not used.</summary>
    Intervals,
}

/// <summary>A chart as data; <see cref="SvgChart"/> and others draw it.</summary>
/// <param name="Name">Short name for files, such as reward.</param>
/// <param name="Title">Heading.</param>
/// <param name="Kind">How it is drawn.</param>
/// <param name="Series">What is drawn, first to last.</param>
public sealed record Chart(string Name, string Title, ChartKind Kind, IReadOnlyList<ChartSeries> Series)
{
    /// <summary>What the horizontal axis counts.</summary>
    public string XLabel { get; init; } = "step";

    /// <summary>A sentence that says what is seen, for those who do not see it.</summary>
    public string Description { get; init; } = "";

    /// <summary>A line below the heading: units, what the band is.</summary>
    public string Note { get; init; } = "";

    /// <summary>Is zero on the vertical axis, whatever the values?</summary>
    public bool FromZero { get; init; }

    /// <summary>A horizontal line with its name, such as a target.</summary>
    public (double Y, string Name)? Guide { get; init; }
}
