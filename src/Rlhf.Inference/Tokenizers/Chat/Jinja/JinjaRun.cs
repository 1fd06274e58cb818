using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>What a statement does to the loop around it.</summary>
internal enum Flow
{
    Next,
    Break,
    Continue,
}

/// <summary>One rendering: its budget, its output and the time it takes for now.</summary>
internal sealed class JinjaRun(DateTimeOffset now)
{
    public JinjaBudget Budget { get; } = new();

    public DateTimeOffset Now { get; } = now;

    /// <summary>Where output goes: the text itself, or that of a macro or a block that is being set.</summary>
    public StringBuilder Output { get; private set; } = new();

    /// <summary>The rendered text's own output.</summary>
    public StringBuilder Root { get; } = new();

    /// <summary>Texts are escaped for HTML; only {% autoescape %} turns it on.</summary>
    public bool Escapes { get; set; }

    /// <summary>Begin and end (exclusive) of what {% generation %} blocks wrote, in UTF-16 units of the text.</summary>
    public List<(int Start, int End)> Generated { get; } = [];

    /// <summary>Renders a template's statements into the text.</summary>
    public void Render(IReadOnlyList<Statement> body, Scope scope)
    {
        Output = Root;
        foreach (var statement in body)
            RenderOne(statement, scope);
    }

    /// <summary>Renders statements where output goes now.</summary>
    public Flow RenderAll(IReadOnlyList<Statement> body, Scope scope)
    {
        Budget.Enter();
        var flow = Flow.Next;
        for (int i = 0; i < body.Count && flow == Flow.Next; i++)
            flow = RenderOne(body[i], scope);
        Budget.Leave();
        return flow;
    }

    /// <summary>Renders statements into a text of their own.</summary>
    public string Capture(IReadOnlyList<Statement> body, Scope scope)
    {
        var outer = Output;
        Output = new();
        RenderAll(body, scope);
        var text = Output.ToString();
        Budget.Allocate(text.Length);
        Output = outer;
        return text;
    }

    /// <summary>A captured text: safe where texts are escaped, since its parts have been.</summary>
    public object Captured(string text) => Escapes ? new PyMarkup(text) : text;

    public object? Evaluate(Expression expression, Scope scope)
    {
        Budget.Step();
        Budget.Enter();
        var value = expression.Evaluate(this, scope);
        Budget.Leave();
        return value;
    }

    public void Write(string text)
    {
        Budget.Step(1 + (text.Length >> 5));
        if ((long)Output.Length + text.Length > JinjaBudget.MaxLength)
            Budget.Allocate((long)Output.Length + text.Length);
        Output.Append(text);
    }

    /// <summary>{{ value }}.</summary>
    public void Print(object? value) =>
        Write(Escapes ? PyHtml.Escape(value, Budget).Text : PyRepr.Str(value, Budget));

    /// <summary>Calls a function, a macro or whatever else Python can call.</summary>
    public object? Call(object? callable, PyArguments arguments)
    {
        Budget.Step();
        switch (callable)
        {
            case PyFunction x:
                return x.Call(arguments);
            case Macro x:
                return x.Call(this, arguments);
            case LoopContext x:
                return x.Recurse(arguments);
            case PyJoiner x:
                arguments.Bind("joiner", 0);
                bool used = x.Used;
                x.Used = true;
                return used ? x.Separator : "";
            case PyUndefined x:
                throw x.Error();
            default:
                throw JinjaException.Type($"'{PyType.Name(callable)}' object is not callable");
        }
    }

    private Flow RenderOne(Statement statement, Scope scope)
    {
        Budget.Step();
        try
        {
            return statement.Render(this, scope);
        }
        catch (JinjaException e) when (Place(e, statement.Line))
        {
            throw;
        }
    }

    /// <summary>The innermost statement is where an error happened.</summary>
    private static bool Place(JinjaException error, int line)
    {
        if (error.Line == 0)
            error.Line = line;
        return false;
    }
}
