namespace Rlhf.Generation;

/// <summary>How a text is to be continued.</summary>
public sealed record CompletionOptions
{
    /// <summary>How tokens are chosen, and how many at most.</summary>
    public GenerationConfig Sampling { get; init; } = new() { MaxNewTokens = 40 };

    /// <summary>Texts at which the completion ends; they are no part of it.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>Seed of the sampling: the same seed and prompt give the same text.</summary>
    public long Seed { get; init; }

    /// <summary>Tokens that end the completion besides the model's end tokens, such as what ends a turn of a chat; none by default.</summary>
    public IReadOnlyList<int> StopTokenIds { get; init; } = [];

    /// <summary>
    /// How many of the likeliest tokens are given beside each token that is chosen; 0: its own logprob alone; null (the default): no logprobs.
    /// </summary>
    public int? TopLogprobs { get; init; }
}
