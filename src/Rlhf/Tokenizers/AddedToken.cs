using System.Buffers;
using System.Text;

namespace Rlhf.Tokenizers;

/// <summary>A token that is recognised in the text itself, before anything is normalised or split.</summary>
/// <param name="Content">Its text.</param>
/// <param name="Id">Its id.</param>
/// <param name="Special">It is a control token: <c>skipSpecialTokens</c> leaves it out.</param>
/// <param name="SingleWord">Only when no letter, digit or underscore touches it.</param>
/// <param name="LeftStrip">It swallows the white space before it (RoBERTa's &lt;mask&gt;).</param>
/// <param name="RightStrip">It swallows the white space after it.</param>
/// <param name="Normalized">It is looked for in the normalised text (lower-cased, for BERT) instead of the text as given.</param>
public sealed record AddedToken(
    string Content, int Id, bool Special = true, bool SingleWord = false,
    bool LeftStrip = false, bool RightStrip = false, bool Normalized = false);

/// <summary>Finds added tokens in text: the leftmost first, of several at one place the longest.</summary>
internal sealed class AddedTokenMatcher
{
    private readonly AddedToken[] longestFirst;
    private readonly SearchValues<string>? search;

    public AddedTokenMatcher(IEnumerable<AddedToken> tokens)
    {
        longestFirst = tokens.Where(t => t.Content.Length > 0).OrderByDescending(t => t.Content.Length).ToArray();
        if (longestFirst.Length > 0)
            search = SearchValues.Create(longestFirst.Select(t => t.Content).ToArray(), StringComparison.Ordinal);
    }

    /// <summary>
    /// The next added token at or after <paramref name="from"/>: where it begins and ends, white space that it swallows included.
    /// </summary>
    public AddedToken? Next(ReadOnlySpan<char> text, int from, out int start, out int end)
    {
        start = end = text.Length;
        if (search is null)
            return null;
        for (int at = from; at < text.Length;)
        {
            int offset = text[at..].IndexOfAny(search);
            if (offset < 0)
                return null;
            at += offset;
            var token = LongestAt(text[at..]);
            int stop = at + token.Content.Length;
            if (token.SingleWord && (EndsWithWord(text[..at]) || StartsWithWord(text[stop..])))
            {
                at = stop;
                continue;
            }
            (start, end) = (at, stop);
            while (token.LeftStrip && start > from && char.IsWhiteSpace(text[start - 1]))
                start--;
            while (token.RightStrip && end < text.Length && char.IsWhiteSpace(text[end]))
                end++;
            return token;
        }
        return null;
    }

    private AddedToken LongestAt(ReadOnlySpan<char> text)
    {
        foreach (var token in longestFirst)
            if (text.StartsWith(token.Content, StringComparison.Ordinal))
                return token;
        throw new InvalidOperationException("A token was found and then was not there.");
    }

    private static bool EndsWithWord(ReadOnlySpan<char> text) =>
        Rune.DecodeLastFromUtf16(text, out var rune, out _) == OperationStatus.Done && IsWord(rune);

    private static bool StartsWithWord(ReadOnlySpan<char> text) =>
        Rune.DecodeFromUtf16(text, out var rune, out _) == OperationStatus.Done && IsWord(rune);

    private static bool IsWord(Rune rune) => Rune.IsLetterOrDigit(rune) || rune.Value == '_';
}
