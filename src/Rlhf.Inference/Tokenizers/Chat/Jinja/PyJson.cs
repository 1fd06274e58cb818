using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Json;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Values from JSON, and |tojson as transformers has it: Python's json.dumps, which keeps order and escapes no letter.</summary>
internal static class PyJson
{
    /// <summary>A value of a file as a template sees it.</summary>
    public static object? FromElement(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.String => element.GetString(),
        JsonValueKind.Number => Number(element.GetRawText()),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Array => element.EnumerateArray().Select(FromElement).ToList(),
        JsonValueKind.Object => FromProperties(element.EnumerateObject().Select(x => KeyValuePair.Create(x.Name, x.Value))),
        _ => null,
    };

    public static PyDict FromProperties(IEnumerable<KeyValuePair<string, JsonElement>> properties)
    {
        var dict = new PyDict();
        foreach (var (name, value) in properties)
            dict.Set(name, FromElement(value));
        return dict;
    }

    /// <summary>json.dumps(value, ensure_ascii, indent, separators, sort_keys).</summary>
    /// <param name="value">The value.</param>
    /// <param name="ascii">Letters beyond ASCII as \u and four digits.</param>
    /// <param name="indent">What each level is indented by; null is everything on one line.</param>
    /// <param name="separators">Between items, and behind keys.</param>
    /// <param name="sorted">Keys in their order.</param>
    /// <param name="budget">What may be used.</param>
    public static string Dump(
        object? value, bool ascii, string? indent, (string Item, string Key) separators, bool sorted, JinjaBudget budget)
    {
        var writer = new Writer(ascii, indent, separators, sorted, budget);
        writer.Write(value, 0);
        budget.Allocate(writer.Text.Length);
        return writer.Text.ToString();
    }

    /// <summary>Everything beyond ASCII escaped, as Python's ascii() does.</summary>
    public static string Ascii(string text)
    {
        var ascii = new StringBuilder();
        for (int i = 0, width; i < text.Length; i += width)
        {
            width = PyText.Width(text, i);
            if (text[i] < 0x80)
                ascii.Append(text[i]);
            else if (width == 2)
                ascii.Append(CultureInfo.InvariantCulture, $"\\U{char.ConvertToUtf32(text, i):x8}");
            else
                ascii.Append(text[i] < 0x100 ? "\\x" : "\\u").Append(((int)text[i]).ToString(text[i] < 0x100 ? "x2" : "x4", CultureInfo.InvariantCulture));
        }
        return ascii.ToString();
    }

    private static object Number(string text)
    {
        if (text.AsSpan().IndexOfAny('.', 'e', 'E') >= 0)
            return double.Parse(text, CultureInfo.InvariantCulture);
        if (text.Length <= 18)
            return long.Parse(text, CultureInfo.InvariantCulture);
        return text.Length <= PyMath.MaxDigits ? PyMath.Int(BigInteger.Parse(text, CultureInfo.InvariantCulture))
            : throw new JinjaException($"an integer of more than {PyMath.MaxDigits} digits", JinjaFault.Limit);
    }

    private sealed class Writer(bool ascii, string? indent, (string Item, string Key) separators, bool sorted, JinjaBudget budget)
    {
        public StringBuilder Text { get; } = new();

        public void Write(object? value, int level)
        {
            budget.Step();
            if (Text.Length > JinjaBudget.MaxLength)
                budget.Allocate(Text.Length);
            switch (value)
            {
                case string or PyMarkup:
                    Quote(PyText.Of(value));
                    break;
                case List<object?> x:
                    Items('[', ']', x.Count, x, y => Write(y, level + 1), level);
                    break;
                case PyTuple x:
                    Items('[', ']', x.Items.Length, x.Items, y => Write(y, level + 1), level);
                    break;
                case PyDict x:
                    var pairs = x.Pairs;
                    if (sorted)
                        pairs = PyCompare.Sort([.. x.Pairs.Select(y => new PyTuple([y.Key, y.Value]))], y => ((PyTuple)y!).Items[0], false, budget)
                            .Select(y => (((PyTuple)y!).Items[0], ((PyTuple)y).Items[1]));
                    Items('{', '}', x.Count, pairs, y =>
                    {
                        Quote(y.Key is string or PyMarkup ? PyText.Of(y.Key) : Scalar(y.Key) ?? throw JinjaException.Type(
                            $"keys must be str, int, float, bool or None, not {PyType.Name(y.Key)}"));
                        Text.Append(separators.Key);
                        Write(y.Value, level + 1);
                    }, level);
                    break;
                default:
                    Text.Append(Scalar(value)
                        ?? throw JinjaException.Type($"Object of type {PyType.Name(value)} is not JSON serializable"));
                    break;
            }
        }

        private static string? Scalar(object? value) => value switch
        {
            null => "null",
            bool x => x ? "true" : "false",
            long or BigInteger => PyMath.Text(value),
            double.NaN => "NaN",
            double.PositiveInfinity => "Infinity",
            double.NegativeInfinity => "-Infinity",
            double x => PyRepr.Float(x),
            _ => null,
        };

        private void Items<T>(char begin, char end, int count, IEnumerable<T> items, Action<T> write, int level)
        {
            Text.Append(begin);
            if (count > 0)
            {
                budget.Enter();
                bool first = true;
                foreach (var item in items)
                {
                    Text.Append(first ? "" : separators.Item);
                    Line(level + 1);
                    write(item);
                    first = false;
                }
                Line(level);
                budget.Leave();
            }
            Text.Append(end);
        }

        private void Line(int level)
        {
            if (indent is null)
                return;
            Text.Append('\n');
            budget.Step(indent.Length * level >> 4);
            if (Text.Length + (long)indent.Length * level > JinjaBudget.MaxLength)
                budget.Allocate(Text.Length + (long)indent.Length * level);
            for (int i = 0; i < level; i++)
                Text.Append(indent);
        }

        private void Quote(string text)
        {
            budget.Step(text.Length >> 4);
            Text.Append('"');
            foreach (char c in text)
                _ = c switch
                {
                    '"' => Text.Append("\\\""),
                    '\\' => Text.Append("\\\\"),
                    '\n' => Text.Append("\\n"),
                    '\r' => Text.Append("\\r"),
                    '\t' => Text.Append("\\t"),
                    '\b' => Text.Append("\\b"),
                    '\f' => Text.Append("\\f"),
                    _ when c < ' ' || ascii && c > '~' => Text.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture)),
                    _ => Text.Append(c),
                };
            Text.Append('"');
        }
    }
}
