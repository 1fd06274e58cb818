using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Pipeline.Patterns;

/// <summary>
/// The patterns that today's published byte-level vocabularies split by, written out by hand: Llama 3's (cl100k), Qwen's (digits one by
/// one) and GPT-4o's (o200k, which sees upper and lower case). Tests hold them to the regular expressions they stand for.
/// </summary>
internal sealed class ChatWords : WordMatcher
{
    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private const string Tail = @"|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>The pattern of Llama 3.</summary>
    public const string Llama3Pattern =
        Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + Tail;

    /// <summary>The pattern of Qwen 2, 2.5 and 3.</summary>
    public const string QwenPattern =
        Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + Tail;

    /// <summary>The pattern of GPT-4o.</summary>
    public const string Gpt4oPattern =
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + Contractions
        + @"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + Contractions
        + @"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + Tail;

    /// <summary>Llama 3's as tiktoken spells it, with possessive quantifiers; it splits in the same way.</summary>
    public const string Cl100kPattern =
        Contractions + @"|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

    private const byte Letter = 1, Number = 2, Space = 4, LineEnd = 8, Upper = 16, Lower = 32, Surrogate = 64;
    private const byte Word = Letter | Number;

    private static readonly byte[] Kinds = BuildKinds();

    private readonly int digits;
    private readonly bool seesCase;

    private ChatWords(int digits, bool seesCase) => (this.digits, this.seesCase) = (digits, seesCase);

    /// <summary>The splitter of a published pattern; null for any other.</summary>
    public static ChatWords? For(string pattern) => pattern switch
    {
        Llama3Pattern or Cl100kPattern => new(digits: 3, seesCase: false),
        QwenPattern => new(digits: 1, seesCase: false),
        Gpt4oPattern => new(digits: 3, seesCase: true),
        _ => null,
    };

    public override int WordEnd(ReadOnlySpan<char> text, int start)
    {
        byte kind = KindAt(text, start, out int width);
        int next = start + width, end;
        if (!seesCase && Contraction(text, start) is > 0 and int length)
            return start + length;
        if (seesCase ? (end = CasedWord(text, start, kind, next)) > start : (end = PlainWord(text, start, kind, next)) > start)
            return end;
        if ((kind & Number) != 0)
        {
            for (int count = 1; count < digits && next < text.Length && (KindAt(text, next, out width) & Number) != 0; count++)
                next += width;
            return next;
        }
        if ((kind & Space) == 0 || (text[start] == ' ' && next < text.Length && IsOther(KindAt(text, next, out _))))
            return Symbols(text, next);
        return Spaces(text, start);
    }

    /// <summary><c>[^\r\n\p{L}\p{N}]?\p{L}+</c>; <paramref name="start"/> when it does not match.</summary>
    private static int PlainWord(ReadOnlySpan<char> text, int start, byte kind, int next)
    {
        if ((kind & Letter) != 0)
            return Run(text, next, Letter);
        if ((kind & (Number | LineEnd)) != 0 || next >= text.Length || (KindAt(text, next, out int width) & Letter) == 0)
            return start;
        return Run(text, next + width, Letter);
    }

    /// <summary>The two alternatives for words of o200k, with their contractions.</summary>
    private static int CasedWord(ReadOnlySpan<char> text, int start, byte kind, int next)
    {
        bool mayPrecede = (kind & (Word | LineEnd)) == 0;
        int end = mayPrecede ? EndsLower(text, next) : -1;
        if (end < 0)
            end = EndsLower(text, start);
        if (end < 0 && mayPrecede)
            end = BeginsUpper(text, next);
        if (end < 0)
            end = BeginsUpper(text, start);
        return end < 0 ? start : end + Contraction(text, end);
    }

    /// <summary>U* L+ with backtracking: where a run of U is not followed by an L, its last character that is both ends it.</summary>
    private static int EndsLower(ReadOnlySpan<char> text, int at)
    {
        int upper = at, lastBoth = -1;
        while (upper < text.Length && KindAt(text, upper, out int width) is var kind && (kind & Upper) != 0)
        {
            upper += width;
            if ((kind & Lower) != 0)
                lastBoth = upper;
        }
        int lower = Run(text, upper, Lower);
        return lower > upper ? lower : lastBoth;
    }

    /// <summary>U+ L*.</summary>
    private static int BeginsUpper(ReadOnlySpan<char> text, int at)
    {
        int upper = Run(text, at, Upper);
        return upper > at ? Run(text, upper, Lower) : -1;
    }

    /// <summary>Characters that are neither white space nor letter nor number, and the line ends (o200k: and slashes) behind them.</summary>
    private int Symbols(ReadOnlySpan<char> text, int at)
    {
        while (at < text.Length && IsOther(KindAt(text, at, out int width)))
            at += width;
        while (at < text.Length && (text[at] is '\r' or '\n' || (seesCase && text[at] == '/')))
            at++;
        return at;
    }

    private static int Spaces(ReadOnlySpan<char> text, int start)
    {
        int end = Run(text, start, Space), lineEnd = text[start..end].LastIndexOfAny('\r', '\n');
        if (lineEnd >= 0)
            return start + lineEnd + 1;
        // The last white space before a word is left for that word.
        return end < text.Length && end > start + 1 ? end - 1 : end;
    }

    private static int Run(ReadOnlySpan<char> text, int at, byte mask)
    {
        while (at < text.Length && (KindAt(text, at, out int width) & mask) != 0)
            at += width;
        return at;
    }

    private static bool IsOther(byte kind) => (kind & (Word | Space)) == 0;

    /// <summary>Length of an English contraction in any case; ſ is an s, too.</summary>
    private static int Contraction(ReadOnlySpan<char> text, int at)
    {
        if (at + 1 >= text.Length || text[at] != '\'')
            return 0;
        char first = (char)(text[at + 1] | 0x20);
        if (text[at + 1] == '\u017F' || (text[at + 1] < 0x80 && first is 's' or 't' or 'm' or 'd'))
            return 2;
        if (at + 2 >= text.Length || text[at + 1] >= 0x80 || text[at + 2] >= 0x80)
            return 0;
        return (first, (char)(text[at + 2] | 0x20)) is ('r', 'e') or ('v', 'e') or ('l', 'l') ? 3 : 0;
    }

    private static byte KindAt(ReadOnlySpan<char> text, int at, out int width)
    {
        byte kind = Kinds[text[at]];
        width = 1;
        if (kind != Surrogate)
            return kind;
        Rune.DecodeFromUtf16(text[at..], out var rune, out width);
        return KindOf(Rune.GetUnicodeCategory(rune));
    }

    private static byte KindOf(UnicodeCategory category) => category switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter => Letter | Upper,
        UnicodeCategory.LowercaseLetter => Letter | Lower,
        UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => Letter | Upper | Lower,
        UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark => Upper | Lower,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Number,
        _ => 0,
    };

    private static byte[] BuildKinds()
    {
        var kinds = new byte[char.MaxValue + 1];
        for (int c = 0; c < kinds.Length; c++)
            kinds[c] = char.IsSurrogate((char)c) ? Surrogate
                : char.IsWhiteSpace((char)c) ? (byte)(c is '\r' or '\n' ? Space | LineEnd : Space)
                : KindOf(CharUnicodeInfo.GetUnicodeCategory((char)c));
        return kinds;
    }
}
