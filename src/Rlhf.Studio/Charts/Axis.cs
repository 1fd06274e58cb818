using System.Globalization;

namespace Rlhf.Studio.Charts;

/// <summary>A range of values with round ticks.</summary>
/// <param name="Low">Its lower end.</param>
/// <param name="High">Its upper end, above the lower.</param>
/// <param name="Step">From one tick to the next.</param>
public readonly record struct Axis(double Low, double High, double Step)
{
    /// <summary>An axis over these values; from 0 to 1 where none is finite.</summary>
    /// <param name="values">The values.</param>
    /// <param name="ticks">About how many ticks.</param>
    public static Axis Of(IEnumerable<double> values, int ticks = 4)
    {
        double low = double.PositiveInfinity, high = double.NegativeInfinity;
        foreach (double value in values)
            if (double.IsFinite(value))
                (low, high) = (Math.Min(low, value), Math.Max(high, value));
        if (low > high)
            (low, high) = (0, 1);
        double span = high - low, least = Math.Max(Math.Abs(high), Math.Abs(low)) * 1e-6;
        if (!(span > least) || !double.IsFinite(span))
            (low, high) = low == 0 ? (-1, 1) : (low - Math.Abs(low) * 0.1, high + Math.Abs(high) * 0.1);
        double step = Nice((high - low) / ticks);
        return new(low - (high - low) * 0.04, high + (high - low) * 0.04, step);
    }

    /// <summary>Where a value lies between the ends, 0 to 1.</summary>
    public double Share(double value) => (value - Low) / (High - Low);

    /// <summary>The ticks' values, ascending.</summary>
    public IEnumerable<double> Ticks()
    {
        for (double i = Math.Ceiling(Low / Step), n = 0; i * Step <= High && n < 12; i++, n++)
            yield return i * Step;
    }

    /// <summary>A tick's label.</summary>
    public string Label(double tick)
    {
        double value = Math.Abs(tick) < Step * 1e-6 ? 0 : tick;
        double size = Math.Max(Math.Abs(Low), Math.Abs(High));
        if (size is >= 1e5 or < 1e-3)
            return value == 0 ? "0" : value.ToString("0.#e0", CultureInfo.InvariantCulture);
        int digits = Math.Clamp((int)Math.Ceiling(-Math.Log10(Step) - 1e-9), 0, 6);
        return value.ToString((size >= 1000 ? "N" : "F") + digits, CultureInfo.InvariantCulture);
    }

    private static double Nice(double step)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(step)));
        return (step / power) switch { < 1.5 => 1, < 3.5 => 2, < 7.5 => 5, _ => 10 } * power;
    }
}
