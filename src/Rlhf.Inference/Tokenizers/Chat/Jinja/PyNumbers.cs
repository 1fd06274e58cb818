using System.Globalization;
using System.Numerics;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Numbers read from text and floats written with a number of digits, rounded exactly and half to even, as C's printf does.</summary>
internal static class PyNumbers
{
    /// <summary>Digits beyond which a double's decimal expansion is zeros.</summary>
    private const int MaxDigits = 1100;

    /// <summary>A finite float that is not negative, laid out as a type of a format specification.</summary>
    /// <param name="value">Not negative.</param>
    /// <param name="type">e, f, g, %, n, in either case, or none.</param>
    /// <param name="precision">Digits; null is that type's default.</param>
    /// <param name="alternate">Keeps a point, and g's zeros.</param>
    public static string Float(double value, char type, int? precision, bool alternate)
    {
        if (!double.IsFinite(value))
            return (double.IsNaN(value) ? "nan" : "inf") is var word && char.IsAsciiLetterUpper(type) ? word.ToUpperInvariant()
                : word + (type == '%' ? "%" : "");
        switch (type)
        {
            case '\0' when precision is null:
                return PyRepr.Float(value);
            case 'f' or 'F':
                return Fixed(value, precision ?? 6, alternate);
            case '%':
                return Fixed(value * 100, precision ?? 6, alternate) + "%";
            case 'e' or 'E':
                var (digits, exponent) = Scientific(value, (precision ?? 6) + 1);
                return WithExponent(digits, exponent, type, alternate);
            default:
                return General(value, type, precision ?? 6, alternate);
        }
    }

    /// <summary>Digits with a point, rounded to a number of decimals.</summary>
    public static string Fixed(double value, int decimals, bool alternate = false)
    {
        int exact = Math.Min(decimals, MaxDigits);
        var digits = Scaled(value, exact).ToString(CultureInfo.InvariantCulture).PadLeft(exact + 1, '0');
        var text = digits[..^exact];
        return decimals == 0 ? text + (alternate ? "." : "") : text + "." + digits[^exact..].PadRight(decimals, '0');
    }

    /// <summary>round(value, decimals) of a float.</summary>
    public static double Round(double value, int decimals)
    {
        if (!double.IsFinite(value) || decimals > 400)
            return value;
        if (decimals < -400)
            return Math.CopySign(0, value);
        var digits = Scaled(Math.Abs(value), decimals).ToString(CultureInfo.InvariantCulture);
        return Math.CopySign(double.Parse(digits + "E" + (-decimals).ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture), value);
    }

    /// <summary>int(value) of a float: towards zero.</summary>
    public static object Truncate(double value) => double.IsFinite(value) ? PyMath.Int(new BigInteger(Math.Truncate(value)))
        : throw new JinjaException($"cannot convert float {(double.IsNaN(value) ? "NaN" : "infinity")} to integer");

    public static string Octal(BigInteger value)
    {
        var digits = new StringBuilder();
        for (; !value.IsZero; value >>= 3)
            digits.Insert(0, (char)('0' + (int)(value & 7)));
        return digits.ToString();
    }

    /// <summary>int(text, base); null where it is no integer.</summary>
    public static object? ParseInt(string text, int numberBase)
    {
        text = Ascii(PyText.TrimStart(PyText.TrimEnd(text)));
        bool negative = text is ['-', ..];
        if (text is ['-' or '+', ..])
            text = text[1..];
        int prefix = text.Length > 1 && text[0] == '0' ? char.ToLowerInvariant(text[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 0 } : 0;
        bool prefixed = prefix > 0 && (numberBase == prefix || numberBase == 0);
        if (prefixed)
        {
            text = text[2..];
            text = text is ['_', ..] ? text[1..] : text;
        }
        if (numberBase == 0)
            numberBase = prefixed ? prefix : text.Length > 1 && text[0] == '0' && text.Any(c => c is not ('0' or '_')) ? -1 : 10;
        if (numberBase is not (>= 2 and <= 36) || text.Length == 0 || text.Length > 2 * PyMath.MaxDigits || text[0] == '_' || text[^1] == '_')
            return null;
        var value = BigInteger.Zero;
        char before = '\0';
        foreach (char c in text)
        {
            if (c == '_' && before != '_')
            {
                before = c;
                continue;
            }
            int digit = char.IsAsciiDigit(c) ? c - '0' : char.IsAsciiLetter(c) ? char.ToLowerInvariant(c) - 'a' + 10 : 99;
            if (digit >= numberBase)
                return null;
            value = value * numberBase + digit;
            before = c;
        }
        return PyMath.Int(negative ? -value : value);
    }

