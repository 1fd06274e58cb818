namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Statements of a template. Nesting and the length of chains are limited, so that no template overflows the stack.</summary>
internal sealed partial class JinjaParser
{
    private readonly List<JinjaToken> _tokens;
    private readonly JinjaBudget _budget = new();
    private readonly Stack<string> _tags = [];
    private readonly Stack<string[]> _ends = [];
    private readonly Stack<HashSet<string>> _mentions = [];
    private readonly HashSet<string> _blocks = new(StringComparer.Ordinal);
    private readonly List<JinjaException> _unknown = [];
    private int _at;
    private int _loops;
    private int _nested;
    private int _unforgiven;

    private JinjaParser(List<JinjaToken> tokens) => _tokens = tokens;

    private JinjaToken Current => _tokens[_at];

    /// <exception cref="JinjaException">The source is not a template.</exception>
    public static IReadOnlyList<Statement> Parse(string source)
    {
        var parser = new JinjaParser(JinjaLexer.Read(source));
        parser._mentions.Push([]);
        try
        {
            var statements = parser.Statements([]);
            return parser._unknown.Count == 0 ? statements : throw parser._unknown[0];
        }
        catch (JinjaException e) when (e.Line == 0)
        {
            throw new JinjaException(e.Message, e.Fault, parser.Current.Line);
        }
    }

    private JinjaToken Take() => Current.Kind == JinjaTokenKind.End ? Current : _tokens[_at++];

    private bool SkipName(string name)
    {
        if (!Current.IsName(name))
            return false;
        _at++;
        return true;
    }

    private bool Skip(string operation)
    {
        if (!Current.Is(operation))
            return false;
        _at++;
        return true;
    }

    private JinjaToken ExpectName(string? name = null) => Current.Kind == JinjaTokenKind.Name && (name is null || Current.Text == name)
        ? Take() : throw Expected(name ?? "name");

    private void Expect(string operation)
    {
        if (!Skip(operation))
            throw Expected(operation);
    }

    private JinjaException Expected(string what) => JinjaException.Syntax(Current.Kind == JinjaTokenKind.End
        ? $"unexpected end of template, expected '{what}'." : $"expected token '{what}', got '{Current.Description}'", Current.Line);

    private void ExpectEnd(JinjaTokenKind kind)
    {
        if (Current.Kind != kind)
            throw Expected(kind == JinjaTokenKind.BlockEnd ? "end of statement block" : "end of print statement");
        _at++;
    }

    /// <summary>Everything up to one of the tags that end it; the name of that tag is the next token.</summary>
    private List<Statement> Statements(string[] ends)
    {
        _budget.Enter();
        _ends.Push(ends);
        var statements = new List<Statement>();
        while (true)
        {
            var token = Take();
            switch (token.Kind)
            {
                case JinjaTokenKind.Data:
                    statements.Add(new DataStatement(token.Text, token.Line));
                    break;
                case JinjaTokenKind.PrintBegin:
                    statements.Add(new PrintStatement(Tuple(), token.Line));
                    ExpectEnd(JinjaTokenKind.PrintEnd);
                    break;
                case JinjaTokenKind.BlockBegin:
                    if (Current.Kind == JinjaTokenKind.Name && ends.Contains(Current.Text))
                    {
                        _ends.Pop();
                        _budget.Leave();
                        return statements;
                    }
                    statements.AddRange(StatementOf());
                    ExpectEnd(JinjaTokenKind.BlockEnd);
                    break;
                default:
                    if (ends.Length > 0)
                        throw Unknown(null, token.Line);
                    _ends.Pop();
                    _budget.Leave();
                    return statements;
            }
        }
    }

    /// <summary>The body of a statement: from the end of its tag to one of the tags given, whose name is taken and returned.</summary>
    private List<Statement> Body(out string end, params string[] ends)
    {
        Skip(":");
        ExpectEnd(JinjaTokenKind.BlockEnd);
        var body = Statements(ends);
        end = Take().Text;
        return body;
    }

    private List<Statement> Body(string end) => Body(out _, end);

    private JinjaException Unknown(string? tag, int line)
    {
        var message = tag is null ? "Unexpected end of template." : $"Encountered unknown tag '{tag}'.";
        if (_ends.Peek() is { Length: > 0 } looking)
        {
            var wanted = string.Join(" or ", looking.Select(x => $"'{x}'"));
            message += tag is not null && _ends.Any(x => x.Contains(tag))
                ? $" You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for {wanted}."
                : $" Jinja was looking for the following tags: {wanted}.";
        }
        if (_tags.Count > 0)
            message += $" The innermost block that needs to be closed is '{_tags.Peek()}'.";
        return JinjaException.Syntax(message, line);
    }

    private IEnumerable<Statement> StatementOf()
    {
        var token = Current.Kind == JinjaTokenKind.Name ? Current : throw JinjaException.Syntax("tag name expected", Current.Line);
        int line = token.Line;
        switch (token.Text)
        {
            case "break" or "continue":
                Take();
                return _loops > 0 ? [new JumpStatement(token.Text == "break" ? Flow.Break : Flow.Continue, line)]
                    : throw JinjaException.Syntax($"'{token.Text}' outside loop", line);
            case "print":
                Take();
                return Printed(line);
            case "include" or "extends" or "import" or "from":
                Take();
                while (Current.Kind is not (JinjaTokenKind.BlockEnd or JinjaTokenKind.End))
                    _at++;
                return [new LoadStatement(token.Text, line)];
        }
        Func<int, Statement> parse = token.Text switch
        {
            "for" => For,
            "if" => If,
            "set" => Set,
            "with" => With,
            "macro" => MacroOf,
            "call" => Call,
            "filter" => FilterBlock,
            "autoescape" => Autoescape,
            "generation" => Generation,
            "block" => Block,
            _ => throw Unknown(token.Text, line),
        };
        Take();
        _tags.Push(token.Text);
        var statement = parse(line);
        _tags.Pop();
        return [statement];
    }
}
