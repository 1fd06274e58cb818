namespace Rlhf.Tokenizers.Chat.Jinja;

// Values of a template, as Python has them:
//   None null, bool bool, int long or BigInteger (a BigInteger only where a long is too small), float double, str string or PyMarkup,
//   list List<object?>, tuple PyTuple, dict PyDict, and the classes below. Strings are UTF-16 here and are counted in code points.

/// <summary>A tuple; groupby's have names as well.</summary>
internal sealed class PyTuple(object?[] items)
{
    public static PyTuple Empty { get; } = new([]);

    public object?[] Items { get; } = items;

    /// <summary>The first item is also called grouper and the second list.</summary>
    public bool IsGroup { get; init; }
}

/// <summary>A string that is already safe for HTML.</summary>
internal sealed class PyMarkup(string text)
{
    public string Text { get; } = text;
}

/// <summary>range(start, stop, step).</summary>
internal sealed class PyRange(long start, long stop, long step)
{
    public long Start { get; } = start;

    public long Stop { get; } = stop;

    public long Step { get; } = step;

    public int Count { get; } = Length(start, stop, step);

    public long this[int index] => Start + index * Step;

    private static int Length(long start, long stop, long step)
    {
        var count = step > 0 ? ((Int128)stop - start + step - 1) / step : ((Int128)start - stop - step - 1) / -(Int128)step;
        if (count > 100_000)
            throw new JinjaException("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).", JinjaFault.Limit);
        return (int)Int128.Max(count, 0);
    }
}

/// <summary>Something that can be walked through once.</summary>
internal sealed class PyIterator(string type, IEnumerator<object?> items)
{
    /// <summary>Python's name of its type.</summary>
    public string Type { get; } = type;

    public IEnumerator<object?> Items { get; } = items;
}

/// <summary>What dict.keys(), values() and items() give.</summary>
internal sealed class PyDictView(PyDict dict, PyDictView.Part part)
{
    public enum Part
    {
        Keys,
        Values,
        Items,
    }

    public PyDict Dict { get; } = dict;

    public Part Shows { get; } = part;

    public string Type => Shows switch { Part.Keys => "dict_keys", Part.Values => "dict_values", _ => "dict_items" };

    public IEnumerable<object?> Items => Shows switch
    {
        Part.Keys => Dict.Keys,
        Part.Values => Dict.Values,
        _ => Dict.Pairs.Select(x => new PyTuple([x.Key, x.Value])),
    };
}

/// <summary>A value that does not exist. It prints as nothing; going further from it is an error that says what was missing.</summary>
internal sealed class PyUndefined(string message, JinjaFault fault = JinjaFault.Undefined)
{
    public string Message { get; } = message;

    public static PyUndefined Name(string name) => new($"'{name}' is undefined");

    public JinjaException Error() => new(Message, fault);
}

/// <summary>A namespace(): the only thing whose attributes a template may set.</summary>
internal sealed class PyNamespace(PyDict values)
{
    public PyDict Values { get; } = values;
}

/// <summary>A function that a template may call.</summary>
internal sealed class PyFunction(string name, Func<PyArguments, object?> call)
{
    public string Name { get; } = name;

    public Func<PyArguments, object?> Call { get; } = call;
}

/// <summary>cycler(...).</summary>
internal sealed class PyCycler(object?[] items)
{
    public object?[] Items { get; } = items;

    public int Position { get; set; }
}

/// <summary>joiner(separator).</summary>
internal sealed class PyJoiner(object? separator)
{
    public object? Separator { get; } = separator;

    public bool Used { get; set; }
}
