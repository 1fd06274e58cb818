using System.Globalization;
using System.Numerics;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>How a value is laid out: Python's format specification [[fill]align][sign][#][0][width][,][.precision][type].</summary>
internal sealed record FormatSpec
{
    public string Fill { get; init; } = " ";

    public char? Align { get; init; }

    /// <summary>+, - or a space; null where none is given, which is -.</summary>
    public char? Sign { get; init; }

    /// <summary>A zero that rounding made negative loses its sign.</summary>
    public bool PlainZero { get; init; }

    public bool Alternate { get; init; }

    public bool Zero { get; init; }

    public long Width { get; init; }

    public char? Grouping { get; init; }

    public int? Precision { get; init; }

    /// <summary>Zeros before an integer, as %.5d has them.</summary>
    public int MinDigits { get; init; }

    public char Type { get; init; }

    /// <summary>format(value, specification).</summary>
    public static string Apply(object? value, string specification, JinjaBudget budget)
    {
        if (value is PyUndefined && specification.Length == 0)
            return "";
        if (specification.Length == 0)
            return PyRepr.Str(value, budget);
        if (value is not (string or PyMarkup) && !PyMath.IsNumber(value))
            throw JinjaException.Type($"unsupported format string passed to {PyType.Name(value)}.__format__");
        var spec = Parse(specification);
        if (!PyMath.IsNumber(value))
        {
            if (spec.Type is not ('\0' or 's'))
                throw new JinjaException($"Unknown format code '{spec.Type}' for object of type 'str'");
            if (spec.Sign is not null || spec.Align == '=' || spec.Alternate || spec.Grouping is not null)
                throw new JinjaException("a sign, '=', '#', ',' and '_' are not allowed in the format of a string");
            if (spec.Zero)
                spec = spec with { Zero = false, Fill = "0" };
            return spec.Text(PyRepr.Str(value, budget), budget);
        }
        if (value is not double && "eEfFgG%".Contains(spec.Type) && spec.Type != '\0')
            return spec.Number(PyMath.Double(value!), budget);
        if (value is double ? !"\0eEfFgGn%".Contains(spec.Type) : !"\0bcdoxXn".Contains(spec.Type))
            throw new JinjaException($"Unknown format code '{spec.Type}' for object of type '{PyType.Name(value)}'");
        if (value is not double && spec.Precision is not null)
            throw new JinjaException("Precision not allowed in integer format specifier");
        return spec.Number(value!, budget);
    }

    public static long ParseWidth(string digits) => digits.Length <= 9 ? long.Parse(digits, CultureInfo.InvariantCulture)
        : throw new JinjaException("a width or precision in a format is too large", JinjaFault.Limit);

    /// <summary>A text cut to the precision and padded to the width.</summary>
    public string Text(string text, JinjaBudget budget)
    {
        if (Precision is { } most && PyText.Length(text) > most)
            text = (string)PyAccess.Slice(text, null, (long)most, null, budget)!;
        return Pad("", text, Align ?? (Zero ? '=' : '<'), budget);
    }

    /// <summary>An integer, or a float.</summary>
    public string Number(object value, JinjaBudget budget)
    {
        budget.Allocate((Precision ?? 0) + (long)MinDigits);
        bool negative;
        string digits, prefix = "", tail = "";
        if (value is double x)
        {
            negative = double.IsNegative(x) && !double.IsNaN(x);
            digits = PyNumbers.Float(Math.Abs(x), Type, Precision, Alternate);
            if (digits.Length > 0 && !char.IsAsciiDigit(digits[0]))
                return Pad(Mark(negative), digits, Align ?? '>', budget);
            negative &= !PlainZero || digits.Any(c => c is >= '1' and <= '9');
            int end = digits.IndexOfAny(['.', 'e', 'E', '%']);
            if (end >= 0)
                (digits, tail) = (digits[..end], digits[end..]);
        }
        else
        {
            var integer = PyMath.Big(value);
            negative = integer.Sign < 0;
            integer = BigInteger.Abs(integer);
            if (Type == 'c')
                return Text(!negative && integer <= 0x10FFFF && Rune.IsValid((int)integer) ? new Rune((int)integer).ToString()
                    : throw new JinjaException("%c arg not in range(0x110000)"), budget);
            digits = Type switch
            {
                'b' => integer.ToString("B", CultureInfo.InvariantCulture).TrimStart('0'),
                'o' => PyNumbers.Octal(integer),
                'x' => integer.ToString("x", CultureInfo.InvariantCulture).TrimStart('0'),
                'X' => integer.ToString("X", CultureInfo.InvariantCulture).TrimStart('0'),
                _ => integer.ToString(CultureInfo.InvariantCulture),
            };
            digits = (digits.Length == 0 ? "0" : digits).PadLeft(MinDigits, '0');
            prefix = Alternate && Type is 'b' or 'o' or 'x' or 'X' ? $"0{Type}" : "";
        }
        var align = Align ?? '>';
        bool zeros = Zero && Align is null or '>' or '=' && Fill == " ";
        if (Grouping is { } separator)
            digits = Group(digits, separator, Type is 'b' or 'o' or 'x' or 'X' ? 4 : 3,
                zeros ? Width - Mark(negative).Length - prefix.Length - tail.Length : 0, budget);
        var sign = Mark(negative) + prefix;
        if (!zeros)
            return Pad(sign, digits + tail, align, budget);
        long missing = Math.Max(Width - sign.Length - digits.Length - tail.Length, 0);
        budget.Allocate(Math.Max(Width, 0));
        return sign + new string('0', (int)missing) + digits + tail;
    }

