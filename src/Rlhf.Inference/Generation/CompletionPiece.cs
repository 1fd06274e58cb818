namespace Rlhf.Generation;

/// <summary>A piece of a completion that is being written.</summary>
/// <param name="Text">What was added; whole characters.</param>
/// <param name="TokenIds">The tokens that were chosen since the piece before, the end token included.</param>
/// <param name="Finish">Why it ended, on the last piece; null before.</param>
public sealed record CompletionPiece(string Text, IReadOnlyList<int> TokenIds, FinishReason? Finish)
{
    /// <summary>Of each token its logprob under the model itself, before sampling settings; null unless they were asked for.</summary>
    public IReadOnlyList<TokenLogprobs>? Logprobs { get; init; }
}
