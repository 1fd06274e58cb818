namespace Rlhf.Reporting;

/// <summary>Where a text stands relative to its point.</summary>
public enum TextAnchor
{
    /// <summary>It begins there.</summary>
    Start,

    /// <summary>Its middle is there.</summary>
    Middle,

    /// <summary>It ends there.</summary>
    End,
}

/// <summary>What charts are drawn on. Coordinates count from the upper left corner; colors are numbers of a palette.</summary>
public interface IChartCanvas
{
    /// <summary>A thin grey line.</summary>
    void Grid(double x1, double y1, double x2, double y2, bool isDashed = false);

    /// <summary>A line through points.</summary>
    void Line(IReadOnlyList<(double X, double Y)> points, int color);

    /// <summary>A filled area within points.</summary>
    void Area(IReadOnlyList<(double X, double Y)> points, int color, double opacity);

    /// <summary>A filled rectangle.</summary>
    void Bar(double x, double y, double width, double height, int color, double opacity);

    /// <summary>A dot.</summary>
    void Dot(double x, double y, int color);

    /// <summary>A line of text; its point is on the baseline.</summary>
    void Text(double x, double y, string text, TextAnchor anchor, bool isStrong = false);
}

/// <summary>Lays a chart out and draws it.</summary>
public sealed class ChartDrawing
{
    // A letter is as wide as it is on a phone, where letters are larger in proportion.
    private const double Right = 14, Bottom = 40, LeastRow = 34, Letter = 7.4, LegendRow = 18;
    private readonly Chart chart;
    private readonly ChartSeries[] series;
    private readonly List<(ChartSeries Series, double X, int Row)> legend = [];

    /// <summary>Lays a chart out.</summary>
    /// <param name="chart">The chart.</param>
    /// <param name="width">Width of the picture.</param>
    /// <param name="height">Height of the picture; charts of many intervals take what they need.</param>
    public ChartDrawing(Chart chart, double width = 480, double height = 250)
    {
        this.chart = chart;
        bool isStack = chart.Kind == ChartKind.Stack;
        series = [.. chart.Series.Where(s => s.Points.Any(p => double.IsFinite(p.Y))).Select(s => s.Thinned(240))];
        if (isStack)
            series = Stacked(series);
        bool isRows = chart.Kind == ChartKind.Intervals;
        Width = width;
        IsEmpty = series.Length == 0;
        Height = isRows ? Math.Max(height, Top + Bottom + LeastRow * series.Length) : height;
        if (IsEmpty)
            return;
        var values = series.SelectMany(s => s.Points).SelectMany(p => (double[])[p.Y, p.Low, p.High]).Where(double.IsFinite);
        if (chart.Guide is { } guide)
            values = values.Append(guide.Y);
        var measured = Axis.Of(values, isRows ? 5 : 3, chart.FromZero || chart.Kind is ChartKind.Stack or ChartKind.Histogram);
        double[] xs = [.. series.SelectMany(s => s.Points).Select(p => p.X)];
        (XAxis, YAxis) = isRows ? (measured, new(0, series.Length, 1))
            : (Axis.Between(xs.Min(), xs.Max(), 5, leastStep: chart.Kind == ChartKind.Histogram ? 0 : 1), measured);
        YTicks = isRows ? [] : YAxis.Ticks();
        int longest = isRows ? series.Max(s => s.Name.Length) : YTicks.Select(t => YAxis.Label(t).Length).DefaultIfEmpty().Max();
        Left = Math.Min(width / 3, 14 + longest * (isRows ? 7.8 : 6.8));
        if (!isRows && chart.Series.Count > 1)
            LayLegend();
    }

    /// <summary>Size of the picture.</summary>
    public double Width { get; }

    /// <inheritdoc cref="Width"/>
    public double Height { get; }

    /// <summary>True when there is no finite value to draw.</summary>
    public bool IsEmpty { get; }

    internal double Left { get; }

    internal double PlotRight => Width - Right;

    internal double PlotTop => Top;

    private double Top => legend.Count == 0 ? 14 : 14 + LegendRow * (legend[^1].Row + 1);

    private double RowHeight => (PlotBottom - Top) / series.Length;

    internal double PlotBottom => Height - Bottom;

    internal Axis XAxis { get; }

    internal Axis YAxis { get; }

    private IReadOnlyList<double> YTicks { get; } = [];

    internal IReadOnlyList<ChartSeries> Series => series;