    private string Mark(bool negative) => negative ? "-" : Sign is '+' or ' ' ? Sign.Value.ToString() : "";

    private string Pad(string sign, string text, char align, JinjaBudget budget)
    {
        var fill = Zero && Align is null or '=' && Fill == " " ? "0" : Fill;
        if (align == '=')
            return sign + PyStrings.Center("rjust", text, Width - sign.Length, fill, budget);
        if (align != '^')
            return PyStrings.Center(align == '<' ? "ljust" : "rjust", sign + text, Width, fill, budget);
        long missing = Math.Max(Width - PyText.Length(sign + text), 0), left = missing / 2;
        text = PyStrings.Center("rjust", sign + text, PyText.Length(sign + text) + left, fill, budget);
        return PyStrings.Center("ljust", text, PyText.Length(text) + missing - left, fill, budget);
    }

    private static string Group(string digits, char separator, int size, long width, JinjaBudget budget)
    {
        budget.Allocate(Math.Max(width, 0) + 2L * digits.Length);
        long length = Math.Max(digits.Length, width * size / (size + 1) - 2);
        while (length + (length - 1) / size < width)
            length++;
        digits = digits.PadLeft((int)length, '0');
        var grouped = new StringBuilder();
        for (int i = 0; i < digits.Length; i++)
            grouped.Append(i > 0 && (digits.Length - i) % size == 0 ? separator.ToString() : "").Append(digits[i]);
        return grouped.ToString();
    }

    private static FormatSpec Parse(string text)
    {
        var spec = new FormatSpec();
        int i = 0, first = text.Length > 0 ? PyText.Width(text, 0) : 0;
        if (text.Length > first && text[first] is '<' or '>' or '^' or '=')
        {
            spec = spec with { Fill = text[..first], Align = text[first] };
            i = first + 1;
        }
        else if (text[0] is '<' or '>' or '^' or '=')
            spec = spec with { Align = text[i++] };
        bool filled = i > 1;
        if (i < text.Length && text[i] is '+' or '-' or ' ')
            spec = spec with { Sign = text[i++] };
        if (i < text.Length && text[i] == 'z')
        {
            spec = spec with { PlainZero = true };
            i++;
        }
        if (i < text.Length && text[i] == '#')
        {
            spec = spec with { Alternate = true };
            i++;
        }
        if (i < text.Length && text[i] == '0')
        {
            // A zero before the width fills with zeros, unless another fill is given.
            spec = filled ? spec : spec.Align is null ? spec with { Zero = true } : spec with { Fill = "0" };
            i++;
        }
        int start = i;
        while (i < text.Length && char.IsAsciiDigit(text[i]))
            i++;
        if (i > start)
            spec = spec with { Width = ParseWidth(text[start..i]) };
        if (i < text.Length && text[i] is ',' or '_')
            spec = spec with { Grouping = text[i++] };
        if (i < text.Length && text[i] == '.')
        {
            start = ++i;
            while (i < text.Length && char.IsAsciiDigit(text[i]))
                i++;
            spec = i == start ? throw new JinjaException("Format specifier missing precision")
                : spec with { Precision = (int)ParseWidth(text[start..i]) };
        }
        if (i < text.Length - 1)
            throw new JinjaException($"Invalid format specifier '{text}'");
        return i < text.Length ? spec with { Type = text[i] } : spec;
    }
}
