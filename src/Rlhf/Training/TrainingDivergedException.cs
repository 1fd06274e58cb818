namespace Rlhf.Training;

/// <summary>
/// Training left the numbers that it can continue from: what became non-finite or out of bounds, at which step, why, and what to change.
/// The weights are those of the last update that was good.
/// </summary>
/// <param name="step">The step that diverged; 1 is the first.</param>
/// <param name="metric">What diverged, with its value, without a full stop.</param>
/// <param name="advice">What to change: sentences that name settings.</param>
/// <param name="cause">The likely cause: a sentence, or empty.</param>
/// <param name="setting">Name of the setting to change first, such as LearningRate, or null.</param>
public sealed class TrainingDivergedException(long step, string metric, string advice, string cause = "", string? setting = null)
    : Exception($"Training diverged at step {step}: {metric}. {(cause.Length > 0 ? cause + " " : "")}{advice}")
{
    /// <summary>The step (1 is the first) that diverged; its last update was not applied.</summary>
    public long Step { get; } = step;

    /// <summary>What diverged, with its value.</summary>
    public string Metric { get; } = metric;

    /// <summary>The likely cause; may be empty.</summary>
    public string Cause { get; } = cause;

    /// <summary>What to change.</summary>
    public string Advice { get; } = advice;

    /// <summary>Name of the setting to change first, or null.</summary>
    public string? Setting { get; } = setting;

    /// <summary>
    /// Were the model's weights found unusable, although none need be NaN or infinite itself? A checkpoint of the last whole step
    /// then holds the damage, too. False by default.
    /// </summary>
    public bool WeightsAreDamaged { get; init; }
}
