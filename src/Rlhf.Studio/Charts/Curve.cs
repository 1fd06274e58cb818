namespace Rlhf.Studio.Charts;

/// <summary>Makes a metric fit for a chart.</summary>
public static class Curve
{
    /// <summary>Most points of a drawn curve: as many as a chart is wide.</summary>
    public const int MostPoints = 400;

    /// <summary>Fewest points of a curve that is smoothed.</summary>
    public const int FewestToSmooth = 30;

    /// <summary>
    /// Is a metric's curve smoothed? Of few points an average tells less than they do, and what a schedule or controller sets has no noise:
    /// an average only shows it late.
    /// </summary>
    /// <param name="metric">Its name.</param>
    /// <param name="points">How many values it has.</param>
    public static bool IsSmoothed(string metric, int points) => points >= FewestToSmooth
        && !metric.EndsWith("learning_rate", StringComparison.Ordinal) && !metric.EndsWith("kl_coef", StringComparison.Ordinal);

    /// <summary>
    /// Exponential moving average, corrected for its start, as TensorBoard smooths. Values that are not finite are passed over and stay.
    /// </summary>
    /// <param name="values">The values.</param>
    /// <param name="weight">How much of the past is kept, in [0, 1); 0 changes nothing.</param>
    public static IReadOnlyList<double> Smooth(IReadOnlyList<double> values, double weight)
    {
        if (weight <= 0)
            return values;
        var smooth = new double[values.Count];
        double sum = 0, correction = 1;
        for (int i = 0; i < smooth.Length; i++)
        {
            if (!double.IsFinite(values[i]))
            {
                smooth[i] = values[i];
                continue;
            }
            sum = weight * sum + (1 - weight) * values[i];
            correction *= weight;
            smooth[i] = sum / (1 - correction);
        }
        return smooth;
    }

    /// <summary>
    /// The indices of at most this many points that keep a curve's shape: of each bucket the one that spans the largest triangle with its
    /// neighbors (Steinarsson's LTTB). Points that are not finite are left out.
    /// </summary>
    /// <param name="x">Ascending.</param>
    /// <param name="y">As many values.</param>
    /// <param name="most">At least 3.</param>
    public static IReadOnlyList<int> Downsample(IReadOnlyList<double> x, IReadOnlyList<double> y, int most = MostPoints)
    {
        int[] finite = [.. Enumerable.Range(0, y.Count).Where(i => double.IsFinite(y[i]))];
        if (finite.Length <= most)
            return finite;
        var chosen = new List<int>(most) { finite[0] };
        double width = (finite.Length - 2.0) / (most - 2);
        for (int bucket = 0; bucket < most - 2; bucket++)
        {
            int begin = 1 + (int)(bucket * width), end = 1 + (int)((bucket + 1) * width);
            int nextEnd = Math.Min(finite.Length, 1 + (int)((bucket + 2) * width));
            var (meanX, meanY) = Mean(x, y, finite.AsSpan(end..Math.Max(end + 1, nextEnd)));
            int last = chosen[^1], best = finite[begin];
            double largest = -1;
            foreach (int i in finite.AsSpan(begin..end))
                if (Math.Abs((x[last] - meanX) * (y[i] - y[last]) - (x[last] - x[i]) * (meanY - y[last])) is var area && area > largest)
                    (largest, best) = (area, i);
            chosen.Add(best);
        }
        chosen.Add(finite[^1]);
        return chosen;
    }

    private static (double X, double Y) Mean(IReadOnlyList<double> x, IReadOnlyList<double> y, ReadOnlySpan<int> indices)
    {
        double sumX = 0, sumY = 0;
        foreach (int i in indices)
            (sumX, sumY) = (sumX + x[i], sumY + y[i]);
        return (sumX / indices.Length, sumY / indices.Length);
    }
}
