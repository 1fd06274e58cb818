namespace Rlhf.Training.Loop;

/// <summary>What a step of an <see cref="IPolicyTrainer"/> measured. B is the number of its rows that were learned from.</summary>
public abstract record PolicyStatistics
{
    /// <summary>Number of the step; 1 is the first.</summary>
    public required long Step { get; init; }

    /// <summary>env/reward_dist: the scores as they were given [B].</summary>
    public required float[] Scores { get; init; }

    /// <summary>What looks wrong, each with its likely cause and the setting to change.</summary>
    public required IReadOnlyList<TrainingWarning> Warnings { get; init; }

    /// <summary>Mean of the scores as they were given (env/reward_mean).</summary>
    public double RewardMean => Scores.Average(s => (double)s);

    /// <summary>The row whose token had the largest ratio, where a guard left something out for its sake; else null.</summary>
    public int? LargestRatioRow { get; init; }

    /// <summary>Single numbers under TRL's names.</summary>
    public abstract IReadOnlyDictionary<string, double> Scalars();

    /// <summary>Values to be shown as histograms, under TRL's names.</summary>
    public abstract IReadOnlyDictionary<string, float[]> Distributions();
}