    /// <summary>Draws the chart without its title.</summary>
    public void Draw(IChartCanvas canvas)
    {
        if (IsEmpty)
        {
            canvas.Text(Width / 2, Height / 2, "nothing was logged", TextAnchor.Middle);
            return;
        }
        foreach (double tick in YTicks)
        {
            canvas.Grid(Left, Y(tick), PlotRight, Y(tick));
            canvas.Text(Left - 6, Y(tick) + 4, YAxis.Label(tick), TextAnchor.End);
        }
        foreach (double tick in XAxis.Ticks())
        {
            if (chart.Kind == ChartKind.Intervals)
                canvas.Grid(X(tick), Top, X(tick), PlotBottom);
            canvas.Text(X(tick), PlotBottom + 16, XAxis.Label(tick), TextAnchor.Middle);
        }
        canvas.Text(PlotRight, Height - 4, chart.XLabel, TextAnchor.End);
        if (chart.Guide is { } guide)
        {
            canvas.Grid(Left, Y(guide.Y), PlotRight, Y(guide.Y), isDashed: true);
            canvas.Text(PlotRight, Y(guide.Y) - 5, guide.Name, TextAnchor.End);
        }
        Action<IChartCanvas> draw = chart.Kind switch
        {
            ChartKind.Stack => DrawStack,
            ChartKind.Histogram => DrawHistogram,
            ChartKind.Intervals => DrawIntervals,
            _ => DrawLines,
        };
        draw(canvas);
        foreach (var (s, x, row) in legend)
        {
            canvas.Bar(x, 8 + LegendRow * row, 10, 10, s.Color, 1);
            canvas.Text(x + 15, 17 + LegendRow * row, s.Name, TextAnchor.Start);
        }
    }

    private double X(double x) => Left + XAxis.Share(x) * (PlotRight - Left);

    private double Y(double y) => PlotBottom - YAxis.Share(y) * (PlotBottom - Top);

    private void DrawLines(IChartCanvas canvas)
    {
        foreach (var s in series)
            foreach (var part in Parts(s.Points, p => double.IsFinite(p.Low) && double.IsFinite(p.High)))
                canvas.Area([.. part.Select(p => (X(p.X), Y(p.High))), .. part.Reverse().Select(p => (X(p.X), Y(p.Low)))], s.Color, 0.18);
        foreach (var s in series)
            foreach (var part in Parts(s.Points, p => double.IsFinite(p.Y)))
                if (part.Length == 1 || s.Points.Count <= 12)
                {
                    canvas.Line([.. part.Select(p => (X(p.X), Y(p.Y)))], s.Color);
                    foreach (var p in part)
                        canvas.Dot(X(p.X), Y(p.Y), s.Color);
                }
                else
                    canvas.Line([.. part.Select(p => (X(p.X), Y(p.Y)))], s.Color);
    }

    private void DrawStack(IChartCanvas canvas)
    {
        foreach (var s in series)
            canvas.Area([.. s.Points.Select(p => (X(p.X), Y(p.High))), .. s.Points.Reverse().Select(p => (X(p.X), Y(p.Low)))], s.Color, 0.85);
    }

    private void DrawHistogram(IChartCanvas canvas)
    {
        foreach (var s in series)
        {
            for (int i = 0; i + 1 < s.Points.Count; i++)
                if (s.Points[i].Y > 0)
                    canvas.Bar(X(s.Points[i].X) + 0.5, Y(s.Points[i].Y), X(s.Points[i + 1].X) - X(s.Points[i].X) - 1,
                        PlotBottom - Y(s.Points[i].Y), s.Color, 0.55);
            canvas.Line([.. s.Points.SelectMany((p, i) => i + 1 < s.Points.Count
                ? ((double, double)[])[(X(p.X), Y(p.Y)), (X(s.Points[i + 1].X), Y(p.Y))] : [(X(p.X), PlotBottom)]).Prepend((X(s.Points[0].X), PlotBottom))],
                s.Color);
        }
    }

    private void DrawIntervals(IChartCanvas canvas)
    {
        for (int i = 0; i < series.Length; i++)
        {
            var (p, y) = (series[i].Points[0], Top + RowHeight * (i + 0.5));
            canvas.Text(Left - 8, y + 4, series[i].Name, TextAnchor.End);
            if (double.IsFinite(p.Low) && double.IsFinite(p.High))
                canvas.Bar(X(p.Low), y - 4, Math.Max(1, X(p.High) - X(p.Low)), 8, series[i].Color, 0.35);
            canvas.Dot(X(p.Y), y, series[i].Color);
        }
    }

    /// <summary>Gives each name of the legend its place, in as many rows as it takes.</summary>
    private void LayLegend()
    {
        double x = Left;
        int row = 0;
        foreach (var s in chart.Kind == ChartKind.Stack ? series.Reverse() : series)
        {
            double width = 15 + Letter * s.Name.Length;
            if (x > Left && x + width > Width)
                (x, row) = (Left, row + 1);
            legend.Add((s, x, row));
            x += width + 12;
        }
    }

    private static IEnumerable<ChartPoint[]> Parts(IReadOnlyList<ChartPoint> points, Func<ChartPoint, bool> isThere)
    {
        for (int i = 0; i < points.Count; i++)
        {
            int from = i;
            while (i < points.Count && isThere(points[i]))
                i++;
            if (i > from)
                yield return [.. points.Skip(from).Take(i - from)];
        }
    }

    /// <summary>Layers on top of each other: a point's Low and High are where its layer begins and ends.</summary>
    private static ChartSeries[] Stacked(ChartSeries[] layers)
    {
        var sums = new double[layers.Length == 0 ? 0 : layers.Min(l => l.Points.Count)];
        return [.. layers.Select(layer => layer with
        {
            Points = [.. layer.Points.Take(sums.Length).Select((p, i) =>
            {
                double from = sums[i];
                sums[i] += double.IsFinite(p.Y) ? Math.Max(0, p.Y) : 0;
                return new ChartPoint(p.X, p.Y, from, sums[i]);
            })],
        })];
    }
}
