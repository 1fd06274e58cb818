namespace Rlhf.Training.Ppo;

/// <summary>Mean and standard deviation of everything seen so far.</summary>
/// <remarks>Chan et al.'s parallel update; TRL: <c>RunningMoments</c>.</remarks>
public sealed class RunningMoments
{
    /// <summary>Mean of all values.</summary>
    public double Mean { get; private set; }

    /// <summary>Standard deviation with Bessel's correction; 1 before there are two values.</summary>
    public double Std { get; private set; } = 1;

    /// <summary>Variance without the correction; 1 before the first update.</summary>
    public double Var { get; private set; } = 1;

    /// <summary>Number of values.</summary>
    public double Count { get; private set; } = 1e-24;

    /// <summary>Takes a batch, and returns its own mean and corrected standard deviation (0 of a single value).</summary>
    public (double Mean, double Std) Update(IReadOnlyList<float> values)
    {
        double n = values.Count, mean = values.Average(v => (double)v), variance = values.Average(v => (v - mean) * (v - mean));
        double delta = mean - Mean, total = Count + n;
        double sum = Var * Count + delta * delta * Count * n / total + variance * n;
        Mean += delta * n / total;
        Var = sum / total;
        if (total > 1)
            Std = Math.Sqrt(Var * total / (total - 1));
        Count = total;
        return (mean, n > 1 ? Math.Sqrt(variance * n / (n - 1)) : 0);
    }

    /// <summary>Continues from saved moments.</summary>
    public void Restore(double mean, double std, double var, double count) => (Mean, Std, Var, Count) = (mean, std, var, count);
}
