namespace Rlhf.Tokenizers;

/// <summary>Counts the distinct words of a corpus; special tokens that stand in the text are left out.</summary>
internal sealed class WordCounter
{
    private readonly AddedTokenMatcher matcher;
    private readonly Dictionary<string, long> counts = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long>.AlternateLookup<ReadOnlySpan<char>> lookup;

    public WordCounter(IEnumerable<string> specialTokens)
    {
        matcher = new(specialTokens.Select(t => new AddedToken(t, 0)));
        lookup = counts.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>Refuses special tokens that are shorter than two characters or named twice.</summary>
    public static void CheckSpecialTokens(IReadOnlyList<string> specialTokens)
    {
        if (specialTokens.Any(t => t is not { Length: > 1 }))
            throw new ArgumentException(
                "A special token has at least two characters, or ordinary text would be taken for it.", nameof(specialTokens));
        if (specialTokens.Distinct(StringComparer.Ordinal).Count() != specialTokens.Count)
            throw new ArgumentException("A special token is named twice.", nameof(specialTokens));
    }

    /// <summary>The stretches of a text between special tokens.</summary>
    public IEnumerable<(int Start, int End)> Between(string text)
    {
        for (int at = 0; at < text.Length;)
        {
            matcher.Next(text, at, out int start, out int end);
            if (start > at)
                yield return (at, start);
            at = end;
        }
    }

    /// <summary>Counts a word once more.</summary>
    public void Count(ReadOnlySpan<char> word)
    {
        lookup.TryGetValue(word, out long count);
        lookup[word] = count + 1;
    }

    /// <summary>Words with their counts in ordinal order, so that the order of the texts does not matter.</summary>
    public IEnumerable<(string Word, long Count)> InOrder() =>
        counts.OrderBy(x => x.Key, StringComparer.Ordinal).Select(x => (x.Key, x.Value));
}
