namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>What a {% macro %}, or the block of a {% call %}, says.</summary>
/// <param name="Name">Null for a block.</param>
/// <param name="Parameters">Names with their defaults.</param>
/// <param name="Body">What it renders.</param>
/// <param name="Mentions">Names that its body reads: varargs, kwargs and caller exist where they are read.</param>
internal sealed record MacroDefinition(
    string? Name, IReadOnlyList<(string Name, Expression? Default)> Parameters, IReadOnlyList<Statement> Body, IReadOnlySet<string> Mentions);

/// <summary>A macro with the scope that it was defined in.</summary>
internal sealed class Macro(MacroDefinition definition, Scope scope)
{
    public string? Name => definition.Name;

    /// <summary>Renders the macro.</summary>
    /// <exception cref="JinjaException">The arguments do not fit.</exception>
    public object Call(JinjaRun run, PyArguments arguments)
    {
        var inner = new Scope(scope);
        var parameters = definition.Parameters;
        var named = arguments.Named.ToList();
        run.Budget.AllocateItems(4 * parameters.Count + 8);
        for (int i = 0; i < parameters.Count; i++)
        {
            var (name, standard) = parameters[i];
            int given = named.FindIndex(x => x.Name == name);
            if (i < arguments.Positional.Count)
                inner.Set(name, arguments.Positional[i]);
            else if (given >= 0)
            {
                inner.Set(name, named[given].Value);
                named.RemoveAt(given);
            }
            else
                inner.Set(name, standard is null ? new PyUndefined($"parameter '{name}' was not provided")
                    : run.Evaluate(standard, inner));
        }
        if (Reads("caller"))
        {
            int caller = named.FindIndex(x => x.Name == "caller");
            inner.Set("caller", caller >= 0 ? named[caller].Value : new PyUndefined("No caller defined"));
            if (caller >= 0)
                named.RemoveAt(caller);
        }
        if (Reads("kwargs"))
        {
            var dict = new PyDict();
            foreach (var (name, value) in named)
                dict.Set(name, value);
            inner.Set("kwargs", dict);
        }
        else if (named.Count > 0)
            throw JinjaException.Type($"macro {Quoted} takes no keyword argument '{named[0].Name}'");
        if (Reads("varargs"))
            inner.Set("varargs", new PyTuple([.. arguments.Positional.Skip(parameters.Count)]));
        else if (arguments.Positional.Count > parameters.Count)
            throw JinjaException.Type($"macro {Quoted} takes not more than {parameters.Count} argument(s)");
        return run.Captured(run.Capture(definition.Body, inner));
    }

    public object? Attribute(string name) => name switch
    {
        "name" => Name ?? PyMethods.None,
        "arguments" => new PyTuple([.. definition.Parameters.Select(x => x.Name)]),
        "caller" => Reads("caller"),
        "catch_kwargs" => Reads("kwargs"),
        "catch_varargs" => Reads("varargs"),
        _ => null,
    };

    private string Quoted => Name is null ? "None" : $"'{Name}'";

    private bool Reads(string name) => definition.Mentions.Contains(name) && definition.Parameters.All(x => x.Name != name);
}
