namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>One method for each tag.</summary>
internal sealed partial class JinjaParser
{
    private List<Statement> Printed(int line)
    {
        var all = new List<Statement>();
        while (Current.Kind is not (JinjaTokenKind.BlockEnd or JinjaTokenKind.End))
        {
            if (all.Count > 0)
                Expect(",");
            all.Add(new PrintStatement(Expression(), line));
        }
        return all;
    }

    private ForStatement For(int line)
    {
        _nested++;
        var target = Target(inLoop: true);
        ExpectName("in");
        var items = Tuple(conditional: false, end: "recursive");
        var condition = SkipName("if") ? Expression() : null;
        bool recursive = SkipName("recursive");
        _loops++;
        var body = Body(out var end, "endfor", "else");
        _loops--;
        var otherwise = end == "else" ? Body("endfor") : [];
        _unforgiven = _unknown.Count;
        _nested--;
        return new(target, items, condition, recursive, body, otherwise, line);
    }

    /// <summary>
    /// Filters and tests that do not exist are an error when the template is read, except those that a condition may keep from being
    /// reached: they are one when they are.
    /// </summary>
    private void Forgive(int known)
    {
        known = Math.Max(known, _unforgiven);
        if (_unknown.Count > known)
            _unknown.RemoveRange(known, _unknown.Count - known);
    }

    private IfStatement If(int line)
    {
        int known = _unknown.Count;
        var branches = new List<(Expression, IReadOnlyList<Statement>)>();
        while (true)
        {
            var condition = Tuple(conditional: false);
            branches.Add((condition, Body(out var end, "elif", "else", "endif")));
            if (end == "elif")
                continue;
            var otherwise = end == "else" ? Body("endif") : [];
            Forgive(known);
            return new(branches, otherwise, line);
        }
    }

    private Statement Set(int line)
    {
        var target = Target(withNamespace: true);
        if (Skip("="))
            return new SetStatement(target, Tuple(), line);
        var filter = Filters(null);
        return new SetBlockStatement(target, filter as FilterExpression, Function(() => Body("endset"), keepsLoops: true), line);
    }

    private WithStatement With(int line)
    {
        var values = new List<(Expression, Expression)>();
        while (Current.Kind is not (JinjaTokenKind.BlockEnd or JinjaTokenKind.End))
        {
            if (values.Count > 0)
                Expect(",");
            var target = Target();
            Expect("=");
            values.Add((target, Expression()));
        }
        return new(values, Body("endwith"), line);
    }

    private MacroStatement MacroOf(int line)
    {
        var name = ExpectName().Text;
        return new(Definition(name, Parameters(), "endmacro"), line);
    }

    private CallStatement Call(int line)
    {
        var parameters = Current.Is("(") ? Parameters() : [];
        if (Expression() is not CallExpression call)
            throw JinjaException.Syntax("expected call", line);
        return new(Definition(null, parameters, "endcall"), call, line);
    }

    private MacroDefinition Definition(string? name, List<(string, Expression?)> parameters, string end)
    {
        if (parameters.Any(x => x is ("caller", null)))
            throw JinjaException.Syntax("the parameter \"caller\" of a macro must be omitted or be given a default", Current.Line);
        _mentions.Push([]);
        var body = Function(() => Body(end));
        var mentions = _mentions.Pop();
        _mentions.Peek().UnionWith(mentions);
        return new(name, parameters, body, mentions);
    }

    /// <summary>A body that loops around it do not reach into.</summary>
    private List<Statement> Function(Func<List<Statement>> body, bool keepsLoops = false)
    {
        int loops = _loops;
        _loops = keepsLoops ? loops : 0;
        var statements = body();
        _loops = loops;
        _unforgiven = _unknown.Count;
        return statements;
    }

    private List<(string, Expression?)> Parameters()
    {
        var parameters = new List<(string, Expression?)>();
        Expect("(");
        while (!Current.Is(")"))
        {
            if (parameters.Count > 0)
                Expect(",");
            var name = ExpectName().Text;
            var standard = Skip("=") ? Expression() : null;
            if (standard is null && parameters.Count > 0 && parameters[^1].Item2 is not null)
                throw JinjaException.Syntax("non-default argument follows default argument", Current.Line);
            if (parameters.Any(x => x.Item1 == name))
                throw JinjaException.Syntax($"duplicate argument '{name}' in function definition", Current.Line);
            parameters.Add((name, standard));
        }
        Expect(")");
        return parameters;
    }

    private FilterStatement FilterBlock(int line)
    {
        var filter = (FilterExpression)Filters(null, begun: true)!;
        return new(filter, Body("endfilter"), line);
    }

    private AutoescapeStatement Autoescape(int line) => new(Expression(), Body("endautoescape"), line);

    private GenerationStatement Generation(int line) => new(Function(() => Body("endgeneration")), line);

    private BlockStatement Block(int line)
    {
        var name = ExpectName().Text;
        if (!_blocks.Add(name))
            throw JinjaException.Syntax($"block '{name}' defined twice", line);
        bool scoped = SkipName("scoped");
        SkipName("required");
        var body = Function(() => Body("endblock"));
        SkipName(name);
        return new(scoped, body, line);
    }
}
