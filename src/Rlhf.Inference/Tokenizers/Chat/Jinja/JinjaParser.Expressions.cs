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

        void Check(Expression target)
        {
            switch (target)
            {
                case Name { Id: "loop" } when _nested > 0:
                    throw JinjaException.Syntax("the variable loop of a for cannot be set", target.Line);
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
}
