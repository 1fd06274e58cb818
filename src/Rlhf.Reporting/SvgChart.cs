using System.Globalization;
using System.Text;

namespace Rlhf.Reporting;

/// <summary>
/// Draws charts as SVG for a page: colors are the page's CSS variables <c>--c0</c>, <c>--c1</c>, … (with those of the palette where the page has none),
/// each chart has a title and a description, and carries its numbers for a script that shows them.
/// </summary>
public static class SvgChart
{
    /// <summary>The palette on white: neutral, then colors that differ in lightness, too.</summary>
    public static IReadOnlyList<string> Palette { get; } =
        ["#8a8f98", "#2f6fde", "#d9622b", "#148a6c", "#9a4fc4", "#a87908", "#c2385a", "#2f86a8", "#6b7a2a"];

    /// <summary>The chart as an svg element.</summary>
    /// <param name="chart">What to draw.</param>
    /// <param name="id">An id of the page for its title; must be unique there.</param>
    /// <param name="width">Width in its own units; on the page it is as wide as its place.</param>
    /// <param name="height">Height in its own units.</param>
    /// <param name="style">A further class of the element; empty: none.</param>
    public static Html Draw(Chart chart, string id, double width = 480, double height = 250, string style = "")
    {
        var drawing = new ChartDrawing(chart, width, height);
        var canvas = new Canvas();
        drawing.Draw(canvas);
        bool isLine = chart.Kind is ChartKind.Lines or ChartKind.Stack && !drawing.IsEmpty;
        var data = !isLine ? Html.Empty : Html.Of($" data-plot=\"{Join([drawing.Left, drawing.PlotRight, drawing.PlotTop, drawing.PlotBottom, drawing.XAxis.Low, drawing.XAxis.High])}\"");
        var numbers = !isLine ? Html.Empty : Html.Join(drawing.Series.Select(s => Html.Of(
            $"<g class=\"data\" data-name=\"{s.Name}\" data-color=\"{s.Color}\" data-x=\"{Join(s.Points.Select(p => p.X))}\" data-y=\"{Join(s.Points.Select(p => p.Y))}\"></g>")));
        return Html.Of($"""
            <svg xmlns="http://www.w3.org/2000/svg" class="{("chart " + style).TrimEnd()}" role="img" aria-labelledby="{id}-t {id}-d" viewBox="0 0 {drawing.Width} {drawing.Height}"{data}>
            <title id="{id}-t">{chart.Title}</title><desc id="{id}-d">{chart.Description}</desc>
            {canvas.Markup}{numbers}</svg>

            """);
    }

    private static string Join(IEnumerable<double> values) => string.Join(' ', values.Select(v =>
        double.IsFinite(v) ? v.ToString("G5", CultureInfo.InvariantCulture) : "NaN"));

    private sealed class Canvas : IChartCanvas
    {
        private readonly StringBuilder markup = new();

        public Html Markup => Html.Trusted(markup.ToString());

        public void Grid(double x1, double y1, double x2, double y2, bool isDashed) => Add(Html.Of(
            $"<line x1=\"{x1:0.#}\" y1=\"{y1:0.#}\" x2=\"{x2:0.#}\" y2=\"{y2:0.#}\" style=\"stroke:var(--grid,#e3e5e8)\"{(isDashed ? Html.Trusted(" stroke-dasharray=\"4 4\" class=\"guide\"") : Html.Empty)}/>"));

        public void Line(IReadOnlyList<(double X, double Y)> points, int color) => Add(Html.Of(
            $"<polyline fill=\"none\" stroke-width=\"1.75\" stroke-linejoin=\"round\" stroke-linecap=\"round\" style=\"stroke:{Color(color)}\" points=\"{Points(points)}\"/>"));

        public void Area(IReadOnlyList<(double X, double Y)> points, int color, double opacity) => Add(Html.Of(
            $"<polygon style=\"fill:{Color(color)};fill-opacity:{opacity}\" points=\"{Points(points)}\"/>"));

        public void Bar(double x, double y, double width, double height, int color, double opacity) => Add(Html.Of(
            $"<rect x=\"{x:0.#}\" y=\"{y:0.#}\" width=\"{Math.Max(0, width):0.#}\" height=\"{Math.Max(0, height):0.#}\" rx=\"1.5\" style=\"fill:{Color(color)};fill-opacity:{opacity}\"/>"));

        public void Dot(double x, double y, int color) => Add(Html.Of(
            $"<circle cx=\"{x:0.#}\" cy=\"{y:0.#}\" r=\"4\" style=\"fill:{Color(color)}\"/>"));

        public void Text(double x, double y, string text, TextAnchor anchor, bool isStrong) => Add(Html.Of(
            $"<text x=\"{x:0.#}\" y=\"{y:0.#}\" text-anchor=\"{anchor.ToString().ToLowerInvariant()}\" style=\"fill:var(--soft,#5b616b);font-size:11.5px\">{text}</text>"));

        private void Add(Html part) => markup.Append(part.ToString()).Append('\n');

        private static string Color(int color) => $"var(--c{color},{Palette[color % Palette.Count]})";

        private static string Points(IEnumerable<(double X, double Y)> points) => string.Join(' ', points.Select(p =>
            string.Create(CultureInfo.InvariantCulture, $"{p.X:0.#},{p.Y:0.#}")));
    }
}
