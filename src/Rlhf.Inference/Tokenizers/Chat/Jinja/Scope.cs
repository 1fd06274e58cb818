namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Names that are set at one level of a template: what is set within a loop, a macro or a block ends with it.</summary>
internal sealed class Scope
{
    private readonly Scope? _parent;
    private Dictionary<string, object?>? _values;

    /// <param name="parent">The level around this one; null is what the template is given.</param>
    /// <param name="isRoot">The template's own level.</param>
    public Scope(Scope? parent, bool isRoot = false)
    {
        _parent = parent;
        Root = isRoot || parent is null ? this : parent.Root;
    }

    /// <summary>The template's own level.</summary>
    public Scope Root { get; }

    public void Set(string name, object? value) => (_values ??= new(StringComparer.Ordinal))[name] = value;

    public object? Get(string name)
    {
        for (var scope = this; scope is not null; scope = scope._parent)
            if (scope._values is { } values && values.TryGetValue(name, out var value))
                return value;
        return PyUndefined.Name(name);
    }
}
