using System.Globalization;
using System.Numerics;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Values as text: str() and repr().</summary>
internal static class PyRepr
{
    /// <summary>str(value), as {{ value }} prints it.</summary>
    public static string Str(object? value, JinjaBudget budget) => value switch
    {
        string x => x,
        PyMarkup x => x.Text,
        PyUndefined => "",
        _ => Repr(value, budget),
    };

    public static string Repr(object? value, JinjaBudget budget)
    {
        var text = new StringBuilder();
        Write(text, value, budget);
        budget.Allocate(text.Length);
        return text.ToString();
    }

    /// <summary>repr() of a float: the shortest digits that give it back.</summary>
    public static string Float(double value)
    {
        if (double.IsNaN(value))
            return "nan";
        if (double.IsInfinity(value))
            return value > 0 ? "inf" : "-inf";
        var parts = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture).Split('E');
        var digits = parts[0].Replace(".", "", StringComparison.Ordinal);
        int point = parts[0].IndexOf('.') is >= 0 and var i ? i : parts[0].Length;
        int exponent = point - 1 + (parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 0);
        var significant = digits.TrimStart('0');
        exponent -= digits.Length - significant.Length;
        significant = significant.TrimEnd('0');
        return (double.IsNegative(value) ? "-" : "") + (significant.Length == 0 ? "0.0" : Place(significant, exponent));
    }

    private static string Place(string digits, int exponent)
    {
        if (exponent is < -4 or >= 16)
            return digits[..1] + (digits.Length > 1 ? "." + digits[1..] : "")
                + (exponent < 0 ? "e-" : "e+") + Math.Abs(exponent).ToString("00", CultureInfo.InvariantCulture);
        if (exponent < 0)
            return "0." + new string('0', -exponent - 1) + digits;
        digits = digits.PadRight(exponent + 1, '0');
        return digits[..(exponent + 1)] + "." + (digits.Length > exponent + 1 ? digits[(exponent + 1)..] : "0");
    }

    private static void Write(StringBuilder text, object? value, JinjaBudget budget)
    {
        budget.Step();
        if (text.Length > JinjaBudget.MaxLength)
            budget.Allocate(text.Length);
        switch (value)
        {
            case null:
                text.Append("None");
                break;
            case bool x:
                text.Append(x ? "True" : "False");
                break;
            case long or BigInteger:
                text.Append(PyMath.Text(value));
                break;
            case double x:
                text.Append(Float(x));
                break;
            case string x:
                budget.Step(x.Length >> 3);
                Quote(text, x);
                break;
            case PyMarkup x:
                text.Append("Markup(");
                Quote(text, x.Text);
                text.Append(')');
                break;
            case PyUndefined:
                text.Append("Undefined");
                break;
            case List<object?> x:
                WriteItems(text, "[", x, "]", budget);
                break;
            case PyTuple x:
                WriteItems(text, "(", x.Items, x.Items.Length == 1 ? ",)" : ")", budget);
                break;
            case PyDict x:
                WriteDict(text, x, budget);
                break;
            case PyDictView x:
                WriteItems(text, x.Type + "([", x.Items, "])", budget);
                break;
            case PyNamespace x:
                text.Append("<Namespace ");
                WriteDict(text, x.Values, budget);
                text.Append('>');
                break;
            case PyRange x:
                text.Append(CultureInfo.InvariantCulture, $"range({x.Start}, {x.Stop}{(x.Step == 1 ? "" : $", {x.Step}")})");
                break;
            case Macro x:
                text.Append("<Macro ").Append(x.Name is null ? "anonymous" : $"'{x.Name}'").Append('>');
                break;
            case LoopContext x:
                text.Append(CultureInfo.InvariantCulture, $"<LoopContext {x.Index}/{x.Length}>");
                break;
            default: // Python prints an address here, which no template can mean to show.
                text.Append('<').Append(PyType.Name(value)).Append(" object>");
                break;
        }
    }

    private static void WriteItems(StringBuilder text, string begin, IEnumerable<object?> items, string end, JinjaBudget budget)
    {
        budget.Enter();
        text.Append(begin);
        bool first = true;
        foreach (var item in items)
        {
            text.Append(first ? "" : ", ");
            Write(text, item, budget);
            first = false;
        }
        text.Append(end);
        budget.Leave();
    }

    private static void WriteDict(StringBuilder text, PyDict dict, JinjaBudget budget)
    {
        budget.Enter();
        text.Append('{');
        bool first = true;
        foreach (var (key, value) in dict.Pairs)
        {
            text.Append(first ? "" : ", ");
            Write(text, key, budget);
            text.Append(": ");
            Write(text, value, budget);
            first = false;
        }
        text.Append('}');
        budget.Leave();
    }

    private static void Quote(StringBuilder text, string value)
    {
        char quote = value.Contains('\'') && !value.Contains('"') ? '"' : '\'';
        text.Append(quote);
        for (int i = 0, width; i < value.Length; i += width)
        {
            width = PyText.Width(value, i);
            char c = value[i];
            if (c == quote || c == '\\')
                text.Append('\\').Append(c);
            else if (c is '\n' or '\r' or '\t')
                text.Append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
            else if (c is >= ' ' and < '\x7f')
                text.Append(c);
            else if (IsPrintable(value, i))
                text.Append(value, i, width);
            else if (width == 2)
                text.Append(CultureInfo.InvariantCulture, $"\\U{char.ConvertToUtf32(value, i):x8}");
            else
                text.Append(c < 0x100 ? "\\x" : "\\u").Append(((int)c).ToString(c < 0x100 ? "x2" : "x4", CultureInfo.InvariantCulture));
        }
        text.Append(quote);
    }

    public static bool IsPrintable(string text, int index) => text[index] == ' ' || CharUnicodeInfo.GetUnicodeCategory(text, index) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
        or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.SpaceSeparator);
}
