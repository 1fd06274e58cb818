namespace Rlhf.Rewards;

/// <summary>A reward could not be had, or is no number that training can use.</summary>
/// <param name="message">What happened, with the sample.</param>
/// <param name="sample">The completion concerned; null when it is not about a single one.</param>
/// <param name="innerException">What caused it.</param>
public sealed class RewardException(string message, Completion? sample = null, Exception? innerException = null)
    : Exception(message, innerException)
{
    /// <summary>The completion concerned; null when it is not about a single one.</summary>
    public Completion? Sample { get; } = sample;
}
