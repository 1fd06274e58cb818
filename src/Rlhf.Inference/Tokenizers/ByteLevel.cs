using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers;

/// <summary>GPT-2's alphabet of 256 printable characters, one for each byte, and its way of splitting text into words.</summary>
internal static class ByteLevel
{
    private const byte Other = 0, Letter = 1, Number = 2, Space = 3, Surrogate = 4;

    private static readonly char[] ByteToChar = BuildAlphabet();
    private static readonly short[] CharToByte = Invert(ByteToChar);
    private static readonly byte[] Kinds = BuildKinds();

    /// <summary>The bytes in the order in which GPT-2's vocabulary lists them: printable ones first.</summary>
    public static IEnumerable<byte> VocabularyOrder =>
        Enumerable.Range(0, 256).OrderBy(b => ByteToChar[b] == b ? 0 : 1).Select(b => (byte)b);

    /// <summary>The printable character of a byte.</summary>
    public static char Symbol(byte value) => ByteToChar[value];

    /// <summary>
    /// Appends a token's bytes. A token with a character outside the alphabet (an added token) stands for its own UTF-8 bytes.
    /// </summary>
    public static void AppendBytes(string token, List<byte> bytes)
    {
        int start = bytes.Count;
        foreach (char c in token)
        {
            if (c < CharToByte.Length && CharToByte[c] >= 0)
            {
                bytes.Add((byte)CharToByte[c]);
                continue;
            }
            bytes.RemoveRange(start, bytes.Count - start);
            bytes.AddRange(Encoding.UTF8.GetBytes(token));
            return;
        }
    }

    /// <summary>
    /// End of the word that begins at <paramref name="start"/>, as the pattern
    /// <c>'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+</c> finds it on code points.
    /// </summary>
    public static int WordEnd(ReadOnlySpan<char> text, int start)
    {
        int contraction = text[start] == '\'' ? ContractionLength(text[(start + 1)..]) : 0;
        if (contraction > 0)
            return start + 1 + contraction;
        byte kind = KindAt(text, start, out int width);
        if (text[start] == ' ' && start + 1 < text.Length)
        {
            byte next = KindAt(text, start + 1, out width);
            if (next != Space)
                return RunEnd(text, start + 1 + width, next);
        }
        if (kind != Space)
            return RunEnd(text, start + width, kind);
        int end = RunEnd(text, start + 1, Space);
        // The last white space before a word is left for that word.
        return end < text.Length && end > start + 1 ? end - 1 : end;
    }

    private static int RunEnd(ReadOnlySpan<char> text, int at, byte kind)
    {
        while (at < text.Length && KindAt(text, at, out int width) == kind)
            at += width;
        return at;
    }

    private static int ContractionLength(ReadOnlySpan<char> rest)
    {
        if (rest.IsEmpty)
            return 0;
        if (rest[0] is 's' or 't' or 'm' or 'd')
            return 1;
        return rest.StartsWith("re", StringComparison.Ordinal) || rest.StartsWith("ve", StringComparison.Ordinal)
            || rest.StartsWith("ll", StringComparison.Ordinal) ? 2 : 0;
    }

    private static byte KindAt(ReadOnlySpan<char> text, int at, out int width)
    {
        byte kind = Kinds[text[at]];
        width = 1;
        if (kind != Surrogate)
            return kind;
        Rune.DecodeFromUtf16(text[at..], out var rune, out width);
        return KindOf(Rune.GetUnicodeCategory(rune), white: false);
    }

    private static byte KindOf(UnicodeCategory category, bool white) => category switch
    {
        _ when white => Space,
        <= UnicodeCategory.OtherLetter => Letter,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Number,
        _ => Other,
    };

    private static byte[] BuildKinds()
    {
        var kinds = new byte[char.MaxValue + 1];
        for (int c = 0; c < kinds.Length; c++)
            kinds[c] = char.IsSurrogate((char)c) ? Surrogate
                : KindOf(CharUnicodeInfo.GetUnicodeCategory((char)c), char.IsWhiteSpace((char)c));
        return kinds;
    }

    private static char[] BuildAlphabet()
    {
        var symbols = new char[256];
        for (int b = 0, next = 256; b < 256; b++)
            symbols[b] = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE ? (char)b : (char)next++;
        return symbols;
    }

    private static short[] Invert(char[] symbols)
    {
        var bytes = new short[symbols.Max() + 1];
        Array.Fill(bytes, (short)-1);
        for (int b = 0; b < symbols.Length; b++)
            bytes[symbols[b]] = (short)b;
        return bytes;
    }
}
