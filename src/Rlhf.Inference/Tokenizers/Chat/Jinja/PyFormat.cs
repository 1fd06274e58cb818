using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>"%s" % values and "{}".format(values).</summary>
internal static class PyFormat
{
    /// <summary>format % values.</summary>
    public static object? Percent(object? format, object? values, JinjaBudget budget)
    {
        var source = PyText.Of(format);
        bool markup = format is PyMarkup;
        var text = new StringBuilder();
        var arguments = values is PyTuple tuple ? tuple.Items : [values];
        int next = 0;
        bool byName = false;
        for (int i = 0; i < source.Length; i++)
        {
            budget.Step();
            if (source[i] != '%')
            {
                text.Append(source[i]);
                continue;
            }
            i++;
            object? value = null;
            bool named = i < source.Length && source[i] == '(';
            if (named)
            {
                int end = Closing(source, i);
                if (end < 0)
                    throw new JinjaException("incomplete format key");
                var key = source[(i + 1)..end];
                if (values is not PyDict dict)
                    throw JinjaException.Type("format requires a mapping");
                value = dict.TryGet(key, out var found) ? found : throw new JinjaException(PyRepr.Repr(key, budget));
                byName = true;
                i = end + 1;
            }
            var spec = new FormatSpec { Align = '>' };
            for (; i < source.Length && "-+ #0".Contains(source[i]); i++)
                spec = source[i] switch
                {
                    '-' => spec with { Align = '<' },
                    '+' => spec with { Sign = '+' },
                    ' ' => spec.Sign == '+' ? spec : spec with { Sign = ' ' },
                    '#' => spec with { Alternate = true },
                    _ => spec with { Zero = true },
                };
            spec = spec with { Width = Number(source, ref i, Next) ?? 0 };
            if (spec.Width < 0)
                spec = spec with { Width = -spec.Width, Align = '<' };
            if (i < source.Length && source[i] == '.')
            {
                i++;
                spec = spec with { Precision = (int)Math.Max(Number(source, ref i, Next) ?? 0, 0) };
            }
            while (i < source.Length && source[i] is 'h' or 'l' or 'L')
                i++;
            if (i >= source.Length)
                throw new JinjaException("incomplete format");
            if (source[i] == '%')
            {
                text.Append('%');
                continue;
            }
            text.Append(Convert(source[i], named ? value : Next(), spec, markup, budget));
            budget.Allocate(text.Length > JinjaBudget.MaxLength ? text.Length : 0);
        }
        if (next < arguments.Length && !byName && values is not (PyDict or List<object?> or PyRange or PyUndefined))
            throw JinjaException.Type("not all arguments converted during string formatting");
        budget.Allocate(text.Length);
        return markup ? new PyMarkup(text.ToString()) : text.ToString();

        object? Next() => next < arguments.Length ? arguments[next++] : throw JinjaException.Type("not enough arguments for format string");
    }

    /// <summary>format.format(values).</summary>
    public static object? Format(string format, PyArguments arguments, JinjaBudget budget) =>
        new Fields(arguments.Positional, name => Find(arguments.Named, name), budget).Format(format, 2);

    /// <summary>format.format_map(mapping).</summary>
    public static object? FormatMap(string format, object? mapping, JinjaBudget budget) =>
        new Fields([], name => mapping is PyDict x && x.TryGet(name, out var value) ? (true, value) : (false, null), budget).Format(format, 2);

    private static (bool, object?) Find(IReadOnlyList<(string Name, object? Value)> named, string name)
    {
        foreach (var (key, value) in named)
            if (key == name)
                return (true, value);
        return (false, null);
    }

    private static string Convert(char kind, object? value, FormatSpec spec, bool markup, JinjaBudget budget)
    {
        switch (kind)
        {
            case 's' or 'r' or 'a':
                var text = kind == 's' ? markup ? PyHtml.Escape(value, budget).Text : PyRepr.Str(value, budget) : PyRepr.Repr(value, budget);
                return (spec with { Zero = false, Sign = null, Type = 's' }).Text(kind == 'a' ? PyJson.Ascii(text) : text, budget);
            case 'c':
                var character = value is string or PyMarkup ? PyText.Of(value) : PyMath.IsInteger(value)
                    && Rune.IsValid((int)PyStrings.Int(value)) ? new Rune((int)PyStrings.Int(value)).ToString() : "";
                if (PyText.Length(character) != 1)
                    throw JinjaException.Type("%c requires int or char");
                return (spec with { Precision = null, Zero = false }).Text(character, budget);
            case 'd' or 'i' or 'u' or 'x' or 'X' or 'o':
                if (value is PyUndefined undefined)
                    throw undefined.Error();
                var integer = PyMath.IsInteger(value) ? value : value is double x && "diu".Contains(kind) ? PyNumbers.Truncate(x)
                    : throw JinjaException.Type($"%{kind} format: a{("diu".Contains(kind) ? " real number" : "n integer")} is required, not {PyType.Name(value)}");
                int? least = spec.Precision;
                return (spec with { Precision = null, Type = "diu".Contains(kind) ? 'd' : kind, MinDigits = least ?? 0 }).Number(integer!, budget);
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G':
                if (value is PyUndefined missing)
                    throw missing.Error();
                return PyMath.IsNumber(value) ? (spec with { Type = kind, Precision = spec.Precision ?? 6 }).Number(PyMath.Double(value!), budget)
                    : throw JinjaException.Type($"must be real number, not {PyType.Name(value)}");
            default:
                throw new JinjaException($"unsupported format character '{kind}'");
        }
    }

