using System.Buffers;
using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>
/// Strings as Python sees them: sequences of code points. Where a string has no surrogates, which is nearly always, its UTF-16 units are
/// its code points.
/// </summary>
internal static class PyText
{
    /// <summary>The text of a str or Markup.</summary>
    public static string Of(object? value) => value as string ?? ((PyMarkup)value!).Text;

    public static bool IsWide(string text) => text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF');

    /// <summary>Number of code points; half a surrogate pair is one.</summary>
    public static int Length(string text)
    {
        if (!IsWide(text))
            return text.Length;
        int count = 0;
        for (int i = 0; i < text.Length; i += Width(text, i))
            count++;
        return count;
    }

    /// <summary>UTF-16 units of the code point at an index.</summary>
    public static int Width(string text, int index) =>
        char.IsHighSurrogate(text[index]) && index + 1 < text.Length && char.IsLowSurrogate(text[index + 1]) ? 2 : 1;

    /// <summary>Every code point as a string.</summary>
    public static IEnumerable<string> Characters(string text)
    {
        for (int i = 0, width; i < text.Length; i += width)
        {
            width = Width(text, i);
            yield return text.Substring(i, width);
        }
    }

    /// <summary>Where each code point begins, and the length as the last entry; null where that is the identity.</summary>
    public static int[]? Offsets(string text)
    {
        if (!IsWide(text))
            return null;
        var offsets = new List<int>();
        for (int i = 0; i < text.Length; i += Width(text, i))
            offsets.Add(i);
        return [.. offsets, text.Length];
    }

    /// <summary>Order by code points, which differs from that of UTF-16 units beyond U+FFFF.</summary>
    public static int Compare(string left, string right)
    {
        int i = left.AsSpan().CommonPrefixLength(right);
        if (i == left.Length || i == right.Length)
            return left.Length.CompareTo(right.Length);
        return Rank(left[i]).CompareTo(Rank(right[i]));

        static int Rank(char c) => char.IsSurrogate(c) ? c + 0x10000 : c;
    }

    /// <summary>First place of a text at or behind an index in UTF-16 units, or -1; linear whatever the texts are.</summary>
    public static int Find(string text, string part, JinjaBudget budget, int start = 0)
    {
        if (part.Length <= 16)
        {
            int found = text.IndexOf(part, start, StringComparison.Ordinal);
            budget.Step(((found < 0 ? text.Length : found) - start) >> 4);
            return found;
        }
        budget.Step(part.Length >> 2);
        if (part.Length > text.Length - start)
            return -1;
        // Knuth, Morris and Pratt: the library's search is quadratic for texts that repeat themselves.
        budget.Allocate(2L * part.Length);
        var border = new int[part.Length];
        for (int i = 1, k = 0; i < part.Length; i++)
        {
            while (k > 0 && part[i] != part[k])
                k = border[k - 1];
            border[i] = part[i] == part[k] ? ++k : k;
        }
        for (int i = start, k = 0; i < text.Length; i++)
        {
            if ((i & 15) == 0)
                budget.Step();
            while (k > 0 && text[i] != part[k])
                k = border[k - 1];
            if (text[i] == part[k] && ++k == part.Length)
                return i - k + 1;
        }
        return -1;
    }

    /// <summary>Last place of a text that ends at or before <paramref name="end"/> (UTF-16 units; -1: the end), or -1.</summary>
    public static int FindLast(string text, string part, JinjaBudget budget, int end = -1)
    {
        end = end < 0 ? text.Length : end;
        if (part.Length <= 16)
        {
            int found = part.Length == 0 ? end : text.AsSpan(0, end).LastIndexOf(part);
            budget.Step((end - Math.Max(found, 0)) >> 4);
            return found;
        }
        budget.Allocate(end + part.Length);
        int place = Find(Backwards(text[..end]), Backwards(part), budget);
        return place < 0 ? -1 : end - part.Length - place;

        static string Backwards(string x) => string.Create(x.Length, x, (span, from) =>
        {
            from.CopyTo(span);
            span.Reverse();
        });
    }

    /// <summary>str.isspace() of one character, which is also regular expressions' \s.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    public static string TrimStart(string text)
    {
        int i = 0;
        while (i < text.Length && IsSpace(text[i]))
            i++;
        return text[i..];
    }

    public static string TrimEnd(string text)
    {
        int i = text.Length;
        while (i > 0 && IsSpace(text[i - 1]))
            i--;
        return text[..i];
    }

    public static bool IsLineBreak(char c) =>
        c is '\n' or '\r' or '\v' or '\f' or >= '\x1c' and <= '\x1e' or '\x85' or '\u2028' or '\u2029';

