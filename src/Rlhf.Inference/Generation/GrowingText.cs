using Rlhf.Tokenizers;

namespace Rlhf.Generation;

/// <summary>The text of a response that grows token by token: what <see cref="PromptTokens.TextOfContinuation"/> gives for all of its tokens, without
/// decoding all of them each time.</summary>
internal sealed class GrowingText(ITokenizer tokenizer)
{
    // Only the newest tokens are decoded: so many at least, as what a token reads like may depend on some before it.
    private const int Kept = 32;

    private readonly List<int> newest = [];
    private string before = "";

    /// <summary>Adds a token; the whole text.</summary>
    public string Add(int token)
    {
        newest.Add(token);
        string text = tokenizer.TextOfContinuation(newest);
        string whole = before + text;
        if (newest.Count >= 2 * Kept)
        {
            string rest = tokenizer.TextOfContinuation(newest.Skip(newest.Count - Kept));
            // Between two characters alone: half of one reads otherwise.
            if (rest.Length > 0 && rest[0] != '\uFFFD' && text.EndsWith(rest, StringComparison.Ordinal))
            {
                before = whole[..^rest.Length];
                newest.RemoveRange(0, newest.Count - Kept);
            }
        }
        return whole;
    }
}
