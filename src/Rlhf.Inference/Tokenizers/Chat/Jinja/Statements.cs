namespace Rlhf.Tokenizers.Chat.Jinja;

// The nodes of statements.

internal abstract class Statement(int line)
{
    public int Line { get; } = line;

    /// <summary>The statements within this one.</summary>
    public virtual IEnumerable<Statement> Inner => [];

    public abstract Flow Render(JinjaRun run, Scope scope);
}

internal sealed class DataStatement(string text, int line) : Statement(line)
{
    public override Flow Render(JinjaRun run, Scope scope)
    {
        run.Write(text);
        return Flow.Next;
    }
}

internal sealed class PrintStatement(Expression value, int line) : Statement(line)
{
    public override Flow Render(JinjaRun run, Scope scope)
    {
        run.Print(run.Evaluate(value, scope));
        return Flow.Next;
    }
}

internal sealed class JumpStatement(Flow flow, int line) : Statement(line)
{
    public override Flow Render(JinjaRun run, Scope scope) => flow;
}

internal sealed class IfStatement(
    IReadOnlyList<(Expression Condition, IReadOnlyList<Statement> Body)> branches, IReadOnlyList<Statement> otherwise, int line)
    : Statement(line)
{
    public override IEnumerable<Statement> Inner => branches.SelectMany(x => x.Body).Concat(otherwise);

    public override Flow Render(JinjaRun run, Scope scope)
    {
        foreach (var (condition, body) in branches)
            if (PyCompare.IsTrue(run.Evaluate(condition, scope)))
                return run.RenderAll(body, scope);
        return run.RenderAll(otherwise, scope);
    }
}

internal sealed class SetStatement(Expression target, Expression value, int line) : Statement(line)
{
    public override Flow Render(JinjaRun run, Scope scope)
    {
        Assign(run, scope, target, run.Evaluate(value, scope));
        return Flow.Next;
    }

    /// <summary>Gives a value to a name, a namespace's attribute, or the parts of a value to those of a tuple.</summary>
    public static void Assign(JinjaRun run, Scope scope, Expression target, object? value)
    {
        switch (target)
        {
            case Name x:
                scope.Set(x.Id, value);
                break;
            case NamespaceTarget x:
                if (scope.Get(x.Name) is not PyNamespace space)
                    throw new JinjaException("cannot assign attribute on non-namespace object");
                run.Budget.AllocateItems(8);
                space.Values.Set(x.Attribute, value);
                break;
            case TupleExpression x:
                var items = PyIteration.ToList(value, run.Budget);
                if (items.Count > x.Items.Count)
                    throw new JinjaException($"too many values to unpack (expected {x.Items.Count}, got {items.Count})");
                if (items.Count < x.Items.Count)
                    throw new JinjaException($"not enough values to unpack (expected {x.Items.Count}, got {items.Count})");
                for (int i = 0; i < items.Count; i++)
                    Assign(run, scope, x.Items[i], items[i]);
                break;
        }
    }
}

internal sealed class SetBlockStatement(Expression target, FilterExpression? filter, IReadOnlyList<Statement> body, int line)
    : Statement(line)
{
    public override IEnumerable<Statement> Inner => body;

    public override Flow Render(JinjaRun run, Scope scope)
    {
        var value = run.Captured(run.Capture(body, new(scope)));
        SetStatement.Assign(run, scope, target, filter is null ? value : filter.Apply(run, scope, value));
        return Flow.Next;
    }
}

internal sealed class WithStatement(IReadOnlyList<(Expression Target, Expression Value)> values, IReadOnlyList<Statement> body, int line)
    : Statement(line)
{
    public override IEnumerable<Statement> Inner => body;

    public override Flow Render(JinjaRun run, Scope scope)
    {
        var inner = new Scope(scope);
        foreach (var (target, value) in values.Select(x => (x.Target, run.Evaluate(x.Value, scope))).ToArray())
            SetStatement.Assign(run, inner, target, value);
        return run.RenderAll(body, inner);
    }
}

internal sealed class FilterStatement(FilterExpression filter, IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public override IEnumerable<Statement> Inner => body;

    public override Flow Render(JinjaRun run, Scope scope)
    {
        var inner = new Scope(scope);
        var text = filter.Apply(run, inner, run.Captured(run.Capture(body, inner)));
        run.Print(text is string or PyMarkup ? text
            : throw JinjaException.Type($"the filter of a block gives '{PyType.Name(text)}' and not a text"));
        return Flow.Next;
    }
}

internal sealed class AutoescapeStatement(Expression escapes, IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public override IEnumerable<Statement> Inner => body;

    public override Flow Render(JinjaRun run, Scope scope)
    {
        bool before = run.Escapes;
        run.Escapes = PyCompare.IsTrue(run.Evaluate(escapes, scope));
        var flow = run.RenderAll(body, new(scope));
        run.Escapes = before;
        return flow;
    }
}

/// <summary>{% generation %}: what it writes is the assistant's.</summary>
internal sealed class GenerationStatement(IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public override IEnumerable<Statement> Inner => body;

    public override Flow Render(JinjaRun run, Scope scope)
    {
        var inner = new Scope(scope); // transformers makes it a call block, which has these of its own
        inner.Set("varargs", PyTuple.Empty);
        inner.Set("kwargs", new PyDict());
        inner.Set("caller", new PyUndefined("No caller defined"));
        var text = run.Capture(body, inner);
        run.Generated.Add((run.Root.Length, run.Root.Length + text.Length));
        run.Write(text);
        return Flow.Next;
    }
}

/// <summary>{% block name %}: rendered where it stands; it sees what the template's own level has set.</summary>
internal sealed class BlockStatement(bool scoped, IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public override IEnumerable<Statement> Inner => body;

    public override Flow Render(JinjaRun run, Scope scope)
    {
        run.RenderAll(body, new(scoped ? scope : scope.Root));
        return Flow.Next;
    }
}

internal sealed class MacroStatement(MacroDefinition definition, int line) : Statement(line)
{
    public override IEnumerable<Statement> Inner => definition.Body;

    public override Flow Render(JinjaRun run, Scope scope)
    {
        run.Budget.Allocate(64);
        scope.Set(definition.Name!, new Macro(definition, scope));
        return Flow.Next;
    }
}

/// <summary>{% call(arguments) macro(...) %}: the block is what the macro's caller() renders.</summary>
internal sealed class CallStatement(MacroDefinition caller, CallExpression call, int line) : Statement(line)
{
    public override IEnumerable<Statement> Inner => caller.Body;

    public override Flow Render(JinjaRun run, Scope scope)
    {
        run.Budget.Allocate(64);
        run.Print(call.Call(run, scope, new Macro(caller, scope)));
        return Flow.Next;
    }
}

/// <summary>{% include %} and its kin: there are no other templates to take.</summary>
internal sealed class LoadStatement(string tag, int line) : Statement(line)
{
    public override Flow Render(JinjaRun run, Scope scope) =>
        throw new JinjaException($"{{% {tag} %}} has nothing to load from: a chat template stands alone", JinjaFault.Type);
}
