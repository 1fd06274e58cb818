namespace Rlhf.Generation;

/// <summary>A whole completion.</summary>
/// <param name="Text">The text that follows the prompt.</param>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="CompletionTokens">Tokens that were chosen, the end token included.</param>
/// <param name="Finish">Why it ended.</param>
public sealed record TextCompletion(string Text, int PromptTokens, int CompletionTokens, FinishReason Finish)
{
    /// <summary>The tokens that were chosen, the end token included.</summary>
    public IReadOnlyList<int> TokenIds { get; init; } = [];

    /// <summary>Of each token its logprob under the model itself, before sampling settings; null unless they were asked for.</summary>
    public IReadOnlyList<TokenLogprobs>? Logprobs { get; init; }
}
