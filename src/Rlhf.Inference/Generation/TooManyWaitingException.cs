namespace Rlhf.Generation;

/// <summary>So many texts are asked for that no more may wait (<see cref="BatchingOptions.MaxWaiting"/>).</summary>
/// <param name="message">One sentence.</param>
/// <param name="retryAfter">When there will probably be room.</param>
public sealed class TooManyWaitingException(string message, TimeSpan retryAfter) : Exception(message)
{
    /// <summary>When there will probably be room: from 1 second to 1 minute.</summary>
    public TimeSpan RetryAfter { get; } = retryAfter;
}
