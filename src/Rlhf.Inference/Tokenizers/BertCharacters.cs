using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers;

/// <summary>
/// What BERT's fast tokenizer knows about characters. Its library classifies them by Unicode 8, where .NET has moved on, and .NET
/// cannot decompose characters when it runs without ICU: hence tables of our own, the same on every machine. The order of marks
/// that accent stripping keeps (they are spacing, or younger than Unicode 8) is not changed.
/// </summary>
internal static partial class BertCharacters
{
    private const byte RemovedFlag = 1, SpaceFlag = 2, PunctuationFlag = 4, MarkFlag = 8, ChineseFlag = 16, DecomposesFlag = 32;

    /// <summary>As the original has it: extension E's first 256 characters are missing from its list.</summary>
    private const string Chinese = "4E00-9FFF 3400-4DBF 20000-2A6DF 2A700-2B73F 2B740-2B81F 2B920-2CEAF F900-FAFF 2F800-2FA1F";

    private static readonly Dictionary<int, string> WithoutMarks = ReadDecompositions();
    private static readonly byte[] Flags = BuildFlags();

    /// <summary>A control, format or private use character, NUL or U+FFFD.</summary>
    public static bool IsRemoved(Rune rune) => Has(rune, RemovedFlag);

    /// <summary>White space, tab and line ends included.</summary>
    public static bool IsSpace(Rune rune) => Has(rune, SpaceFlag);

    /// <summary>A word of its own.</summary>
    public static bool IsPunctuation(Rune rune) => Has(rune, PunctuationFlag);

    /// <summary>An accent that stripping removes.</summary>
    public static bool IsMark(Rune rune) => Has(rune, MarkFlag);

    /// <summary>A CJK ideograph.</summary>
    public static bool IsChinese(Rune rune) => Has(rune, ChineseFlag);

    /// <summary>The canonical decomposition without its nonspacing marks; null when the character stays as it is.</summary>
    public static string? Strip(Rune rune)
    {
        if (!Has(rune, DecomposesFlag))
            return null;
        return rune.Value is >= HangulFirst and <= HangulLast
            ? DecomposeHangul(rune.Value - HangulFirst) : WithoutMarks[rune.Value];
    }

    private const int HangulFirst = 0xAC00, HangulLast = 0xD7A3;

    private static string DecomposeHangul(int index)
    {
        const int Vowels = 21, Trails = 28;
        char lead = (char)(0x1100 + index / (Vowels * Trails)), vowel = (char)(0x1161 + index % (Vowels * Trails) / Trails);
        int trail = index % Trails;
        return trail == 0 ? $"{lead}{vowel}" : $"{lead}{vowel}{(char)(0x11A7 + trail)}";
    }

    private static bool Has(Rune rune, byte flag) => (Flags[rune.Value] & flag) != 0;

    private static byte[] BuildFlags()
    {
        var flags = new byte[0x110000];
        Mark(Removed, RemovedFlag);
        Mark(Punctuation, PunctuationFlag);
        Mark(Marks, MarkFlag);
        Mark(Chinese, ChineseFlag);
        foreach (int c in WithoutMarks.Keys.Concat(Enumerable.Range(HangulFirst, HangulLast - HangulFirst + 1)))
            flags[c] |= DecomposesFlag;
        for (int c = 0; c <= char.MaxValue; c++)
            if (char.IsWhiteSpace((char)c))
                flags[c] |= SpaceFlag;
        return flags;

        void Mark(string table, byte flag)
        {
            foreach (int c in Entries(table).SelectMany(Range))
                flags[c] |= flag;
        }
    }

    private static Dictionary<int, string> ReadDecompositions()
    {
        var decompositions = new Dictionary<int, string>();
        foreach (var entry in Entries(Decompositions))
        {
            int equals = entry.IndexOf('=', StringComparison.Ordinal);
            var parts = entry[..equals].Split('+', StringSplitOptions.RemoveEmptyEntries);
            var result = string.Concat(parts.Select(c => char.ConvertFromUtf32(Hex(c))));
            foreach (int c in entry[(equals + 1)..].Split(',').SelectMany(Range))
                decompositions[c] = result;
        }
        return decompositions;
    }

    private static string[] Entries(string table) => table.Split([' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries);

    private static IEnumerable<int> Range(string range)
    {
        int dash = range.IndexOf('-', StringComparison.Ordinal);
        int first = Hex(dash < 0 ? range : range[..dash]), last = dash < 0 ? first : Hex(range[(dash + 1)..]);
        return Enumerable.Range(first, last - first + 1);
    }

    private static int Hex(string text) => int.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
}
