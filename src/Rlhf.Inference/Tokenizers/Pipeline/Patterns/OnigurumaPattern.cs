using System.Text;

namespace Rlhf.Tokenizers.Pipeline.Patterns;

/// <summary>
/// Translates the regular expressions of tokenizer.json (Oniguruma's, in Ruby's syntax) to .NET's: possessive quantifiers, word characters
/// and case-insensitive letters mean something else or nothing there. What has no translation is refused.
/// </summary>
internal sealed partial class OnigurumaPattern
{
    private readonly string pattern;
    private readonly StringBuilder result = new();
    private readonly Stack<(int Start, bool IgnoresCase)> groups = new();
    private int at;
    private bool ignoresCase;

    /// <summary>Where the last thing begins that a quantifier can stand behind; -1 is none.</summary>
    private int atom = -1;

    private OnigurumaPattern(string pattern) => this.pattern = pattern;

    /// <summary>The same in .NET's syntax, for <see cref="System.Text.RegularExpressions.RegexOptions.Multiline"/>.</summary>
    /// <exception cref="ArgumentException">A part has no translation.</exception>
    public static string Translate(string pattern)
    {
        var translation = new OnigurumaPattern(pattern);
        translation.Run();
        return translation.result.ToString();
    }

    private void Run()
    {
        while (at < pattern.Length)
        {
            char c = pattern[at];
            switch (c)
            {
                case '\\':
                    Begin();
                    result.Append(Escape(inClass: false));
                    break;
                case '[':
                    Begin();
                    Class();
                    break;
                case '(':
                    Open();
                    break;
                case ')':
                    if (groups.Count == 0)
                        throw Wrong("closes a group that was not opened");
                    (atom, ignoresCase) = groups.Pop();
                    result.Append(pattern[at++]);
                    break;
                case '*' or '+' or '?' or '{' when c != '{' || Repeat() > 0:
                    Quantifier();
                    break;
                case '|' or '^' or '$' or '.':
                    Begin();
                    result.Append(pattern[at++]);
                    break;
                default:
                    Begin();
                    Literal(c);
                    break;
            }
        }
        if (groups.Count > 0)
            throw Wrong("leaves a group open");
    }

    private void Begin() => atom = result.Length;

    private void Literal(char c)
    {
        at++;
        if (char.IsSurrogate(c))
            throw Wrong("names a character beyond U+FFFF");
        var others = Cases(c);
        if (ignoresCase && others.Length > 1)
            result.Append('[').Append(others).Append(']');
        else
            result.Append(c is '#' or ' ' or '{' or '}' ? "\\" + c : c.ToString());
    }

    /// <summary>The letter in all its cases, as Unicode folds them.</summary>
    private static string Cases(char c)
    {
        var cases = new HashSet<char> { c, char.ToLowerInvariant(c), char.ToUpperInvariant(c) };
        foreach (var (plain, other) in new[] { ('s', '\u017F'), ('k', '\u212A'), ('\u00E5', '\u212B'), ('\u00DF', '\u1E9E') })
            if (cases.Contains(plain) || cases.Contains(other))
                cases.UnionWith([plain, char.ToUpperInvariant(plain), other]);
        return string.Concat(cases);
    }

    private void Open()
    {
        var before = (result.Length, ignoresCase);
        if (!Rest("(?"))
        {
            // Groups capture nothing that is used.
            result.Append("(?:");
            at++;
        }
        else if (Rest("(?:") || Rest("(?=") || Rest("(?!") || Rest("(?>"))
        {
            result.Append(pattern, at, 3);
            at += 3;
        }
        else if (Rest("(?<=") || Rest("(?<!"))
        {
            result.Append(pattern, at, 4);
            at += 4;
        }
        else
        {
            int end = pattern.IndexOfAny([':', ')'], at);
            if (end < 0 || pattern[(at + 2)..end] is not ("i" or "-i" or "" or "i-m" or "m-i" or "m"))
                throw Wrong("has a group of a kind that is not known");
            var flags = pattern[(at + 2)..end];
            bool insensitive = flags.Contains('i') && !flags.StartsWith("-i", StringComparison.Ordinal) && flags != "m-i";
            if (flags == "m" || flags == "m-i")
                throw Wrong("lets '.' match line ends ((?m))");
            at = end + 1;
            ignoresCase = insensitive;
            if (pattern[end] == ')')
                return; // to the end of the group that is open
            result.Append("(?:");
        }
        groups.Push(before);
        atom = -1;
    }

    private void Quantifier()
    {
        if (atom < 0)
            throw Wrong("repeats nothing");
        int length = pattern[at] == '{' ? Repeat() : 1;
        var quantifier = pattern.Substring(at, length);
        at += length;
        if (quantifier.StartsWith("{,", StringComparison.Ordinal))
            quantifier = "{0" + quantifier[1..];
        if (at < pattern.Length && pattern[at] == '?')
        {
            quantifier += "?";
            at++;
        }
        else if (at < pattern.Length && pattern[at] == '+' && quantifier[0] != '{')
        {
            // Possessive: what it has taken is never given back. Behind braces Ruby's syntax reads a plain repetition.
            result.Insert(atom, "(?>");
            result.Append(quantifier).Append(')');
            at++;
            return;
        }
        result.Insert(atom, "(?:");
        result.Append(quantifier).Append(')');
    }

    /// <summary>Length of the repetition {n}, {n,}, {,m} or {n,m} that stands here; 0 where the brace is a character.</summary>
    private int Repeat()
    {
        int end = pattern.IndexOf('}', at);
        if (end < 0)
            return 0;
        var inside = pattern.AsSpan(at + 1, end - at - 1);
        return inside.Length > 0 && inside.ContainsAnyInRange('0', '9') && inside.IndexOfAnyExcept("0123456789,") < 0
            && inside.Count(',') <= 1 ? end - at + 1 : 0;
    }

    private static bool IsHex(ReadOnlySpan<char> digits) => digits.Length > 0 && digits.IndexOfAnyExcept("0123456789abcdefABCDEF") < 0;

    private bool Rest(string text) => string.CompareOrdinal(pattern, at, text, 0, text.Length) == 0;

    private ArgumentException Wrong(string what) =>
        new($"{what} at character {Math.Min(at, pattern.Length) + 1}, which this program does not translate");
}
