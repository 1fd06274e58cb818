namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>What stands behind a value: attributes, items, calls, filters and tests.</summary>
internal sealed partial class JinjaParser
{
    private Expression Postfix(Expression node)
    {
        for (int length = 0; ; Chain(++length))
        {
            if (Current.Is("."))
            {
                int line = Take().Line;
                var name = Take();
                node = name.Kind switch
                {
                    JinjaTokenKind.Name => new AttributeAccess(node, name.Text, line),
                    JinjaTokenKind.Integer => new ItemAccess(node, new Constant(name.Value, line), line),
                    _ => throw JinjaException.Syntax("expected name or number", name.Line),
                };
            }
            else if (Current.Is("["))
                node = Subscript(node, Take().Line);
            else if (Current.Is("("))
                node = new CallExpression(node, CallArguments(), Current.Line);
            else
                return node;
        }
    }

    private Expression Subscript(Expression node, int line)
    {
        Expression? key = Current.Is(":") ? null : Expression();
        if (!Skip(":"))
        {
            if (!Current.Is(","))
            {
                Expect("]");
                return new ItemAccess(node, key!, line);
            }
            var keys = new List<Expression> { key! };
            while (Skip(",") && !Current.Is("]"))
                keys.Add(Expression());
            Expect("]");
            return new ItemAccess(node, new TupleExpression(keys, line), line);
        }
        var stop = Current.Is(":") || Current.Is("]") ? null : Expression();
        var step = Skip(":") && !Current.Is("]") ? Expression() : null;
        Expect("]");
        return new SliceAccess(node, key, stop, step, line);
    }

    private Arguments CallArguments()
    {
        int line = Current.Line;
        Expect("(");
        var positional = new List<Expression>();
        var named = new List<(string, Expression)>();
        Expression? all = null, allNamed = null;
        for (bool first = true; !Skip(")"); first = false)
        {
            if (!first)
            {
                Expect(",");
                if (Skip(")"))
                    break;
            }
            bool fits;
            if (Skip("*"))
                (fits, all) = (all is null && allNamed is null, Expression());
            else if (Skip("**"))
                (fits, allNamed) = (allNamed is null, Expression());
            else if (Current.Kind == JinjaTokenKind.Name && _tokens[_at + 1].Is("="))
            {
                fits = allNamed is null;
                var name = Take().Text;
                Take();
                named.Add((name, Expression()));
            }
            else
            {
                fits = all is null && allNamed is null && named.Count == 0;
                positional.Add(Expression());
            }
            if (!fits)
                throw JinjaException.Syntax("invalid syntax for function call expression", line);
        }
        return new(positional, named, all, allNamed);
    }

    private Expression FiltersAndTests(Expression node)
    {
        for (int length = 0; ; Chain(++length))
        {
            if (Current.Is("|"))
                node = Filters(node)!;
            else if (Current.IsName("is"))
                node = Test(node);
            else if (Current.Is("("))
                node = new CallExpression(node, CallArguments(), Current.Line);
            else
                return node;
        }
    }

    private Expression? Filters(Expression? node, bool begun = false)
    {
        for (int length = 0; begun || Skip("|"); Chain(++length))
        {
            begun = false;
            var (name, line) = DottedName();
            if (!JinjaFilters.Exists(name))
                _unknown.Add(JinjaException.Syntax($"No filter named '{name}'.", line));
            node = new FilterExpression(node, name, Current.Is("(") ? CallArguments() : Arguments.None, line);
        }
        return node;
    }

    private (string Name, int Line) DottedName()
    {
        var token = ExpectName();
        var name = token.Text;
        while (Skip("."))
            name += "." + ExpectName().Text;
        return (name, token.Line);
    }

    private Expression Test(Expression node)
    {
        int line = Take().Line;
        bool negated = SkipName("not");
        var (name, _) = DottedName();
        var arguments = Arguments.None;
        if (Current.Is("("))
            arguments = CallArguments();
        else if (Current.Kind is JinjaTokenKind.Name or JinjaTokenKind.String or JinjaTokenKind.Integer or JinjaTokenKind.Float
            || Current.Is("(") || Current.Is("[") || Current.Is("{"))
        {
            if (Current.IsName("is"))
                throw JinjaException.Syntax("You cannot chain multiple tests with is", Current.Line);
            if (!Current.IsName("else") && !Current.IsName("or") && !Current.IsName("and"))
            {
                var operand = Postfix(Primary());
                arguments = new([operand], [], null, null);
            }
        }
        if (!JinjaTests.Exists(name))
            _unknown.Add(JinjaException.Syntax($"No test named '{name}'.", line));
        Expression test = new TestExpression(node, name, arguments, line);
        return negated ? new Not(test, line) : test;
    }
}
