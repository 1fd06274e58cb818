using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Filters of texts.</summary>
internal static partial class JinjaFilters
{
    private static object? Center(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("center", 0, "width");
        return Marked(value, PyStrings.Center("center", PyText.Of(Soft(run, value)), PyStrings.Int(Or(x[0], 80L)), " ", run.Budget));
    }

    private static object? Escape(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("escape", 0);
        return PyHtml.Escape(value, run.Budget);
    }

    private static object? Format(JinjaRun run, object? value, PyArguments arguments)
    {
        if (arguments.Positional.Count > 0 && arguments.Named.Count > 0)
            throw new JinjaException("can't handle positional and keyword arguments at the same time");
        if (arguments.Named.Count == 0)
            return PyFormat.Percent(Soft(run, value), new PyTuple([.. arguments.Positional]), run.Budget);
        var dict = new PyDict();
        foreach (var (name, item) in arguments.Named)
            dict.Set(name, item);
        return PyFormat.Percent(Soft(run, value), dict, run.Budget);
    }

    private static object? Indent(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("indent", 0, "width", "first", "blank");
        var width = Or(x[0], 4L);
        if (width is not (string or PyMarkup))
            run.Budget.Allocate(PyStrings.Int(width));
        var space = width is string or PyMarkup ? PyText.Of(width) : new string(' ', (int)Math.Max(PyStrings.Int(width), 0));
        if (value is not (string or PyMarkup))
            throw value is PyUndefined missing ? missing.Error()
                : JinjaException.Type($"unsupported operand type(s) for +=: '{PyType.Name(value)}' and 'str'");
        var lines = PyText.Lines(PyText.Of(value) + "\n");
        run.Budget.Allocate(PyText.Of(value).Length + (long)space.Length * lines.Count);
        var text = new StringBuilder();
        for (int i = 0; i < lines.Count; i++)
        {
            bool indents = i == 0 ? IsTrue(x[1]) : lines[i].Length > 0 || IsTrue(x[2]);
            text.Append(i > 0 ? "\n" : "").Append(indents ? space : "").Append(lines[i]);
        }
        return Marked(value, text.ToString());
    }

    private static object? Join(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("join", 0, "d", "attribute");
        var items = PyIteration.Iterate(value, run.Budget);
        if (Or(x[1]) is { } attribute)
            items = items.Select(item => Get(run, item, attribute, null));
        var separator = Or(x[0], "");
        if (!run.Escapes)
            return PyStrings.Join(PyRepr.Str(separator, run.Budget), items.Select(item => PyRepr.Str(item, run.Budget)), run.Budget);
        var all = items.ToList();
        if (separator is not PyMarkup && !all.Any(item => item is PyMarkup))
            return PyStrings.Join(PyRepr.Str(separator, run.Budget), all.Select(item => PyRepr.Str(item, run.Budget)), run.Budget);
        return new PyMarkup(PyStrings.Join(PyHtml.Escape(separator, run.Budget).Text, all.Select(item => PyHtml.Escape(item, run.Budget).Text), run.Budget));
    }

    private static object? PPrint(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("pprint", 0);
        return PyRepr.Repr(value, run.Budget) is { Length: <= 80 } text ? text
            : throw new JinjaException("the filter 'pprint' is not supported for values of more than 80 characters; use tojson");
    }

    private static object? Replace(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("replace", 2, "old", "new", "count");
        string old = PyRepr.Str(x[0], run.Budget), other = PyRepr.Str(x[1], run.Budget);
        long count = Or(x[2]) is { } most ? PyStrings.Int(most) : -1;
        if (!run.Escapes)
            return PyStrings.Replace(PyRepr.Str(value, run.Budget), old, other, count, run.Budget);
        bool marked = value is PyMarkup || x[0] is PyMarkup || x[1] is PyMarkup;
        var text = marked ? PyHtml.Escape(value, run.Budget).Text : PyRepr.Str(value, run.Budget);
        text = PyStrings.Replace(text, marked ? PyHtml.Escape(x[0], run.Budget).Text : old,
            marked ? PyHtml.Escape(x[1], run.Budget).Text : other, count, run.Budget);
        return marked ? new PyMarkup(text) : text;
    }

    private static string TitleWords(string text)
    {
        var title = new StringBuilder();
        bool begins = true;
        int start = 0;
        for (int i = 0; i <= text.Length; i++)
        {
            bool ends = i < text.Length && (text[i] is '-' or '(' or '{' or '[' or '<' || PyText.IsSpace(text[i]));
            if (i < text.Length && !ends)
            {
                begins = false;
                continue;
            }
            if (!begins)
            {
                var word = text[start..i];
                int width = PyText.Width(word, 0);
                title.Append(PyText.Upper(word[..width])).Append(PyText.Lower(word[width..]));
            }
            if (ends)
                title.Append(text[i]);
            (begins, start) = (true, i + 1);
        }
        return title.ToString();
    }

