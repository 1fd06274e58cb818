using System.Globalization;

namespace Rlhf.Studio.Charts;

/// <summary>Numbers for people.</summary>
public static class Figures
{
    /// <summary>A value in about four digits.</summary>
    public static string Of(double value) => Math.Abs(value) switch
    {
        double.NaN => "NaN",
        double.PositiveInfinity => value > 0 ? "∞" : "−∞",
        0 => "0",
        < 1e-3 => value.ToString("0.##e0", CultureInfo.InvariantCulture),
        < 10 => value.ToString("0.000", CultureInfo.InvariantCulture),
        < 1000 => value.ToString("0.0", CultureInfo.InvariantCulture),
        _ => value.ToString("N0", CultureInfo.InvariantCulture),
    };

    /// <summary>A value in about four digits, or a dash.</summary>
    public static string Of(double? value) => value is { } known ? Of(known) : "–";

    /// <summary>A value in thousandths, for columns.</summary>
    public static string Fixed(double value) => double.IsFinite(value) ? value.ToString("0.000", CultureInfo.InvariantCulture) : Of(value);

    /// <summary>A value with its sign.</summary>
    public static string Signed(double value) => (value >= 0 ? "+" : "−") + Math.Abs(value).ToString("0.00", CultureInfo.InvariantCulture);

    /// <summary>A whole number.</summary>
    public static string Count(long value) => value.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A time that something took, such as 2 h 05 min.</summary>
    public static string Span(TimeSpan time) =>
        time.TotalMinutes < 1 ? $"{Math.Max(0, (int)time.TotalSeconds)} s"
        : time.TotalHours < 1 ? $"{(int)time.TotalMinutes} min {time.Seconds:00} s"
        : time.TotalDays < 1 ? $"{(int)time.TotalHours} h {time.Minutes:00} min"
        : $"{(int)time.TotalDays} d {time.Hours} h";

    /// <summary>How long ago something was.</summary>
    public static string Ago(DateTime time) => (DateTime.UtcNow - time) switch
    {
        { TotalSeconds: < 10 } => "just now",
        { TotalMinutes: < 1 } span => $"{(int)span.TotalSeconds} s ago",
        { TotalHours: < 1 } span => $"{(int)span.TotalMinutes} min ago",
        { TotalDays: < 1 } span => $"{(int)span.TotalHours} h ago",
        { TotalDays: < 60 } span => $"{(int)span.TotalDays} d ago",
        _ => time.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
    };

    /// <summary>A time that a phase took.</summary>
    public static string Seconds(double seconds) => seconds switch
    {
        < 0.001 => "<1 ms",
        < 1 => $"{(seconds * 1000).ToString("0", CultureInfo.InvariantCulture)} ms",
        _ => $"{seconds.ToString("0.00", CultureInfo.InvariantCulture)} s",
    };
}