    /// <summary>str.splitlines().</summary>
    public static List<string> Lines(string text, bool keepEnds = false)
    {
        var lines = new List<string>();
        for (int start = 0, i = 0; i < text.Length; start = i)
        {
            while (i < text.Length && !IsLineBreak(text[i]))
                i++;
            int end = i;
            if (i < text.Length)
                i += text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n' ? 2 : 1;
            lines.Add(text[start..(keepEnds ? i : end)]);
        }
        return lines;
    }

    public static string Upper(string text) => Map(text, CaseTables.Upper, x => x.ToUpperInvariant());

    /// <summary>str.lower(): a sigma at the end of a word has its own form.</summary>
    public static string Lower(string text)
    {
        var lower = text.ToLowerInvariant().Replace("İ", "i̇", StringComparison.Ordinal);
        if (!text.Contains('Σ'))
            return lower;
        lower = text.Replace("İ", "i̇", StringComparison.Ordinal);
        var chars = lower.ToLowerInvariant().ToCharArray();
        for (int i = 0; i < lower.Length; i++)
            if (lower[i] == 'Σ' && HasCased(lower, i, -1) && !HasCased(lower, i, 1))
                chars[i] = 'ς';
        return new(chars);
    }

    public static string Fold(string text) => Map(text, CaseTables.Folded, FoldOne);

    /// <summary>First character in title case, the rest in lower case.</summary>
    public static string Capitalize(string text)
    {
        if (text.Length == 0)
            return text;
        int width = Width(text, 0);
        return Title(text[..width]) + Lower(text)[Lower(text[..width]).Length..];
    }

    /// <summary>One character in title case.</summary>
    public static string Title(string character) => CaseTables.Title.TryGetValue(character, out var special) ? special
        : character is [>= 'ა' and <= 'ჿ'] ? character : Upper(character);

    public static bool IsCased(Rune rune) => IsUpper(rune) || IsLower(rune) || Rune.GetUnicodeCategory(rune) == UnicodeCategory.TitlecaseLetter;

    public static bool IsUpper(Rune rune) => Rune.GetUnicodeCategory(rune) == UnicodeCategory.UppercaseLetter
        || rune.Value is >= 0x2160 and <= 0x216F or >= 0x24B6 and <= 0x24CF or >= 0x1F130 and <= 0x1F149
            or >= 0x1F150 and <= 0x1F169 or >= 0x1F170 and <= 0x1F189;

    public static bool IsLower(Rune rune) => Rune.GetUnicodeCategory(rune) == UnicodeCategory.LowercaseLetter
        || rune.Value is 0xAA or 0xBA or >= 0x2B0 and <= 0x2B8 or 0x2C0 or 0x2C1 or >= 0x2E0 and <= 0x2E4 or 0x345 or 0x37A
            or >= 0x1D2C and <= 0x1D6A or 0x1D78 or >= 0x1D9B and <= 0x1DBF or 0x2071 or 0x207F or >= 0x2090 and <= 0x209C
            or >= 0x2170 and <= 0x217F or >= 0x24D0 and <= 0x24E9;

    private static bool HasCased(string text, int index, int step)
    {
        for (int i = index + step; i >= 0 && i < text.Length; i += step)
        {
            var rune = Rune.TryGetRuneAt(text, char.IsLowSurrogate(text[i]) && i > 0 ? i - 1 : i, out var x) ? x : Rune.ReplacementChar;
            if (Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark
                or UnicodeCategory.Format or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol)
                && rune.Value is not ('\'' or '.' or ':' or '·' or '\u2018' or '\u2019' or '\u2024' or '\u2027'))
                return IsCased(rune);
        }
        return false;
    }

    private static string FoldOne(string text)
    {
        // Cherokee's letters fold to capitals, everybody else's to small letters.
        if (!text.AsSpan().ContainsAnyInRange('\u13A0', '\u13FD') && !text.AsSpan().ContainsAnyInRange('\uAB70', '\uABBF'))
            return text.ToLowerInvariant();
        return string.Concat(text.Select(c => c is >= '\u13A0' and <= '\u13F5' ? c
            : c is >= '\u13F8' and <= '\u13FD' or >= '\uAB70' and <= '\uABBF' ? char.ToUpperInvariant(c) : char.ToLowerInvariant(c)));
    }

    private static string Map(string text, IReadOnlyDictionary<string, string> special, Func<string, string> simple)
    {
        if (!text.AsSpan().ContainsAnyInRange('\x80', '\uFFFF'))
            return simple(text);
        var mapped = new StringBuilder(text.Length);
        int done = 0;
        for (int i = 0; i < text.Length; i++)
            if (text[i] >= 0x80 && special.TryGetValue(text[i].ToString(), out var other))
            {
                mapped.Append(simple(text[done..i])).Append(other);
                done = i + 1;
            }
        return mapped.Append(simple(text[done..])).ToString();
    }
}
