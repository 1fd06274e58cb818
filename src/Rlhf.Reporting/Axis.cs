namespace Rlhf.Reporting;

/// <summary>A range of values with round ticks.</summary>
/// <param name="Low">Its lower end.</param>
/// <param name="High">Its upper end, above the lower.</param>
/// <param name="Step">From one tick to the next.</param>
public readonly record struct Axis(double Low, double High, double Step)
{
    private const int MostTicks = 20;

    /// <summary>An axis over these values with a little room at its ends; from 0 to 1 where none is finite.</summary>
    /// <param name="values">The values.</param>
    /// <param name="ticks">About how many ticks.</param>
    /// <param name="fromZero">Is zero on the axis, whatever the values, and without room where it is an end?</param>
    public static Axis Of(IEnumerable<double> values, int ticks = 4, bool fromZero = false)
    {
        double low = double.PositiveInfinity, high = double.NegativeInfinity;
        foreach (double value in values)
            if (double.IsFinite(value))
                (low, high) = (Math.Min(low, value), Math.Max(high, value));
        if (low > high)
            (low, high) = (0, 1);
        if (fromZero)
            (low, high) = (Math.Min(low, 0), Math.Max(high, 0));
        double span = high - low, least = Math.Max(Math.Abs(high), Math.Abs(low)) * 1e-6;
        if (!(span > least) || !double.IsFinite(span))
            (low, high) = low == 0 ? (fromZero ? 0 : -1, 1) : (low - Math.Abs(low) * 0.1, high + Math.Abs(high) * 0.1);
        double room = (high - low) * 0.04;
        return Between(low, high, ticks) with { Low = fromZero && low == 0 ? 0 : low - room, High = fromZero && high == 0 ? 0 : high + room };
    }

    /// <summary>An axis from one value to another; around the value where they are the same.</summary>
    /// <param name="low">Its lower end.</param>
    /// <param name="high">Its upper end.</param>
    /// <param name="ticks">About how many ticks.</param>
    /// <param name="leastStep">Ticks are not closer to each other than this: 1 for what is counted.</param>
    public static Axis Between(double low, double high, int ticks = 4, double leastStep = 0)
    {
        if (!(high > low))
            (low, high) = (low - 0.5, high + 0.5);
        double step = (high - low) / ticks, power = Math.Pow(10, Math.Floor(Math.Log10(step)));
        return new(low, high, Math.Max(leastStep, (step / power) switch { < 1.5 => 1, < 3.5 => 2, < 7.5 => 5, _ => 10 } * power));
    }

    /// <summary>Where a value lies between the ends, 0 to 1.</summary>
    public double Share(double value) => (value - Low) / (High - Low);

    /// <summary>The ticks' values, ascending.</summary>
    public IReadOnlyList<double> Ticks()
    {
        double first = Math.Ceiling(Low / Step - 1e-9);
        List<double> ticks = [];
        while (ticks.Count < MostTicks && (first + ticks.Count) * Step <= High + Step * 1e-9)
            ticks.Add((first + ticks.Count) * Step);
        return ticks;
    }

    /// <summary>A tick's label, with as many digits as the others.</summary>
    public string Label(double tick) => Math.Max(Math.Abs(Low), Math.Abs(High)) is >= 1e5 or < 1e-3 ? Numbers.Exponent(tick)
        : Numbers.Fixed(tick, Math.Clamp((int)Math.Ceiling(-Math.Log10(Step) - 1e-9), 0, 6));
}
