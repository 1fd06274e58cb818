using System.Globalization;

namespace Rlhf.Reporting;

/// <summary>Numbers as people read them.</summary>
public static class Numbers
{
    private const string Minus = "\u2212";

    /// <summary>Three significant digits or so; very small and very large ones with an exponent.</summary>
    public static string Short(double value)
    {
        double size = Math.Abs(value);
        return !double.IsFinite(value) || size is >= 1e6 or < 1e-3 ? Exponent(value)
            : WithSign(value, size.ToString(size >= 1000 ? "N0" : size >= 100 ? "0" : size >= 10 ? "0.#" : size >= 0.1 ? "0.##"
                : size >= 0.01 ? "0.###" : "0.####", CultureInfo.InvariantCulture));
    }

    /// <summary>About four digits, as many after the point as its neighbors in a column mostly have.</summary>
    public static string Column(double value) => Math.Abs(value) is >= 1e-3 and < 1e6 and var size
        ? Fixed(value, size < 10 ? 3 : size < 1000 ? 1 : 0) : Exponent(value);

    /// <summary>A number with this many decimals.</summary>
    public static string Fixed(double value, int decimals = 2) => !double.IsFinite(value) ? Exponent(value)
        : WithSign(value, Math.Abs(value).ToString("N" + decimals, CultureInfo.InvariantCulture));

    /// <summary>Two decimals with a sign.</summary>
    public static string Signed(double value) => Fixed(value) is var text && value > 0 && IsSome(text) ? "+" + text : text;

    /// <summary>A share, such as 12.3 %.</summary>
    public static string Percent(double share) => Fixed(100 * share, 1) + " %";

    /// <summary>A time that something took, such as 12.3 s or 2 h 05 min.</summary>
    /// <param name="seconds">Its seconds; 0 or more.</param>
    public static string Duration(double seconds) => (long)seconds switch
    {
        < 1 => seconds <= 0 ? "0 s" : seconds < 0.001 ? "<1 ms" : $"{Fixed(1000 * seconds, 0)} ms",
        < 60 => $"{Fixed(seconds, seconds < 10 ? 2 : 1)} s",
        < 3600 and var s => $"{s / 60} min {s % 60:00} s",
        < 86400 and var s => $"{s / 3600} h {s / 60 % 60:00} min",
        var s => $"{s / 86400} d {s / 3600 % 24} h",
    };

    /// <summary>A whole number.</summary>
    public static string Count(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A number of things, such as 1 step or 2,000 steps.</summary>
    /// <param name="number">How many.</param>
    /// <param name="thing">One of them.</param>
    /// <param name="things">Several; null: with an s.</param>
    public static string Count(long number, string thing, string? things = null) =>
        $"{Count(number)} {(number == 1 ? thing : things ?? thing + "s")}";

    /// <summary>With an exponent, such as 1.2e-4; 0 and what is not finite in words or signs.</summary>
    internal static string Exponent(double value) => Math.Abs(value) switch
    {
        0 => "0",
        double.NaN => "not a number",
        double.PositiveInfinity => WithSign(value, "\u221e"),
        var size => WithSign(value, size.ToString("0.##e0", CultureInfo.InvariantCulture)),
    };

    // What is rounded to zero has no sign.
    private static string WithSign(double value, string size) => value < 0 && IsSome(size) ? Minus + size : size;

    private static bool IsSome(string size) => size.Any(c => c is >= '1' and <= '9' or '\u221e');
}
