namespace Rlhf.Tokenizers.Chat.Jinja;

// The nodes of expressions. Each evaluates itself; JinjaRun.Evaluate counts every step and level.

internal abstract class Expression(int line)
{
    public int Line { get; } = line;

    public abstract object? Evaluate(JinjaRun run, Scope scope);
}

internal sealed class Constant(object? value, int line) : Expression(line)
{
    public object? Value { get; } = value;

    public override object? Evaluate(JinjaRun run, Scope scope) => Value;
}

internal sealed class Name(string id, int line) : Expression(line)
{
    public string Id { get; } = id;

    public override object? Evaluate(JinjaRun run, Scope scope) => scope.Get(Id);
}

/// <summary>namespace.attribute as the target of a set.</summary>
internal sealed class NamespaceTarget(string name, string attribute, int line) : Expression(line)
{
    public string Name { get; } = name;

    public string Attribute { get; } = attribute;

    public override object? Evaluate(JinjaRun run, Scope scope) => PyAccess.Attribute(scope.Get(Name), Attribute, run.Budget);
}

internal sealed class ListExpression(IReadOnlyList<Expression> items, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope)
    {
        run.Budget.AllocateItems(items.Count);
        var list = new List<object?>(items.Count);
        foreach (var item in items)
            list.Add(run.Evaluate(item, scope));
        return list;
    }
}

internal sealed class TupleExpression(IReadOnlyList<Expression> items, int line) : Expression(line)
{
    public IReadOnlyList<Expression> Items { get; } = items;

    public override object? Evaluate(JinjaRun run, Scope scope)
    {
        run.Budget.AllocateItems(Items.Count);
        return new PyTuple([.. Items.Select(x => run.Evaluate(x, scope))]);
    }
}

internal sealed class DictExpression(IReadOnlyList<(Expression Key, Expression Value)> pairs, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope)
    {
        var dict = new PyDict();
        foreach (var (key, value) in pairs)
            dict.Set(run.Evaluate(key, scope), run.Evaluate(value, scope), run.Budget);
        return dict;
    }
}

internal sealed class Conditional(Expression condition, Expression then, Expression? otherwise, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) =>
        PyCompare.IsTrue(run.Evaluate(condition, scope)) ? run.Evaluate(then, scope)
        : otherwise is not null ? run.Evaluate(otherwise, scope)
        : new PyUndefined($"the inline if-expression on line {Line} evaluated to false and no else section was defined.");
}

internal sealed class Logical(bool isAnd, Expression left, Expression right, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope)
    {
        var value = run.Evaluate(left, scope);
        return PyCompare.IsTrue(value) == isAnd ? run.Evaluate(right, scope) : value;
    }
}

internal sealed class Not(Expression operand, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) => !PyCompare.IsTrue(run.Evaluate(operand, scope));
}

internal sealed class Arithmetic(string operation, Expression left, Expression right, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) =>
        PyMath.Apply(operation, run.Evaluate(left, scope), run.Evaluate(right, scope), run.Budget);
}

internal sealed class Signed(string operation, Expression operand, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) => PyMath.Sign(operation, run.Evaluate(operand, scope));
}

/// <summary>a ~ b ~ c: texts, joined.</summary>
internal sealed class Concatenation(IReadOnlyList<Expression> parts, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope)
    {
        var values = parts.Select(x => run.Evaluate(x, scope)).ToArray();
        if (!run.Escapes)
            return PyStrings.Join("", values.Select(x => PyRepr.Str(x, run.Budget)), run.Budget);
        return new PyMarkup(PyStrings.Join("", values.Select(x => PyHtml.Escape(x, run.Budget).Text), run.Budget));
    }
}

