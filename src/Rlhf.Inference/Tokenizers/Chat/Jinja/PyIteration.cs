namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Walking through values, their length, and what they contain.</summary>
internal static class PyIteration
{
    /// <summary>The items of a value; every one taken is a step.</summary>
    /// <exception cref="JinjaException">The value cannot be walked through.</exception>
    public static IEnumerable<object?> Iterate(object? value, JinjaBudget budget)
    {
        var items = TryItems(value)
            ?? throw JinjaException.Type($"'{PyType.Name(value)}' object is not iterable");
        return Counted(items, budget);
    }

    public static bool CanIterate(object? value) => TryItems(value) is not null;

    /// <summary>All items as a list of their own.</summary>
    public static List<object?> ToList(object? value, JinjaBudget budget)
    {
        if (TryLength(value) is { } length)
            budget.AllocateItems(length);
        var list = new List<object?>();
        foreach (var item in Iterate(value, budget))
        {
            if (list.Count == list.Capacity && list.Count >= 1024)
                budget.AllocateItems(list.Count);
            list.Add(item);
        }
        return list;
    }

    /// <summary>len(value).</summary>
    /// <exception cref="JinjaException">The value has no length.</exception>
    public static long Length(object? value, JinjaBudget budget)
    {
        if (value is string or PyMarkup)
            budget.Step(PyText.Of(value).Length >> 5);
        return TryLength(value) ?? throw JinjaException.Type($"object of type '{PyType.Name(value)}' has no len()");
    }

    public static long? TryLength(object? value) => value switch
    {
        string or PyMarkup => PyText.Length(PyText.Of(value)),
        List<object?> x => x.Count,
        PyTuple x => x.Items.Length,
        PyDict x => x.Count,
        PyDictView x => x.Dict.Count,
        PyRange x => x.Count,
        LoopContext x => x.Length,
        PyUndefined => 0,
        _ => null,
    };

    /// <summary>item in container.</summary>
    public static bool Contains(object? container, object? item, JinjaBudget budget)
    {
        switch (container)
        {
            case string or PyMarkup:
                if (item is not (string or PyMarkup))
                    throw JinjaException.Type($"'in <string>' requires string as left operand, not {PyType.Name(item)}");
                return PyText.Find(PyText.Of(container), PyText.Of(item), budget) >= 0;
            case PyDict x:
                return x.TryGet(item, budget, out _);
            case PyDictView { Shows: PyDictView.Part.Keys } x:
                return x.Dict.TryGet(item, budget, out _);
            default:
                var items = TryItems(container) ?? throw JinjaException.Type(
                    $"argument of type '{PyType.Name(container)}' is not a container or iterable");
                return Counted(items, budget).Any(x => PyCompare.Same(x, item, budget));
        }
    }

    private static IEnumerable<object?>? TryItems(object? value) => value switch
    {
        string or PyMarkup => PyText.Characters(PyText.Of(value)),
        List<object?> x => x,
        PyTuple x => x.Items,
        PyDict x => x.Keys,
        PyDictView x => x.Items,
        PyRange x => Enumerable.Range(0, x.Count).Select(i => (object?)x[i]),
        PyIterator x => Rest(x.Items),
        LoopContext x => x.Rest(),
        PyUndefined => [],
        _ => null,
    };

    private static IEnumerable<object?> Rest(IEnumerator<object?> items)
    {
        while (items.MoveNext())
            yield return items.Current;
    }

    private static IEnumerable<object?> Counted(IEnumerable<object?> items, JinjaBudget budget)
    {
        foreach (var item in items)
        {
            budget.Step();
            yield return item;
        }
    }
}
