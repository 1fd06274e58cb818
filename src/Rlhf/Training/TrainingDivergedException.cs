namespace Rlhf.Training;

/// <summary>
/// Training left the numbers that it can go on with: what became non-finite or out of bounds, at which step, and what to change.
/// </summary>
public sealed class TrainingDivergedException(long step, string metric, string advice)
    : Exception($"Training diverged at step {step}: {metric}. {advice}")
{
    /// <summary>The step (1 is the first) that diverged; its update was not applied.</summary>
    public long Step { get; } = step;

    /// <summary>What diverged, with its value.</summary>
    public string Metric { get; } = metric;
}
