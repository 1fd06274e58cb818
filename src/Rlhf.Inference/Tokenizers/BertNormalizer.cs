using System.Text;

namespace Rlhf.Tokenizers;

/// <summary>What BERT does to text before it looks for words.</summary>
/// <param name="CleanText">Removes control characters and makes all white space plain spaces; default true.</param>
/// <param name="HandleChineseCharacters">Puts spaces around CJK ideographs, so that each is a word; default true.</param>
/// <param name="StripAccents">Removes accents; null (the default) does so when lower-casing.</param>
/// <param name="Lowercase">Makes text lower case; default true.</param>
public sealed record BertNormalizer(
    bool CleanText = true, bool HandleChineseCharacters = true, bool? StripAccents = null, bool Lowercase = true)
{
    /// <summary>The normalized text. A lone surrogate counts as U+FFFD.</summary>
    public string Normalize(ReadOnlySpan<char> text)
    {
        var result = new StringBuilder(text.Length + 16);
        bool strip = StripAccents ?? Lowercase;
        foreach (var rune in text.EnumerateRunes())
        {
            if (rune.IsAscii && rune.Value >= ' ' && rune.Value != 0x7F)
            {
                result.Append((char)(Lowercase && rune.Value is >= 'A' and <= 'Z' ? rune.Value | 0x20 : rune.Value));
                continue;
            }
            if (CleanText && BertCharacters.IsRemoved(rune))
                continue;
            if (CleanText && BertCharacters.IsSpace(rune))
            {
                result.Append(' ');
                continue;
            }
            bool chinese = HandleChineseCharacters && BertCharacters.IsChinese(rune);
            if (chinese)
                result.Append(' ');
            if (strip && BertCharacters.Strip(rune) is { } stripped)
                foreach (var part in stripped.EnumerateRunes())
                    Append(result, part);
            else if (!strip || !BertCharacters.IsMark(rune))
                Append(result, rune);
            if (chinese)
                result.Append(' ');
        }
        return result.ToString();
    }

    private void Append(StringBuilder result, Rune rune)
    {
        // .NET leaves this one capital alone; its lower case is two characters.
        const int CapitalIWithDot = 0x130;
        if (Lowercase && rune.Value == CapitalIWithDot)
            result.Append("i\u0307");
        else
            result.Append(Lowercase ? Rune.ToLowerInvariant(rune) : rune);
    }

    /// <summary>
    /// The next word of normalized text at or after <paramref name="at"/>: a run without spaces, or one punctuation character.
    /// </summary>
    internal static bool NextWord(ReadOnlySpan<char> text, int at, out int start, out int end)
    {
        start = end = text.Length;
        for (int i = at; i < text.Length;)
        {
            Rune.DecodeFromUtf16(text[i..], out var rune, out int width);
            bool punctuation = BertCharacters.IsPunctuation(rune);
            if (punctuation || BertCharacters.IsSpace(rune))
            {
                if (start < i)
                {
                    end = i;
                    return true;
                }
                if (punctuation)
                {
                    (start, end) = (i, i + width);
                    return true;
                }
            }
            else if (start > i)
            {
                start = i;
            }
            i += width;
        }
        return start < text.Length;
    }
}