    private static int Closing(string source, int open)
    {
        for (int i = open, depth = 0; i < source.Length; i++)
            if (source[i] == '(')
                depth++;
            else if (source[i] == ')' && --depth == 0)
                return i;
        return -1;
    }

    private static long? Number(string source, ref int i, Func<object?> next)
    {
        if (i < source.Length && source[i] == '*')
        {
            i++;
            return next() is var x && PyMath.IsInteger(x) ? PyStrings.Int(x) : throw JinjaException.Type("* wants int");
        }
        int start = i;
        while (i < source.Length && char.IsAsciiDigit(source[i]))
            i++;
        return start == i ? null : FormatSpec.ParseWidth(source[start..i]);
    }

    /// <summary>The replacement fields of str.format.</summary>
    private sealed class Fields(IReadOnlyList<object?> positional, Func<string, (bool, object?)> named, JinjaBudget budget)
    {
        private int _next;
        private bool _numbered;

        public string Format(string format, int depth)
        {
            if (depth < 0)
                throw new JinjaException("Max string recursion exceeded");
            var text = new StringBuilder();
            for (int i = 0; i < format.Length; i++)
            {
                budget.Step();
                char c = format[i];
                if (c is '{' or '}' && i + 1 < format.Length && format[i + 1] == c)
                    text.Append(format[i++]);
                else if (c == '}')
                    throw new JinjaException("Single '}' encountered in format string");
                else if (c != '{')
                    text.Append(c);
                else
                {
                    int end = i + 1, open = 1;
                    for (; end < format.Length; end++)
                        if ((open += format[end] == '{' ? 1 : format[end] == '}' ? -1 : 0) == 0)
                            break;
                    if (open != 0)
                        throw new JinjaException(i + 1 == format.Length ? "Single '{' encountered in format string" : "expected '}' before end of string");
                    text.Append(Field(format[(i + 1)..end], depth));
                    i = end;
                    if (text.Length > JinjaBudget.MaxLength)
                        budget.Allocate(text.Length);
                }
            }
            budget.Allocate(text.Length);
            return text.ToString();
        }

        private string Field(string field, int depth)
        {
            int bracket = 0, end = 0;
            for (; end < field.Length && (bracket > 0 || field[end] is not (':' or '!')); end++)
                bracket += field[end] == '[' ? 1 : field[end] == ']' && bracket > 0 ? -1 : 0;
            var name = field[..end];
            char conversion = '\0';
            if (end < field.Length && field[end] == '!')
            {
                if (end + 1 >= field.Length)
                    throw new JinjaException("end of string while looking for conversion specifier");
                conversion = field[end + 1];
                end += 2;
                if (end < field.Length && field[end] != ':')
                    throw new JinjaException("expected ':' after conversion specifier");
            }
            var value = Value(name);
            var spec = Format(end < field.Length ? field[(end + 1)..] : "", depth - 1);
            value = conversion switch
            {
                '\0' => value,
                's' => PyRepr.Str(value, budget),
                'r' => PyRepr.Repr(value, budget),
                'a' => PyJson.Ascii(PyRepr.Repr(value, budget)),
                _ => throw new JinjaException($"Unknown conversion specifier {conversion}"),
            };
            return FormatSpec.Apply(value, spec, budget);
        }

        private object? Value(string name)
        {
            int end = name.IndexOfAny(['.', '[']);
            var first = end < 0 ? name : name[..end];
            bool number = first.Length > 0 && first.All(char.IsAsciiDigit);
            object? value;
            if (first.Length == 0 || number)
            {
                if (number ? _next > 0 : _numbered)
                    throw new JinjaException(number ? "cannot switch from automatic field numbering to manual field specification"
                        : "cannot switch from manual field specification to automatic field numbering");
                _numbered |= number;
                int index = number ? (int)FormatSpec.ParseWidth(first) : _next++;
                value = index < positional.Count ? positional[index]
                    : throw new JinjaException($"Replacement index {index.ToString(CultureInfo.InvariantCulture)} out of range for positional args tuple");
            }
            else
                value = named(first) is (true, var found) ? found : throw new JinjaException(PyRepr.Repr(first, budget));
            while (end >= 0 && end < name.Length)
            {
                int next;
                if (name[end] == '.')
                {
                    next = name.IndexOfAny(['.', '['], end + 1);
                    next = next < 0 ? name.Length : next;
                    if (next == end + 1)
                        throw new JinjaException("Empty attribute in format string");
                    value = PyAccess.Attribute(value, name[(end + 1)..next], budget);
                }
                else if (name[end] == '[' && name.IndexOf(']', end) is >= 0 and var close)
                {
                    var key = name[(end + 1)..close];
                    value = PyAccess.Item(value, key.Length > 0 && key.All(char.IsAsciiDigit) ? FormatSpec.ParseWidth(key) : key, budget);
                    next = close + 1;
                }
                else
                    throw new JinjaException("Only '.' or '[' may follow ']' in format field specifier");
                end = next;
            }
            return value;
        }
    }
}
