using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Runtime.Files;
using SkiaSharp;

namespace Rlhf.Cli.Reports;

/// <summary>A run's charts as PNG pictures on white, for slides.</summary>
internal static class PngCharts
{
    private const float Scale = 2.5f, TitleHeight = 58, Width = 640, Height = 330;

    // A plain face that Windows, macOS and Linux have; what is asked for and not there is answered by another.
    private static readonly string[] Fonts = ["Segoe UI", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans", "Noto Sans"];

    /// <summary>Writes every chart of a run as NAME.png.</summary>
    /// <returns>Paths of the pictures.</returns>
    /// <exception cref="PlatformNotSupportedException">The library that draws cannot be loaded, or there is no font.</exception>
    public static IReadOnlyList<string> Write(RunData run, string folder)
    {
        Chart[] charts = [.. new[] { RunCharts.Rewards(run), RunCharts.Intervals(run) }.OfType<Chart>(), .. RunCharts.Curves(run)];
        Directory.CreateDirectory(folder);
        try
        {
            return [.. charts.Select(chart => Write(chart, Path.Combine(folder, chart.Name + ".png")))];
        }
        catch (Exception e) when (
            e is TypeInitializationException or DllNotFoundException or EntryPointNotFoundException or BadImageFormatException)
        {
            throw new PlatformNotSupportedException("Pictures cannot be drawn here: SkiaSharp's native library does not load "
                + $"({(e.InnerException ?? e).Message.Split('\n')[0].TrimEnd('.')}). The charts are in the report, as SVG.");
        }
    }

    private static string Write(Chart chart, string path)
    {
        using var face = Fonts.Select(SKTypeface.FromFamilyName).FirstOrDefault(f => f is not null && Fonts.Contains(f.FamilyName))
            ?? SKTypeface.Default;
        using var font = new SKFont(face, 13) { Subpixel = true };
        if (face is null || WidthOf(font, "0") <= 0)
            throw new PlatformNotSupportedException("Pictures cannot be drawn here: no font is installed (Debian: apt-get install "
                + "fonts-dejavu-core). The charts are in the report, as SVG.");
        var drawing = new ChartDrawing(chart, Width, Height);
        using var bitmap = new SKBitmap((int)(Width * Scale), (int)((drawing.Height + TitleHeight) * Scale));
        using (var surface = new SKCanvas(bitmap))
        {
            surface.Clear(SKColors.White);
            surface.Scale(Scale);
            using var paint = new SKPaint { Color = SKColor.Parse("#16181d"), IsAntialias = true };
            using var strong = new SKFont(face, 17) { Embolden = true, Subpixel = true };
            surface.DrawText(chart.Title, 14, 26, strong, paint);
            paint.Color = SKColor.Parse("#565c66");
            using var small = new SKFont(face, 13 * Math.Min(1, (Width - 28) / Math.Max(1, WidthOf(font, chart.Note)))) { Subpixel = true };
            surface.DrawText(chart.Note, 14, 46, small, paint);
            surface.Translate(0, TitleHeight);
            drawing.Draw(new Canvas(surface, font));
        }
        using var image = SKImage.FromBitmap(bitmap);
        using var png = image.Encode(SKEncodedImageFormat.Png, 100);
        AtomicFile.Write(path, png.SaveTo);
        return path;
    }

    private static float WidthOf(SKFont font, string text)
    {
        using var paint = new SKPaint(font);
        return paint.MeasureText(text);
    }

    private sealed class Canvas(SKCanvas canvas, SKFont font) : IChartCanvas
    {
        public void Grid(double x1, double y1, double x2, double y2, bool isDashed)
        {
            using var paint = Paint(isDashed ? "#565c66" : "#e3e5e8");
            using var dashes = isDashed ? SKPathEffect.CreateDash([4, 4], 0) : null;
            paint.PathEffect = dashes;
            canvas.DrawLine((float)x1, (float)y1, (float)x2, (float)y2, paint);
        }

        public void Line(IReadOnlyList<(double X, double Y)> points, int color)
        {
            using var paint = Paint(Palette(color));
            (paint.Style, paint.StrokeWidth, paint.StrokeJoin, paint.StrokeCap) =
                (SKPaintStyle.Stroke, 2, SKStrokeJoin.Round, SKStrokeCap.Round);
            using var path = PathOf(points);
            canvas.DrawPath(path, paint);
        }

        public void Area(IReadOnlyList<(double X, double Y)> points, int color, double opacity)
        {
            using var paint = Paint(Palette(color), opacity);
            using var path = PathOf(points);
            path.Close();
            canvas.DrawPath(path, paint);
        }

        public void Bar(double x, double y, double width, double height, int color, double opacity)
        {
            using var paint = Paint(Palette(color), opacity);
            canvas.DrawRect((float)x, (float)y, (float)Math.Max(0, width), (float)Math.Max(0, height), paint);
        }

        public void Dot(double x, double y, int color)
        {
            using var paint = Paint(Palette(color));
            canvas.DrawCircle((float)x, (float)y, 4, paint);
        }

        public void Text(double x, double y, string text, TextAnchor anchor, bool isStrong)
        {
            using var paint = Paint("#565c66");
            float shift = anchor switch { TextAnchor.Middle => WidthOf(font, text) / 2, TextAnchor.End => WidthOf(font, text), _ => 0 };
            canvas.DrawText(text, (float)x - shift, (float)y, font, paint);
        }

        private static string Palette(int color) => SvgChart.Palette[color % SvgChart.Palette.Count];

        private static SKPaint Paint(string color, double opacity = 1) =>
            new() { Color = SKColor.Parse(color).WithAlpha((byte)Math.Round(255 * opacity)), IsAntialias = true, StrokeWidth = 1 };

        private static SKPath PathOf(IReadOnlyList<(double X, double Y)> points)
        {
            var path = new SKPath();
            path.AddPoly([.. points.Select(p => new SKPoint((float)p.X, (float)p.Y))], close: false);
            return path;
        }
    }
}