/// <summary>a &lt; b &lt;= c: every neighbors' comparison, the first that fails ends it.</summary>
internal sealed class Comparison(Expression first, IReadOnlyList<(string Operation, Expression Operand)> rest, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope)
    {
        var left = run.Evaluate(first, scope);
        foreach (var (operation, operand) in rest)
        {
            var right = run.Evaluate(operand, scope);
            if (!Holds(operation, left, right, run.Budget))
                return false;
            left = right;
        }
        return true;
    }

    public static bool Holds(string operation, object? left, object? right, JinjaBudget budget) => operation switch
    {
        "==" => PyCompare.Equal(left, right, budget),
        "!=" => !PyCompare.Equal(left, right, budget),
        "in" => PyIteration.Contains(right, left, budget),
        "not in" => !PyIteration.Contains(right, left, budget),
        _ => PyCompare.Order(left, right, operation, budget),
    };
}

internal sealed class AttributeAccess(Expression target, string attribute, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) =>
        PyAccess.Attribute(run.Evaluate(target, scope), attribute, run.Budget);
}

internal sealed class ItemAccess(Expression target, Expression key, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) =>
        PyAccess.Item(run.Evaluate(target, scope), run.Evaluate(key, scope), run.Budget);
}

internal sealed class SliceAccess(Expression target, Expression? start, Expression? stop, Expression? step, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope)
    {
        var value = run.Evaluate(target, scope);
        return PyAccess.Slice(value, Bound(start), Bound(stop), Bound(step), run.Budget);

        object? Bound(Expression? bound) => bound is null ? null : run.Evaluate(bound, scope);
    }
}

/// <summary>The arguments of a call, a filter or a test.</summary>
internal sealed class Arguments(
    IReadOnlyList<Expression> positional, IReadOnlyList<(string Name, Expression Value)> named, Expression? all, Expression? allNamed)
{
    public static Arguments None { get; } = new([], [], null, null);

    public PyArguments Evaluate(JinjaRun run, Scope scope, object? caller = null)
    {
        if (positional.Count == 0 && named.Count == 0 && all is null && allNamed is null && caller is null)
            return PyArguments.None;
        run.Budget.AllocateItems(positional.Count + named.Count);
        List<object?> values = [.. positional.Select(x => run.Evaluate(x, scope))];
        List<(string Name, object? Value)> names = [.. named.Select(x => (x.Name, run.Evaluate(x.Value, scope)))];
        if (all is not null)
            values.AddRange(PyIteration.ToList(run.Evaluate(all, scope), run.Budget));
        if (allNamed is not null)
        {
            if (run.Evaluate(allNamed, scope) is not PyDict dict)
                throw JinjaException.Type("argument after ** must be a mapping");
            run.Budget.AllocateItems(dict.Count);
            foreach (var (key, value) in dict.Pairs)
                names.Add((key as string ?? throw JinjaException.Type("keywords must be strings"), value));
        }
        if (caller is not null)
            names.Add(("caller", caller));
        if (names.Count > 1 && names.DistinctBy(x => x.Name).Count() < names.Count)
            throw JinjaException.Type("a keyword argument is given twice");
        return new(values, names);
    }
}

internal sealed class CallExpression(Expression target, Arguments arguments, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) => Call(run, scope, null);

    public object? Call(JinjaRun run, Scope scope, Macro? caller)
    {
        var callable = run.Evaluate(target, scope);
        return run.Call(callable, arguments.Evaluate(run, scope, caller));
    }
}

/// <summary>value|name(arguments); without a value it is the filter of a block.</summary>
internal sealed class FilterExpression(Expression? target, string name, Arguments arguments, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) =>
        JinjaFilters.Apply(run, name, run.Evaluate(target!, scope), arguments.Evaluate(run, scope));

    public object? Apply(JinjaRun run, Scope scope, object? value)
    {
        if (target is FilterExpression inner)
            value = inner.Apply(run, scope, value);
        return JinjaFilters.Apply(run, name, value, arguments.Evaluate(run, scope));
    }
}

internal sealed class TestExpression(Expression target, string name, Arguments arguments, int line) : Expression(line)
{
    public override object? Evaluate(JinjaRun run, Scope scope) =>
        JinjaTests.Holds(run, name, run.Evaluate(target, scope), arguments.Evaluate(run, scope));
}
