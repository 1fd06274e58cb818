using Rlhf.Tokenizers.Chat;

namespace Rlhf.Rewards;

/// <summary>One sampled text: the query that was given and the response that the policy wrote.</summary>
/// <param name="Query">Text of the query.</param>
/// <param name="Response">Text of the response alone.</param>
public sealed record Completion(string Query, string Response)
{
    private static readonly IReadOnlyDictionary<string, object?> None = new Dictionary<string, object?>();

    /// <summary>The other columns of the query's row, by name, such as the right answer that a verifier compares with.</summary>
    public IReadOnlyDictionary<string, object?> Fields { get; init; } = None;

    /// <summary>The conversation that the query was rendered from, without the response; null where it is plain text.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>Query and response, as the lesson's reward reads them.</summary>
    public string Text => Query + Response;
}
