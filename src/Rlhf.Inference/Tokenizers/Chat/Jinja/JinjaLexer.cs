using System.Globalization;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>
/// Cuts a template into tokens, with transformers' settings: trim_blocks (the line break behind a block or comment goes), lstrip_blocks
/// (spaces before one that begins a line go), no trailing line break kept.
/// </summary>
internal sealed partial class JinjaLexer
{
    /// <summary>Longest first.</summary>
    private static readonly string[] Operators =
        ["**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly string _source;
    private readonly List<JinjaToken> _tokens = [];
    private readonly Stack<char> _open = [];
    private int _at;
    private int _line = 1;
    private bool _startsLine = true;

    private JinjaLexer(string source)
    {
        source = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        _source = source.EndsWith('\n') ? source[..^1] : source;
    }

    /// <exception cref="JinjaException">A character, string, comment or raw block that is not a template's.</exception>
    public static List<JinjaToken> Read(string source)
    {
        var lexer = new JinjaLexer(source);
        while (lexer._at < lexer._source.Length)
            lexer.ReadData();
        lexer.Add(JinjaTokenKind.End, "");
        return lexer._tokens;
    }

    /// <summary>str.isidentifier().</summary>
    public static bool IsIdentifier(string text) => text.Length > 0 && (text[0] == '_' || IsLetter(text, 0))
        && Enumerable.Range(0, text.Length).All(i => char.IsLowSurrogate(text[i]) || IsWord(text, i));

    private static bool IsLetter(string text, int index) => CharUnicodeInfo.GetUnicodeCategory(text, index)
        is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
        or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.LetterNumber;

    private static bool IsWord(string text, int index) => text[index] == '_' || IsLetter(text, index)
        || CharUnicodeInfo.GetUnicodeCategory(text, index) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark
            or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.ConnectorPunctuation;

    private char Peek(int ahead = 0) => _at + ahead < _source.Length ? _source[_at + ahead] : '\0';

    private bool At(string text) => string.CompareOrdinal(_source, _at, text, 0, text.Length) == 0;

    private void Add(JinjaTokenKind kind, string text, object? value = null) => _tokens.Add(new(kind, text, value, _line));

    /// <summary>Goes on to a place, counting lines.</summary>
    private void Advance(int to)
    {
        _line += _source.AsSpan(_at, to - _at).Count('\n');
        _at = to;
    }

    private void ReadData()
    {
        int start = _at, open = start;
        do
        {
            open = _source.IndexOf('{', open);
            if (open < 0)
            {
                Add(JinjaTokenKind.Data, _source[start..]);
                Advance(_source.Length);
                return;
            }
        }
        while (!(open + 1 < _source.Length && _source[open + 1] is '{' or '%' or '#') && ++open > 0);
        char kind = _source[open + 1];
        char control = open + 2 < _source.Length && _source[open + 2] is '-' or '+' ? _source[open + 2] : '\0';
        AddData(start, open, control, strips: kind != '{');
        int line = _line;
        Advance(open + (control == '\0' ? 2 : 3));
        if (kind == '#')
            SkipComment(line);
        else if (kind == '%' && RawBegin() is { } raw)
            ReadRaw(raw, line);
        else
        {
            Add(kind == '{' ? JinjaTokenKind.PrintBegin : JinjaTokenKind.BlockBegin, "");
            ReadCode(kind == '{');
        }
    }

    /// <summary>Text before a tag, with what its control sign and lstrip_blocks take away.</summary>
    private void AddData(int start, int end, char control, bool strips)
    {
        var text = _source[start..end];
        if (control == '-')
            text = PyText.TrimEnd(text);
        else if (control != '+' && strips)
        {
            int line = text.LastIndexOf('\n') + 1;
            if ((line > 0 || _startsLine) && text.AsSpan(line).ToArray().All(PyText.IsSpace))
                text = text[..line];
        }
        if (text.Length > 0)
            Add(JinjaTokenKind.Data, text);
        Advance(end);
    }

    private void SkipComment(int line)
    {
        int end = _source.IndexOf("#}", _at, StringComparison.Ordinal);
        if (end < 0 && _at == _source.Length)
            return; // a template that ends with the tag is one, to Jinja
        if (end < 0)
            throw JinjaException.Syntax("Missing end of comment tag", line);
        char control = end > _at ? _source[end - 1] : '\0';
        Advance(end);
        EndTag(control, trims: true);
    }

    /// <summary>Behind an end tag: "-" takes all white space, trim_blocks one line break, "+" nothing.</summary>
    private void EndTag(char control, bool trims)
    {
        int end = _at + 2;
        if (control == '-')
            while (end < _source.Length && PyText.IsSpace(_source[end]))
                end++;
        else if (trims && control != '+' && end < _source.Length && _source[end] == '\n')
            end++;
        Advance(end);
        _startsLine = _source[end - 1] == '\n';
    }

    /// <summary>Where the text of a raw block begins, if the tag here begins one.</summary>
    private int? RawBegin()
    {
        int i = SkipSpaces(_at);
        if (string.CompareOrdinal(_source, i, "raw", 0, 3) != 0)
            return null;
        i = SkipSpaces(i + 3);
        bool strips = i < _source.Length && _source[i] == '-';
        i += strips ? 1 : 0;
        if (string.CompareOrdinal(_source, i, "%}", 0, 2) != 0)
            return null;
        return strips ? SkipSpaces(i + 2) : i + 2;
    }

    private void ReadRaw(int begin, int line)
    {
        Advance(begin);
        _startsLine = _source[begin - 1] == '\n';
        for (int open = begin; (open = _source.IndexOf("{%", open, StringComparison.Ordinal)) >= 0; open += 2)
        {
            char control = open + 2 < _source.Length && _source[open + 2] is '-' or '+' ? _source[open + 2] : '\0';
            int i = SkipSpaces(open + (control == '\0' ? 2 : 3));
            if (string.CompareOrdinal(_source, i, "endraw", 0, 6) != 0)
                continue;
            i = SkipSpaces(i + 6);
            char sign = i < _source.Length && _source[i] is '-' or '+' ? _source[i] : '\0';
            i += sign == '\0' ? 0 : 1;
            if (string.CompareOrdinal(_source, i, "%}", 0, 2) != 0)
                continue;
            AddData(begin, open, control, strips: true);
            Advance(i);
            EndTag(sign, trims: true);
            return;
        }
        if (begin < _source.Length)
            throw JinjaException.Syntax("Missing end of raw directive", line);
    }

    private int SkipSpaces(int i)
    {
        while (i < _source.Length && PyText.IsSpace(_source[i]))
            i++;
        return i;
    }

    private void ReadCode(bool print)
    {
        var end = print ? "}}" : "%}";
        while (true)
        {
            Advance(SkipSpaces(_at));
            if (_at >= _source.Length)
                return;
            if (_open.Count == 0 && (At(end) || Peek() is '-' or '+' && string.CompareOrdinal(_source, _at + 1, end, 0, 2) == 0
                && !(print && Peek() == '+')))
            {
                Add(print ? JinjaTokenKind.PrintEnd : JinjaTokenKind.BlockEnd, "");
                char control = At(end) ? '\0' : Peek();
                _at += control == '\0' ? 0 : 1;
                EndTag(control, trims: !print);
                return;
            }
            ReadToken();
        }
    }

    private void ReadToken()
    {
        char c = Peek();
        if (char.IsAsciiDigit(c))
            ReadNumber();
        else if (c is '\'' or '"')
            ReadString(c);
        else if (IsWord(_source, _at))
        {
            int end = _at;
            while (end < _source.Length && (char.IsLowSurrogate(_source[end]) || IsWord(_source, end)))
                end++;
            var name = _source[_at..end];
            if (!IsIdentifier(name))
                throw JinjaException.Syntax("Invalid character in identifier", _line);
            Add(JinjaTokenKind.Name, name);
            _at = end;
        }
        else
        {
            var operation = Operators.FirstOrDefault(At)
                ?? throw JinjaException.Syntax($"unexpected char {PyRepr.Repr(_source.Substring(_at, PyText.Width(_source, _at)), new())} at {_at}", _line);
            if (operation is "(" or "[" or "{")
                _open.Push(operation == "(" ? ')' : operation == "[" ? ']' : '}');
            else if (operation is ")" or "]" or "}")
            {
                if (!_open.TryPop(out char expected))
                    throw JinjaException.Syntax($"unexpected '{operation}'", _line);
                if (expected != operation[0])
                    throw JinjaException.Syntax($"unexpected '{operation}', expected '{expected}'", _line);
            }
            Add(JinjaTokenKind.Operator, operation);
            _at += operation.Length;
        }
    }
}
