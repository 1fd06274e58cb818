using System.Globalization;

namespace Rlhf.Tokenizers.Pipeline.Patterns;

/// <content>What stands for one character: classes, escapes, properties.</content>
internal sealed partial class OnigurumaPattern
{
    private const string WordCharacters = @"\p{L}\p{Nl}\p{M}\p{Nd}\p{Pc}\u200C\u200D\u24B6-\u24E9";

    private static readonly HashSet<string> Categories = [.. ("L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So "
        + "Z Zs Zl Zp C Cc Cf Cs Co Cn").Split(' ')];

    private static readonly Dictionary<string, string> LongNames = new(StringComparer.OrdinalIgnoreCase)
    {
        ["Letter"] = "L",
        ["Mark"] = "M",
        ["Number"] = "N",
        ["Punctuation"] = "P",
        ["Symbol"] = "S",
        ["Separator"] = "Z",
        ["Other"] = "C",
        ["Uppercase_Letter"] = "Lu",
        ["Lowercase_Letter"] = "Ll",
        ["Decimal_Number"] = "Nd",
    };

    private void Class()
    {
        result.Append('[');
        at++;
        if (at < pattern.Length && pattern[at] == '^')
        {
            result.Append('^');
            at++;
        }
        for (bool first = true; at < pattern.Length; first = false)
        {
            char c = pattern[at];
            if (c == ']' && !first)
            {
                at++;
                result.Append(']');
                return;
            }
            if (c == '[')
                throw Wrong("has a class within a class");
            if (Rest("&&"))
                throw Wrong("cuts classes (&&)");
            if (char.IsSurrogate(c))
                throw Wrong("names a character beyond U+FFFF");
            if (c == '\\')
            {
                string escape = Escape(inClass: true);
                result.Append(escape);
                if (escape.Length > 0 && IsSingle(escape))
                    Range(Single(escape));
                continue;
            }
            at++;
            result.Append(c is ']' or '^' or '-' ? "\\" + c : c.ToString());
            if (ignoresCase)
                result.Append(ClassCases(c));
            Range(c);
        }
        throw Wrong("leaves a class open");
    }

    private static string ClassCases(char c) => string.Concat(Cases(c).Where(x => x != c && char.IsLetter(x)));

    /// <summary>The rest of a range that begins with a character; a stand-in for characters beyond U+FFFF must not lie in it.</summary>
    private void Range(char first)
    {
        if (at + 1 >= pattern.Length || pattern[at] != '-' || pattern[at + 1] == ']')
            return;
        at++;
        char last;
        string text;
        if (pattern[at] == '\\')
        {
            text = Escape(inClass: true);
            if (!IsSingle(text))
                throw Wrong("has a range that ends in a class");
            last = Single(text);
        }
        else
        {
            last = pattern[at++];
            text = last is ']' or '[' or '^' or '-' ? "\\" + last : last.ToString();
        }
        if (char.IsSurrogate(last))
            throw Wrong("names a character beyond U+FFFF");
        if (RegexMatcher.Stand.All.Any(c => c >= first && c <= last))
            throw Wrong($"has the range U+{(int)first:X4} to U+{(int)last:X4}, which holds characters that stand for others here");
        result.Append('-').Append(text);
        if (ignoresCase && char.IsAsciiLetter(first) && char.IsAsciiLetter(last))
            result.Append(char.IsAsciiLetterLower(first) ? $"{char.ToUpperInvariant(first)}-{char.ToUpperInvariant(last)}\u017F\u212A"
                : $"{char.ToLowerInvariant(first)}-{char.ToLowerInvariant(last)}\u017F\u212A");
    }

    private static bool IsSingle(string escape) => escape[0] != '\\' || escape.Length == 2 && !"wWdDsS".Contains(escape[1])
        || escape.StartsWith("\\u", StringComparison.Ordinal);

    private static char Single(string escape) => escape[0] != '\\' ? escape[0]
        : escape.StartsWith("\\u", StringComparison.Ordinal)
            ? (char)int.Parse(escape.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
        : escape[1] switch { 'n' => '\n', 'r' => '\r', 't' => '\t', 'f' => '\f', 'v' => '\v', 'a' => '\a', 'e' => '\u001B', var c => c };

    private string Escape(bool inClass)
    {
        if (at + 1 >= pattern.Length)
            throw Wrong("ends in a backslash");
        char c = pattern[at + 1];
        at += 2;
        switch (c)
        {
            case 'p' or 'P':
                return Property(c);
            case 'w':
                return inClass ? WordCharacters : $"[{WordCharacters}]";
            case 'W' when !inClass:
                return $"[^{WordCharacters}]";
            case 'd' or 'D' or 's' or 'S' or 'n' or 'r' or 't' or 'f' or 'v' or 'a' or 'e':
                return "\\" + c;
            case 'b' or 'B' or 'A' or 'z' or 'Z' when !inClass:
                return "\\" + c;
            case 'h' when !inClass:
                return "[0-9a-fA-F]";
            case 'h':
                return "0-9a-fA-F";
            case 'u' when at + 4 <= pattern.Length && IsHex(pattern.AsSpan(at, 4)):
                at += 4;
                return "\\u" + pattern[(at - 4)..at];
            case 'x' when at < pattern.Length && pattern[at] == '{' && pattern.IndexOf('}', at) is > 0 and int end:
                var digits = pattern[(at + 1)..end];
                if (!IsHex(digits) || digits.TrimStart('0').Length > 4)
                    throw Wrong("names a character beyond U+FFFF");
                at = end + 1;
                return "\\u" + digits.TrimStart('0').PadLeft(4, '0');
            case 'x' when at + 2 <= pattern.Length && IsHex(pattern.AsSpan(at, 2)):
                at += 2;
                return "\\u00" + pattern[(at - 2)..at];
            case var _ when char.IsAsciiLetterOrDigit(c):
                throw Wrong($"uses \\{c}");
            case var _ when char.IsSurrogate(c):
                throw Wrong("names a character beyond U+FFFF");
            default:
                return c < 0x80 ? "\\" + c : c.ToString();
        }
    }

    private string Property(char kind)
    {
        if (at >= pattern.Length)
            throw Wrong("ends in a property without a name");
        string name;
        if (pattern[at] == '{')
        {
            int end = pattern.IndexOf('}', at);
            if (end < 0)
                throw Wrong("leaves a property open");
            name = pattern[(at + 1)..end];
            at = end + 1;
        }
        else
        {
            name = pattern[at++].ToString();
        }
        if (name.StartsWith('^'))
            (name, kind) = (name[1..], kind == 'p' ? 'P' : 'p');
        if (LongNames.TryGetValue(name, out var shorter))
            name = shorter;
        if (!Categories.Contains(name))
            throw Wrong($"uses the property \\p{{{name}}}");
        return $"\\{kind}{{{name}}}";
    }
}
