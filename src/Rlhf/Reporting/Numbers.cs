using System.Globalization;

namespace Rlhf.Reporting;

/// <summary>Numbers as people read them.</summary>
internal static class Numbers
{
    private const string Minus = "\u2212";

    /// <summary>Three significant digits or so; very small and very large ones with an exponent.</summary>
    public static string Short(double value)
    {
        if (!double.IsFinite(value))
            return double.IsNaN(value) ? "not a number" : value > 0 ? "\u221e" : Minus + "\u221e";
        double size = Math.Abs(value);
        string text = size == 0 ? "0"
            : size is >= 1e6 or < 1e-3 ? Exponent(size)
            : size >= 1000 ? size.ToString("N0", CultureInfo.InvariantCulture)
            : size.ToString(size >= 100 ? "0" : size >= 10 ? "0.#" : size >= 0.1 ? "0.##" : size >= 0.01 ? "0.###" : "0.####", CultureInfo.InvariantCulture);
        return value < 0 && text != "0" ? Minus + text : text;
    }

    /// <summary>Two decimals.</summary>
    public static string Fixed(double value, int decimals = 2)
    {
        if (!double.IsFinite(value))
            return Short(value);
        string size = Math.Abs(value).ToString("F" + decimals, CultureInfo.InvariantCulture);
        return value < 0 && size.Any(c => c is >= '1' and <= '9') ? Minus + size : size;
    }

    /// <summary>Two decimals with a sign.</summary>
    public static string Signed(double value) =>
        Fixed(value) is var text && value > 0 && text.Any(c => c is >= '1' and <= '9') ? "+" + text : text;

    public static string Percent(double share) => Fixed(100 * share, 1) + " %";

    public static string Duration(double seconds) => seconds < 60 ? $"{Fixed(seconds, 1)} s"
        : seconds < 3600 ? $"{(int)seconds / 60} min {(int)seconds % 60} s"
        : $"{(long)seconds / 3600} h {(long)seconds / 60 % 60} min";

    public static string Count(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>Round numbers that divide a range into about so many parts.</summary>
    public static double[] Ticks(double low, double high, int about)
    {
        double step = (high - low) / about;
        if (!(step > 0) || !double.IsFinite(step))
            return [low];
        double power = Math.Pow(10, Math.Floor(Math.Log10(step))), rest = step / power;
        step = power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10);
        double first = Math.Ceiling(low / step - 1e-9);
        var ticks = new List<double>();
        for (int i = 0; i < 50 && (first + i) * step <= high + step * 1e-9; i++)
            ticks.Add((first + i) * step is var tick && Math.Abs(tick) < step * 1e-9 ? 0 : (first + i) * step);
        return [.. ticks];
    }

    private static string Exponent(double size)
    {
        string text = size.ToString("0.##E+0", CultureInfo.InvariantCulture);
        int e = text.IndexOf('E');
        int exponent = int.Parse(text.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        return $"{text[..e]}e{exponent}";
    }
}
