using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>The methods of str. Those of Markup give Markup, and escape what they are given.</summary>
internal static partial class PyStrings
{
    private delegate object? StringMethod(string text, PyArguments arguments, JinjaBudget budget);

    private static readonly Dictionary<string, StringMethod> Methods = new(StringComparer.Ordinal)
    {
        ["upper"] = Plain("upper", PyText.Upper),
        ["lower"] = Plain("lower", PyText.Lower),
        ["casefold"] = Plain("casefold", PyText.Fold),
        ["title"] = Plain("title", TitleWords),
        ["capitalize"] = Plain("capitalize", PyText.Capitalize),
        ["swapcase"] = Plain("swapcase", SwapCase),
        ["strip"] = (s, a, b) => Strip(s, a.Bind("strip", 0, "*chars")[0], true, true, b),
        ["lstrip"] = (s, a, b) => Strip(s, a.Bind("lstrip", 0, "*chars")[0], true, false, b),
        ["rstrip"] = (s, a, b) => Strip(s, a.Bind("rstrip", 0, "*chars")[0], false, true, b),
        ["removeprefix"] = (s, a, _) => Text(a.Bind("removeprefix", 1, "*prefix")[0]) is var x
            && s.StartsWith(x, StringComparison.Ordinal) ? s[x.Length..] : s,
        ["removesuffix"] = (s, a, _) => Text(a.Bind("removesuffix", 1, "*suffix")[0]) is { Length: > 0 } x
            && s.EndsWith(x, StringComparison.Ordinal) ? s[..^x.Length] : s,
        ["split"] = Split,
        ["rsplit"] = SplitFromRight,
        ["splitlines"] = (s, a, b) => Items(PyText.Lines(s, PyCompare.IsTrue(
            PyArguments.Or(a.Bind("splitlines", 0, "keepends")[0], false))), b),
        ["partition"] = (s, a, b) => Partition(s, a.Bind("partition", 1, "*sep")[0], first: true, b),
        ["rpartition"] = (s, a, b) => Partition(s, a.Bind("rpartition", 1, "*sep")[0], first: false, b),
        ["replace"] = (s, a, b) =>
        {
            var x = a.Bind("replace", 2, "*old", "*new", "count");
            return Replace(s, Text(x[0]), Text(x[1]), Int(PyArguments.Or(x[2], -1L)), b);
        },
        ["join"] = (s, a, b) => Join(s, PyIteration.Iterate(a.Bind("join", 1, "*iterable")[0], b).Select((x, i) =>
            x is string or PyMarkup ? PyText.Of(x) : throw JinjaException.Type(
                $"sequence item {i}: expected str instance, {PyType.Name(x)} found")), b),
        ["startswith"] = (s, a, b) => IsAffix("startswith", s, a, (x, y) => x.StartsWith(y, StringComparison.Ordinal), b),
        ["endswith"] = (s, a, b) => IsAffix("endswith", s, a, (x, y) => x.EndsWith(y, StringComparison.Ordinal), b),
        ["find"] = (s, a, b) => Search("find", s, a, last: false, b),
        ["rfind"] = (s, a, b) => Search("rfind", s, a, last: true, b),
        ["index"] = (s, a, b) => Search("index", s, a, last: false, b) is >= 0 and var i ? i : throw new JinjaException("substring not found"),
        ["rindex"] = (s, a, b) => Search("rindex", s, a, last: true, b) is >= 0 and var i ? i : throw new JinjaException("substring not found"),
        ["count"] = Count,
        ["center"] = (s, a, b) => Justify("center", s, a, b),
        ["ljust"] = (s, a, b) => Justify("ljust", s, a, b),
        ["rjust"] = (s, a, b) => Justify("rjust", s, a, b),
        ["zfill"] = (s, a, b) =>
        {
            int missing = Padding(s, Int(a.Bind("zfill", 1, "*width")[0]), b), sign = s is ['+' or '-', ..] ? 1 : 0;
            return s[..sign] + new string('0', missing) + s[sign..];
        },
        ["expandtabs"] = (s, a, b) => ExpandTabs(s, Int(PyArguments.Or(a.Bind("expandtabs", 0, "tabsize")[0], 8L)), b),
        ["translate"] = Translate,
        ["format"] = PyFormat.Format,
        ["format_map"] = (s, a, b) => PyFormat.FormatMap(s, a.Bind("format_map", 1, "*mapping")[0], b),
        ["isdigit"] = All("isdigit", (s, i) => CharUnicodeInfo.GetDigitValue(s, i) >= 0),
        ["isdecimal"] = All("isdecimal", (s, i) => CharUnicodeInfo.GetUnicodeCategory(s, i) == UnicodeCategory.DecimalDigitNumber),
        ["isnumeric"] = All("isnumeric", IsNumeric),
        ["isalpha"] = All("isalpha", IsLetter),
        ["isalnum"] = All("isalnum", (s, i) => IsLetter(s, i) || IsNumeric(s, i)),
        ["isspace"] = All("isspace", (s, i) => PyText.IsSpace(s[i])),
        ["isprintable"] = (s, a, b) => s.Length == 0 || (bool)All("isprintable", PyRepr.IsPrintable)(s, a, b)!,
        ["isascii"] = (s, a, _) => a.Bind("isascii", 0).Length == 0 && Ascii.IsValid(s),
        ["isupper"] = (s, a, b) => Cased("isupper", s, a, PyText.IsUpper, b),
        ["islower"] = (s, a, b) => Cased("islower", s, a, PyText.IsLower, b),
        ["istitle"] = (s, a, b) => a.Bind("istitle", 0).Length == 0 && IsTitle(s, b),
        ["isidentifier"] = (s, a, _) => a.Bind("isidentifier", 0).Length == 0 && JinjaLexer.IsIdentifier(s),
        ["encode"] = (_, _, _) => throw new JinjaException("'encode' is not supported: bytes have no use in a chat template"),
        ["maketrans"] = (_, _, _) => throw new JinjaException("'maketrans' is not supported"),
    };

