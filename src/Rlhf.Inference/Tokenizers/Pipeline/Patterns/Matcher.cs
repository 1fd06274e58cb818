namespace Rlhf.Tokenizers.Pipeline.Patterns;

/// <summary>A stretch of text, and whether it is a match or what lies between matches.</summary>
internal readonly record struct Stretch(int Start, int End, bool IsMatch);

/// <summary>Finds what a pattern matches in text.</summary>
internal abstract class Matcher
{
    /// <summary>The next match at or after <paramref name="from"/>; false when there is none.</summary>
    /// <param name="text">The text; without lone surrogates.</param>
    /// <param name="from">Where to begin.</param>
    /// <param name="start">Where the match begins.</param>
    /// <param name="end">Where it ends.</param>
    protected abstract bool Next(ReadOnlySpan<char> text, int from, out int start, out int end);

    /// <summary>The text as matches and what lies between them.</summary>
    public virtual void Find(ReadOnlySpan<char> text, List<Stretch> spans)
    {
        int last = 0;
        for (int at = 0; at < text.Length && Next(text, at, out int start, out int end); at = end)
        {
            if (start > last)
                spans.Add(new(last, start, false));
            spans.Add(new(start, end, true));
            last = end;
        }
        if (last < text.Length)
            spans.Add(new(last, text.Length, false));
    }

    /// <summary>The text with every match replaced.</summary>
    public string Replace(string text, string by)
    {
        var spans = new List<Stretch>();
        Find(text, spans);
        int matches = spans.Count(s => s.IsMatch);
        if (matches == 0)
            return text;
        Growth.Check(text.Length, text.Length + (long)matches * by.Length);
        var result = new System.Text.StringBuilder(text.Length + 16);
        foreach (var span in spans)
        {
            if (span.IsMatch)
                result.Append(by);
            else
                result.Append(text, span.Start, span.End - span.Start);
        }
        return result.ToString();
    }
}

/// <summary>A literal text.</summary>
internal sealed class LiteralMatcher(string literal) : Matcher
{
    protected override bool Next(ReadOnlySpan<char> text, int from, out int start, out int end)
    {
        int offset = text[from..].IndexOf(literal, StringComparison.Ordinal);
        (start, end) = (from + offset, from + offset + literal.Length);
        return offset >= 0;
    }
}

/// <summary>Single characters of a kind.</summary>
internal sealed class RuneMatcher(Func<System.Text.Rune, bool> isMatch) : Matcher
{
    protected override bool Next(ReadOnlySpan<char> text, int from, out int start, out int end)
    {
        for (start = from; start < text.Length; start = end)
        {
            System.Text.Rune.DecodeFromUtf16(text[start..], out var rune, out int width);
            end = start + width;
            if (isMatch(rune))
                return true;
        }
        end = start;
        return false;
    }
}

/// <summary>A way of cutting text into words that leaves nothing over: each word begins where the one before ends.</summary>
internal abstract class WordMatcher : Matcher
{
    /// <summary>End of the word that begins at <paramref name="start"/>.</summary>
    public abstract int WordEnd(ReadOnlySpan<char> text, int start);

    protected sealed override bool Next(ReadOnlySpan<char> text, int from, out int start, out int end)
    {
        (start, end) = (from, WordEnd(text, from));
        return true;
    }
}

/// <summary>GPT-2's words.</summary>
internal sealed class Gpt2Words : WordMatcher
{
    public override int WordEnd(ReadOnlySpan<char> text, int start) => ByteLevel.WordEnd(text, start);
}