    private static object? ToJson(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys");
        var indent = Or(x[1]) switch
        {
            null => null,
            string or PyMarkup => PyText.Of(x[1]),
            var width => Spaces(PyStrings.Int(width)),
        };
        var separators = (Item: indent is null ? ", " : ",", Key: ": ");
        if (Or(x[2]) is { } pair)
            separators = PyIteration.ToList(pair, run.Budget) is [string item, string key] ? (item, key)
                : throw JinjaException.Type("separators are two texts");
        return PyJson.Dump(value, IsTrue(x[0]), indent, separators, IsTrue(x[3]), run.Budget);

        string Spaces(long width)
        {
            run.Budget.Allocate(width);
            return new(' ', (int)Math.Max(width, 0));
        }
    }

    private static object? Trim(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("trim", 0, "chars");
        return Marked(value, PyStrings.Strip(PyText.Of(Soft(run, value)), x[0], true, true, run.Budget));
    }

    private static object? Truncate(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("truncate", 0, "length", "killwords", "end", "leeway");
        long length = PyStrings.Int(Or(x[0], 255L)), leeway = Or(x[3]) is { } some ? PyStrings.Int(some) : 5;
        var end = PyStrings.Text(Or(x[2], "..."));
        if (length < PyText.Length(end))
            throw new JinjaException($"expected length >= {PyText.Length(end)}, got {length}");
        if (leeway < 0)
            throw new JinjaException($"expected leeway >= 0, got {leeway}");
        if (PyIteration.Length(value, run.Budget) <= length + leeway)
            return value;
        var text = PyText.Of((value is string or PyMarkup ? PyAccess.Slice(value, null, length - PyText.Length(end), null, run.Budget)
            : throw JinjaException.Type($"truncate needs a text, not '{PyType.Name(value)}'"))!);
        int space = IsTrue(x[1]) ? -1 : text.LastIndexOf(' ');
        return Marked(value, (space < 0 ? text : text[..space]) + end);
    }

    private static object? UrlEncode(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("urlencode", 0);
        if (value is string or PyMarkup || !PyIteration.CanIterate(value))
            return Quote(value, safe: "/");
        var pairs = value is PyDict dict ? dict.Pairs.Select(x => (x.Key, x.Value)) : PyIteration.Iterate(value, run.Budget)
            .Select(x => PyIteration.ToList(x, run.Budget) is [var key, var item] ? (key, item) : throw new JinjaException("pairs are needed"));
        return PyStrings.Join("&", pairs.Select(x => Quote(x.Item1, "").Replace("%20", "+", StringComparison.Ordinal)
            + "=" + Quote(x.Item2, "").Replace("%20", "+", StringComparison.Ordinal)), run.Budget);

        string Quote(object? part, string safe)
        {
            var text = PyRepr.Str(part, run.Budget);
            run.Budget.Allocate(9L * text.Length);
            var quoted = new StringBuilder();
            foreach (byte b in Encoding.UTF8.GetBytes(text))
                if (b < 0x80 && (char.IsAsciiLetterOrDigit((char)b) || "_.-~".Contains((char)b) || safe.Contains((char)b)))
                    quoted.Append((char)b);
                else
                    quoted.Append('%').Append(b.ToString("X2", CultureInfo.InvariantCulture));
            return quoted.ToString();
        }
    }

    private static object? WordCount(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("wordcount", 0);
        var text = PyText.Of(Soft(run, value, 1));
        long count = 0;
        bool inside = false;
        for (int i = 0; i < text.Length; i += PyText.Width(text, i))
        {
            bool word = text[i] == '_' || CharUnicodeInfo.GetUnicodeCategory(text, i) is <= UnicodeCategory.OtherLetter
                or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;
            count += word && !inside ? 1 : 0;
            inside = word;
        }
        return count;
    }

    private static object? WordWrap(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("wordwrap", 0, "width", "break_long_words", "wrapstring", "break_on_hyphens");
        var text = PyStrings.Text(value);
        run.Budget.AllocateItems(text.Length);
        long width = PyStrings.Int(Or(x[0], 79L));
        if (width <= 0)
            throw new JinjaException($"invalid width {width} (must be > 0)");
        var wrap = PyStrings.Text(Or(x[2], "\n"));
        var lines = PyText.Lines(text).Select(line =>
            string.Join(wrap, WordWrapper.Wrap(line, (int)Math.Min(width, int.MaxValue), IsTrue(x[1], true), IsTrue(x[3], true))));
        return PyStrings.Join(wrap, lines, run.Budget);
    }

    private static object? XmlAttributes(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("xmlattr", 0, "autospace");
        var dict = value as PyDict ?? throw JinjaException.Type($"'{PyType.Object(value)}' has no attribute 'items'");
        var parts = dict.Pairs.Where(y => y.Value is not (null or PyUndefined)).Select(y =>
        {
            var key = PyStrings.Text(y.Key);
            if (key.Any(c => c is ' ' or '\t' or '\n' or '\r' or '\f' or '\v' or '/' or '>' or '='))
                throw new JinjaException($"Invalid character in attribute name: {PyRepr.Repr(key, run.Budget)}");
            return $"{PyHtml.Escape(key, run.Budget).Text}=\"{PyHtml.Escape(y.Value, run.Budget).Text}\"";
        });
        var text = PyStrings.Join(" ", parts, run.Budget);
        text = IsTrue(x[0], true) && text.Length > 0 ? " " + text : text;
        return run.Escapes ? new PyMarkup(text) : text;
    }
}