    /// <summary>float(text); null where it is no number.</summary>
    public static double? ParseFloat(string text)
    {
        text = Ascii(PyText.TrimStart(PyText.TrimEnd(text)));
        var word = text.TrimStart('+', '-').ToLowerInvariant();
        if (word.Length + 1 < text.Length)
            return null;
        double sign = text is ['-', ..] ? -1 : 1;
        if (word is "inf" or "infinity")
            return sign * double.PositiveInfinity;
        if (word == "nan")
            return double.NaN;
        for (int i = 0; i < text.Length; i++)
            if (text[i] == '_' && (i == 0 || i == text.Length - 1 || !char.IsAsciiDigit(text[i - 1]) || !char.IsAsciiDigit(text[i + 1])))
                return null;
        return double.TryParse(text.Replace("_", "", StringComparison.Ordinal),
            NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out double value)
            ? value : null;
    }

    /// <summary>Decimal digits of every script as ASCII.</summary>
    private static string Ascii(string text) => text.All(char.IsAscii) ? text : string.Concat(PyText.Characters(text).Select(x =>
        CharUnicodeInfo.GetDecimalDigitValue(x, 0) is >= 0 and var digit ? ((char)('0' + digit)).ToString() : x));

    private static string General(double value, char type, int precision, bool alternate)
    {
        precision = Math.Max(precision, 1);
        var (digits, exponent) = Scientific(value, precision);
        bool plain = exponent >= -4 && exponent < precision - (type == '\0' ? 1 : 0);
        if (!alternate)
            digits = digits.TrimEnd('0') is { Length: > 0 } x ? x : "0";
        if (!plain)
            return WithExponent(digits, exponent, type == 'G' ? 'E' : 'e', alternate);
        if (exponent < 0)
            return "0." + new string('0', -exponent - 1) + digits;
        digits = digits.PadRight(exponent + 1, '0');
        var text = digits[..(exponent + 1)] + (digits.Length > exponent + 1 || alternate ? "." + digits[(exponent + 1)..] : "");
        return type == '\0' && !text.Contains('.') ? text + ".0" : text;
    }

    private static string WithExponent(string digits, int exponent, char letter, bool alternate) =>
        digits[..1] + (digits.Length > 1 || alternate ? "." + digits[1..] : "") + letter
        + (exponent < 0 ? "-" : "+") + Math.Abs(exponent).ToString("00", CultureInfo.InvariantCulture);

    /// <summary>A number of significant digits and the exponent of the first.</summary>
    private static (string Digits, int Exponent) Scientific(double value, int count)
    {
        if (value == 0)
            return (new('0', count), 0);
        int exact = Math.Min(count, MaxDigits), exponent = (int)Math.Floor(Math.Log10(value));
        var digits = Scaled(value, exact - 1 - exponent).ToString(CultureInfo.InvariantCulture);
        if (digits.Length != exact) // the logarithm, or rounding up to the next power of ten, was off by one
            digits = Scaled(value, exact - 1 - (exponent += digits.Length - exact)).ToString(CultureInfo.InvariantCulture);
        return (digits[..exact].PadRight(count, '0'), exponent);
    }

    /// <summary>value * 10^decimals, rounded half to even.</summary>
    private static BigInteger Scaled(double value, int decimals)
    {
        long bits = BitConverter.DoubleToInt64Bits(value);
        int exponent = (int)((bits >> 52) & 0x7FF);
        BigInteger number = exponent == 0 ? bits & 0xFFFFFFFFFFFFF : (bits & 0xFFFFFFFFFFFFF) | 0x10000000000000, divisor = 1;
        exponent = Math.Max(exponent, 1) - 1075;
        if (exponent >= 0)
            number <<= exponent;
        else
            divisor <<= -exponent;
        if (decimals >= 0)
            number *= BigInteger.Pow(10, decimals);
        else
            divisor *= BigInteger.Pow(10, -decimals);
        var quotient = BigInteger.DivRem(number, divisor, out var rest);
        int order = (rest * 2).CompareTo(divisor);
        return order > 0 || order == 0 && !quotient.IsEven ? quotient + 1 : quotient;
    }
}
