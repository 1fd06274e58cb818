using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Pipeline.Normalizers;

/// <summary>The normalizers that look at one character at a time.</summary>
internal static class SimpleNormalizers
{
    /// <summary>Lower case, character by character: a final sigma is not special, and İ becomes two characters.</summary>
    public static string Lowercase(string text)
    {
        const char CapitalIWithDot = '\u0130';
        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
            result.Append(rune.Value == CapitalIWithDot ? "i\u0307" : Rune.ToLowerInvariant(rune).ToString());
        return result.ToString();
    }

    /// <summary>Removes combining marks; accented letters keep theirs unless NFD or NFKD came before.</summary>
    public static string StripAccents(string text) => Where(text, rune => Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark));

    /// <summary>Removes white space at the ends.</summary>
    public static string Strip(string text, bool left, bool right)
    {
        if (left)
            text = text.TrimStart();
        return right ? text.TrimEnd() : text;
    }

    /// <summary>What SentencePiece's "nmt" rules do: control characters go, several invisible ones become spaces.</summary>
    public static string Nmt(string text)
    {
        var kept = Where(text, rune => rune.Value is not (
            (>= 0x1 and <= 0x8) or 0xB or (>= 0xE and <= 0x1F) or 0x7F or 0x8F or 0x9F));
        return string.Create(kept.Length, kept, (span, from) =>
        {
            for (int i = 0; i < span.Length; i++)
                span[i] = from[i] is '\t' or '\n' or '\f' or '\r' or '\u1680' or (>= '\u200B' and <= '\u200F')
                    or '\u2028' or '\u2029' or '\u2581' or '\uFEFF' or '\uFFFD' ? ' ' : from[i];
        });
    }

    /// <summary>Every byte of the text as a character of the byte alphabet.</summary>
    public static string ByteLevel(string text) =>
        string.Concat(Encoding.UTF8.GetBytes(text).Select(Tokenizers.ByteLevel.Symbol));

    private static string Where(string text, Func<Rune, bool> keep)
    {
        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
            if (keep(rune))
                result.Append(rune);
        return result.ToString();
    }
}
