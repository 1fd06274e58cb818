namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Expressions, in Jinja's order: if/else, or, and, not, comparisons, + and -, ~, * / // %, **, signs, then filters and tests.</summary>
internal sealed partial class JinjaParser
{
    /// <summary>Operations in a row that nest to the left.</summary>
    private const int LongestChain = 400;

    private Expression Expression(bool conditional = true)
    {
        _budget.Enter();
        var expression = conditional ? IfElse() : Or();
        _budget.Leave();
        return expression;
    }

    private Expression IfElse()
    {
        int line = Current.Line, known = _unknown.Count;
        var then = Or();
        for (int length = 0; SkipName("if"); Chain(++length))
        {
            var condition = Or();
            then = new Conditional(condition, then, SkipName("else") ? Expression() : null, line);
            line = Current.Line;
            Forgive(known);
        }
        return then;
    }

    private Expression Or() => LeftToRight(And, token => token.IsName("or"), (_, left, right, line) => new Logical(false, left, right, line));

    private Expression And() => LeftToRight(Negation, token => token.IsName("and"), (_, left, right, line) => new Logical(true, left, right, line));

    private Expression Negation()
    {
        if (!Current.IsName("not"))
            return Compare();
        int line = Take().Line;
        _budget.Enter();
        var operand = Negation();
        _budget.Leave();
        return new Not(operand, line);
    }

    private Expression Compare()
    {
        int line = Current.Line;
        var first = Sum();
        var rest = new List<(string, Expression)>();
        while (true)
        {
            string? operation = null;
            if (Current.Kind == JinjaTokenKind.Operator && Current.Text is "==" or "!=" or "<" or "<=" or ">" or ">=")
                operation = Take().Text;
            else if (SkipName("in"))
                operation = "in";
            else if (Current.IsName("not") && _tokens[_at + 1].IsName("in"))
            {
                operation = "not in";
                _at += 2;
            }
            if (operation is null)
                return rest.Count == 0 ? first : new Comparison(first, rest, line);
            rest.Add((operation, Sum()));
        }
    }

    private Expression Sum() => LeftToRight(Concat, token => token.Is("+") || token.Is("-"), Operation);

    private Expression Concat()
    {
        int line = Current.Line;
        var parts = new List<Expression> { Product() };
        while (Skip("~"))
            parts.Add(Product());
        return parts.Count == 1 ? parts[0] : new Concatenation(parts, line);
    }

    private Expression Product() => LeftToRight(Power,
        token => token.Is("*") || token.Is("/") || token.Is("//") || token.Is("%"), Operation);

    private Expression Power() => LeftToRight(() => Unary(), token => token.Is("**"), Operation);

    private static Arithmetic Operation(string operation, Expression left, Expression right, int line) => new(operation, left, right, line);

    private Expression LeftToRight(
        Func<Expression> operand, Func<JinjaToken, bool> isOperation, Func<string, Expression, Expression, int, Expression> make)
    {
        int line = Current.Line;
        var left = operand();
        for (int length = 0; isOperation(Current); Chain(++length))
        {
            var operation = Take().Text;
            left = make(operation, left, operand(), line);
            line = Current.Line;
        }
        return left;
    }

    private static void Chain(int length)
    {
        if (length > LongestChain)
            throw new JinjaException($"an expression has more than {LongestChain} operations in a row", JinjaFault.Limit);
    }

    private Expression Unary(bool filters = true)
    {
        _budget.Enter();
        int line = Current.Line;
        var node = Current.Is("-") || Current.Is("+") ? new Signed(Take().Text, Unary(false), line) : Primary();
        node = Postfix(node);
        _budget.Leave();
        return filters ? FiltersAndTests(node) : node;
    }

    private Expression Primary(bool withNamespace = false)
    {
        var token = Take();
        switch (token.Kind)
        {
            case JinjaTokenKind.Name when token.Text is "true" or "True" or "false" or "False":
                return new Constant(token.Text is "true" or "True", token.Line);
            case JinjaTokenKind.Name when token.Text is "none" or "None":
                return new Constant(null, token.Line);
            case JinjaTokenKind.Name when withNamespace && Current.Is("."):
                Take();
                return new NamespaceTarget(token.Text, ExpectName().Text, token.Line);
            case JinjaTokenKind.Name:
                _mentions.Peek().Add(token.Text);
                return new Name(token.Text, token.Line);
            case JinjaTokenKind.String:
                var text = token.Text;
                while (Current.Kind == JinjaTokenKind.String)
                    text += Take().Text;
                return new Constant(text, token.Line);
            case JinjaTokenKind.Integer or JinjaTokenKind.Float:
                return new Constant(token.Value, token.Line);
            case JinjaTokenKind.Operator when token.Text == "(":
                var inner = Tuple(parentheses: true);
                Expect(")");
                return inner;
            case JinjaTokenKind.Operator when token.Text == "[":
                return new ListExpression(Sequence("]", () => Expression()), token.Line);
            case JinjaTokenKind.Operator when token.Text == "{":
                return new DictExpression(Sequence("}", () =>
                {
                    var key = Expression();
                    Expect(":");
                    return (key, Expression());
                }), token.Line);
            default:
                throw JinjaException.Syntax($"unexpected '{token.Description}'", token.Line);
        }
    }

    private List<T> Sequence<T>(string end, Func<T> item)
    {
        var items = new List<T>();
        while (!Skip(end))
        {
            if (items.Count > 0)
            {
                Expect(",");
                if (Skip(end))
                    break;
            }
            items.Add(item());
        }
        return items;
    }

    /// <summary>One expression, or a tuple of those between commas.</summary>
    /// <param name="conditional">if/else may follow.</param>
    /// <param name="end">A name that ends it.</param>
    /// <param name="parentheses">It stands in parentheses, which may be empty.</param>
    /// <param name="primary">Reads the items of a target.</param>
    private Expression Tuple(bool conditional = true, string? end = null, bool parentheses = false, Func<Expression>? primary = null)
    {
        int line = Current.Line;
        var items = new List<Expression>();
        bool tuple = false;
        while (true)
        {
            if (items.Count > 0)
                Expect(",");
            if (Current.Kind is JinjaTokenKind.PrintEnd or JinjaTokenKind.BlockEnd || Current.Is(")") || end is not null && Current.IsName(end))
                break;
            items.Add(primary is null ? Expression(conditional) : primary());
            if (!Current.Is(","))
                break;
            tuple = true;
        }
        if (tuple)
            return new TupleExpression(items, line);
        return items.Count > 0 ? items[0] : parentheses ? new TupleExpression(items, line)
            : throw JinjaException.Syntax($"Expected an expression, got '{Current.Description}'", Current.Line);
    }

    private Expression Target(bool inLoop = false, bool withNamespace = false)
    {
        var mentioned = _mentions.Peek().ToHashSet();
        var target = Tuple(end: inLoop ? "in" : null, primary: () => Primary(withNamespace));
        _mentions.Pop();
        _mentions.Push(mentioned); // a target is not read
        Check(target);
        return target;

        static void Check(Expression target)
        {
            switch (target)
            {
                case TupleExpression x:
                    foreach (var item in x.Items)
                        Check(item);
                    break;
                case not (Name or NamespaceTarget):
                    throw JinjaException.Syntax($"can't assign to '{Kind(target)}'", target.Line);
            }
        }

        static string Kind(Expression target) => target switch
        {
            Constant => "const",
            ListExpression => "list",
            DictExpression => "dict",
            _ => "expression",
        };
    }

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