    /// <summary>A bound method, or null.</summary>
    public static object? Method(object? value, string name, JinjaBudget budget)
    {
        if (value is PyMarkup && name is "striptags" or "unescape")
            return PyMethods.Simple(name, () => name == "striptags" ? PyHtml.StripTags(PyText.Of(value), budget)
                : System.Net.WebUtility.HtmlDecode(PyText.Of(value)));
        if (!Methods.TryGetValue(name, out var method))
            return null;
        var text = PyText.Of(value);
        if (value is not PyMarkup)
            return new PyFunction(name, a =>
            {
                budget.Step(text.Length >> 4);
                return method(text, a, budget);
            });
        return new PyFunction(name, a =>
        {
            budget.Allocate(text.Length);
            PyArguments escaped = new([.. a.Positional.Select(Escape)], [.. a.Named.Select(x => (x.Name, Escape(x.Value)))]);
            return Mark(method(text, escaped, budget));
        });

        object? Escape(object? x) => x switch
        {
            string => PyHtml.Escape(x, budget).Text,
            List<object?> list when name == "join" => list.ConvertAll(Escape),
            _ => x,
        };
    }

    private static object? Mark(object? value) => value switch
    {
        string x => new PyMarkup(x),
        List<object?> x => x.ConvertAll(Mark),
        PyTuple x => new PyTuple([.. x.Items.Select(Mark)]),
        _ => value,
    };

    private static StringMethod Plain(string name, Func<string, string> change) => (s, a, b) =>
    {
        a.Bind(name, 0);
        b.Allocate(s.Length);
        return change(s);
    };

    private static StringMethod All(string name, Func<string, int, bool> holds) => (s, a, b) =>
    {
        a.Bind(name, 0);
        b.Step(s.Length);
        for (int i = 0; i < s.Length; i += PyText.Width(s, i))
            if (!holds(s, i))
                return false;
        return s.Length > 0;
    };

    private static bool Cased(string name, string text, PyArguments arguments, Func<Rune, bool> wanted, JinjaBudget budget)
    {
        arguments.Bind(name, 0);
        budget.Step(text.Length);
        var cased = text.EnumerateRunes().Where(PyText.IsCased);
        return cased.Any() && cased.All(wanted);
    }

    private static bool IsTitle(string text, JinjaBudget budget)
    {
        budget.Step(text.Length);
        bool inside = false, any = false;
        foreach (var rune in text.EnumerateRunes())
        {
            bool cased = PyText.IsCased(rune);
            if (cased && (inside ? !PyText.IsLower(rune) : PyText.IsLower(rune)))
                return false;
            any |= cased;
            inside = cased;
        }
        return any;
    }

    private static bool IsLetter(string text, int index) => CharUnicodeInfo.GetUnicodeCategory(text, index)
        is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
        or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter;

    private static bool IsNumeric(string text, int index) => CharUnicodeInfo.GetNumericValue(text, index) != -1
        || CharUnicodeInfo.GetUnicodeCategory(text, index) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber;

    private static string TitleWords(string text)
    {
        var title = new StringBuilder();
        bool inside = false;
        foreach (var character in PyText.Characters(text))
        {
            title.Append(inside ? PyText.Lower(character) : PyText.Title(character));
            inside = Rune.TryGetRuneAt(character, 0, out var rune) && PyText.IsCased(rune);
        }
        return title.ToString();
    }

    private static string SwapCase(string text) => string.Concat(PyText.Characters(text).Select(x =>
        !Rune.TryGetRuneAt(x, 0, out var rune) ? x : PyText.IsUpper(rune) ? PyText.Lower(x) : PyText.IsLower(rune) ? PyText.Upper(x) : x));

    /// <summary>The text of an argument that must be one.</summary>
    public static string Text(object? value) => value switch
    {
        string or PyMarkup => PyText.Of(value),
        PyUndefined x => throw x.Error(),
        _ => throw JinjaException.Type($"a string is needed here, not '{PyType.Name(value)}'"),
    };

    /// <summary>The number of an argument that must be an integer, cut to what fits.</summary>
    public static long Int(object? value) => PyMath.IsInteger(value)
        ? (long)System.Numerics.BigInteger.Min(System.Numerics.BigInteger.Max(PyMath.Big(value!), long.MinValue / 4), long.MaxValue / 4)
        : value is PyUndefined x ? throw x.Error()
        : throw JinjaException.Type($"'{PyType.Name(value)}' object cannot be interpreted as an integer");
}
