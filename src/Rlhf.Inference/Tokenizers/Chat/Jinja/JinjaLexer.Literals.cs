using System.Globalization;
using System.Numerics;
using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Numbers and strings.</summary>
internal sealed partial class JinjaLexer
{
    private void ReadNumber()
    {
        // 1.5, 1e3, 1_000.5e-2; then 0x1f, 0b1, 0o7; then 1_000 and 0. After a point digits are an integer: x.0
        int end = Digits(_at), point = Peek(end - _at) == '.' ? Digits(end + 1) : end;
        bool fraction = point > end + 1 && Peek(end - _at) == '.';
        int exponent = fraction ? point : end;
        if (Peek(exponent - _at) is 'e' or 'E')
        {
            int sign = Peek(exponent + 1 - _at) is '+' or '-' ? 1 : 0, last = Digits(exponent + 1 + sign);
            if (last > exponent + 1 + sign)
                (fraction, point) = (true, last);
        }
        if (fraction && !(_at > 0 && _source[_at - 1] == '.'))
        {
            Add(JinjaTokenKind.Float, "", double.Parse(_source[_at..point].Replace("_", "", StringComparison.Ordinal), CultureInfo.InvariantCulture));
            _at = point;
            return;
        }
        char letter = char.ToLowerInvariant(Peek(1));
        int numberBase = Peek() != '0' ? 10 : letter switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 10 };
        int start = numberBase == 10 ? _at : _at + 2, i = start;
        while (i < _source.Length && (IsDigit(_source[i], numberBase) || _source[i] == '_' && IsDigit(Peek(i + 1 - _at), numberBase)
            && (i > start || numberBase != 10)))
            i++;
        if (numberBase != 10 && i == start)
            (numberBase, start, i) = (10, _at, _at + 1);
        if (numberBase == 10 && Peek() == '0') // a leading zero stands alone
            for (i = _at + 1; i < _source.Length && (_source[i] == '0' || _source[i] == '_' && Peek(i + 1 - _at) == '0');)
                i++;
        var digits = _source[start..i].Replace("_", "", StringComparison.Ordinal);
        if (digits.Length > PyMath.MaxDigits)
            throw JinjaException.Syntax($"an integer of more than {PyMath.MaxDigits} digits", _line);
        Add(JinjaTokenKind.Integer, "", PyMath.Int(digits.Aggregate(BigInteger.Zero, (x, c) => x * numberBase + Convert.ToInt32(c.ToString(), 16))));
        _at = i;
    }

    private static bool IsDigit(char c, int numberBase) => char.IsAsciiHexDigit(c) && Convert.ToInt32(c.ToString(), 16) < numberBase;

    private int Digits(int i)
    {
        int start = i;
        while (i < _source.Length && (char.IsAsciiDigit(_source[i]) || _source[i] == '_' && i > start && char.IsAsciiDigit(Peek(i + 1 - _at))))
            i++;
        return i;
    }

    private void ReadString(char quote)
    {
        int end = _at + 1;
        while (end < _source.Length && _source[end] != quote)
            end += _source[end] == '\\' ? 2 : 1;
        if (end >= _source.Length)
            throw JinjaException.Syntax($"unexpected char {PyRepr.Repr(quote.ToString(), new())} at {_at}", _line);
        Add(JinjaTokenKind.String, Unescape(_source[(_at + 1)..end]));
        Advance(end + 1);
    }

    private string Unescape(string text)
    {
        if (!text.Contains('\\'))
            return text;
        var plain = new StringBuilder();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\')
            {
                plain.Append(text[i]);
                continue;
            }
            char c = text[++i];
            int simple = "\\'\"abfnrtv".IndexOf(c), digits = c switch { 'x' => 2, 'u' => 4, 'U' => 8, _ => 0 };
            if (simple >= 0)
                plain.Append("\\'\"\a\b\f\n\r\t\v"[simple]);
            else if (c is >= '0' and <= '7')
            {
                int value = 0, start = i;
                for (; i < text.Length && i < start + 3 && text[i] is >= '0' and <= '7'; i++)
                    value = value * 8 + text[i] - '0';
                i--;
                plain.Append((char)value);
            }
            else if (digits > 0)
            {
                if (i + digits >= text.Length || !int.TryParse(text.AsSpan(i + 1, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int code)
                    || code is < 0 or > 0x10FFFF)
                    throw JinjaException.Syntax($"truncated \\{c}{new string('X', digits)} escape", _line);
                plain.Append(code > 0xFFFF ? char.ConvertFromUtf32(code) : ((char)code).ToString());
                i += digits;
            }
            else if (c == 'N')
                throw JinjaException.Syntax("characters by name (\\N{...}) are not supported", _line);
            else if (c != '\n')
                plain.Append('\\').Append(c);
        }
        return plain.ToString();
    }
}
