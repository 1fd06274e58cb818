namespace Rlhf.Tokenizers;

/// <summary>
/// Which tokens of a prompt and its response a model reads when it cannot read them all: the response matters, so the beginning of the
/// prompt goes first, and then the end of the response.
/// </summary>
public static class CompletionTokens
{
    /// <summary>Where the tokens that fit begin: 0 when all do.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="prompt">The prompt.</param>
    /// <param name="tokens">Tokens of prompt and response together, without special tokens.</param>
    /// <param name="room">Tokens that fit.</param>
    internal static int WindowStart(ITokenizer tokenizer, string prompt, ReadOnlySpan<int> tokens, int room) =>
        tokens.Length <= room ? 0
        // A token in which prompt and response have grown together counts as the response's.
        : Math.Min(tokens.Length - room, tokens.CommonPrefixLength(tokenizer.Encode(prompt, addSpecialTokens: false)));

    /// <summary>
    /// Token ids of prompt and response together with their special tokens, at most <paramref name="maxLength"/>: too long a text loses
    /// the beginning of its prompt first, then the end of its response.
    /// </summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="prompt">The prompt; may be empty.</param>
    /// <param name="response">The response.</param>
    /// <param name="maxLength">Most tokens, special tokens included.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxLength"/> has no room for the special tokens.</exception>
    public static int[] EncodeCompletion(this ITokenizer tokenizer, string prompt, string response, int maxLength)
    {
        var (before, after) = (tokenizer.Template.Before, tokenizer.Template.After);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxLength, before.Count + after.Count);
        int[] content = tokenizer.Encode(prompt + response, addSpecialTokens: false);
        // A chat template has written these tokens itself.
        int written = before.Count > 0 && content.Take(before.Count).SequenceEqual(before) ? before.Count : 0;
        if (after.Count > 0 && content.Length >= written + after.Count && content[^after.Count..].SequenceEqual(after))
            content = content[..^after.Count];
        int room = maxLength - before.Count - after.Count;
        int start = Math.Max(WindowStart(tokenizer, prompt, content, room), written);
        return [.. before, .. content.Skip(start).Take(room), .. after];
    }
}
