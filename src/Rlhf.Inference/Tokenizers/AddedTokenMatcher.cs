using System.Buffers;
using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers;

/// <summary>
/// Finds added tokens in text: the leftmost first, of several at one place the longest; of two that are spelt alike (which normalizing may
/// make so) the special one, then the lower id.
/// </summary>
internal sealed class AddedTokenMatcher
{
    private readonly AddedToken[] tokens;
    private readonly CharTrie trie = new();
    private readonly SearchValues<char> firstCharacters;

    public AddedTokenMatcher(IEnumerable<AddedToken> tokens)
    {
        this.tokens = [.. tokens.Where(t => t.Content.Length > 0).OrderBy(t => t.Special ? 0 : 1).ThenBy(t => t.Id)];
        for (int i = 0; i < this.tokens.Length; i++)
            trie.Add(this.tokens[i].Content, i);
        firstCharacters = SearchValues.Create([.. this.tokens.Select(t => t.Content[0]).Distinct()]);
    }

    /// <summary>
    /// The next added token at or after <paramref name="from"/>: where it begins and ends, white space that it swallows included.
    /// </summary>
    public AddedToken? Next(ReadOnlySpan<char> text, int from, out int start, out int end)
    {
        start = end = text.Length;
        for (int at = from; tokens.Length > 0 && at < text.Length;)
        {
            int offset = text[at..].IndexOfAny(firstCharacters);
            if (offset < 0)
                return null;
            at += offset;
            int found = trie.Longest(text[at..], out int length);
            if (found < 0)
            {
                at++;
                continue;
            }
            var token = tokens[found];
            int stop = at + length;
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

    /// <summary>A letter, mark, digit or connector: what the reference's <c>\w</c> takes for part of a word.</summary>
    public static bool IsWord(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        <= UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation => true, // letters, marks, digits, letter numbers
        // Circled and squared letters, and the two joiners.
        _ => rune.Value is (>= 0x24B6 and <= 0x24E9) or 0x200C or 0x200D
            or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189),
    };

    private static bool EndsWithWord(ReadOnlySpan<char> text) =>
        Rune.DecodeLastFromUtf16(text, out var rune, out _) == OperationStatus.Done && IsWord(rune);

    private static bool StartsWithWord(ReadOnlySpan<char> text) =>
        Rune.DecodeFromUtf16(text, out var rune, out _) == OperationStatus.Done && IsWord(rune);
}
