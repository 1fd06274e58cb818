using System.Numerics;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Attributes and methods of everything but strings; null where there is none of the name.</summary>
internal static class PyMethods
{
    /// <summary>An attribute whose value is None.</summary>
    public static readonly object None = new();

    public static object? OfDict(PyDict dict, string name, JinjaBudget budget) => name switch
    {
        "get" => new PyFunction(name, a =>
        {
            var x = a.Bind("get", 1, "*key", "*default");
            return dict.TryGet(x[0], budget, out var found) ? found : PyArguments.Or(x[1], null);
        }),
        "keys" => Simple(name, () => new PyDictView(dict, PyDictView.Part.Keys)),
        "values" => Simple(name, () => new PyDictView(dict, PyDictView.Part.Values)),
        "items" => Simple(name, () => new PyDictView(dict, PyDictView.Part.Items)),
        "copy" => Simple(name, () => dict.Copy(budget)),
        "fromkeys" => new PyFunction(name, a =>
        {
            var x = a.Bind("fromkeys", 1, "*iterable", "*value");
            var made = new PyDict();
            foreach (var key in PyIteration.Iterate(x[0], budget))
                made.Set(key, PyArguments.Or(x[1], null), budget);
            return made;
        }),
        _ => null,
    };

    public static object? OfList(List<object?> list, string name, JinjaBudget budget) => name switch
    {
        "copy" => Simple(name, () => PyIteration.ToList(list, budget)),
        _ => OfSequence(list, name, budget),
    };

    public static object? OfTuple(PyTuple tuple, string name, JinjaBudget budget) => name switch
    {
        "grouper" when tuple.IsGroup => tuple.Items[0] ?? None,
        "list" when tuple.IsGroup => tuple.Items[1],
        _ => OfSequence(tuple.Items, name, budget),
    };

    public static object? OfOther(object? value, string name, JinjaBudget budget) => value switch
    {
        double x => OfFloat(x, name),
        long or bool or BigInteger => OfInteger(value, name),
        PyRange x => name switch
        {
            "start" => x.Start,
            "stop" => x.Stop,
            "step" => x.Step,
            "count" or "index" => OfSequence(PyIteration.ToList(x, budget), name, budget),
            _ => null,
        },
        Macro x => x.Attribute(name),
        LoopContext x => x.Attribute(name, budget),
        PyCycler x => name switch
        {
            "current" => x.Items[x.Position] ?? None,
            "next" => Simple(name, () =>
            {
                var item = x.Items[x.Position];
                x.Position = (x.Position + 1) % x.Items.Length;
                return item;
            }),
            "reset" => Simple(name, () =>
            {
                x.Position = 0;
                return null;
            }),
            "items" => new PyTuple(x.Items),
            "pos" => (long)x.Position,
            _ => null,
        },
        PyJoiner x => name switch { "sep" => x.Separator ?? None, "used" => x.Used, _ => null },
        PyDictView x when name == "mapping" => x.Dict,
        _ => null,
    };

    internal static PyFunction Simple(string name, Func<object?> call) => new(name, a =>
    {
        a.Bind(name, 0);
        return call();
    });

    private static PyFunction? OfSequence(IReadOnlyList<object?> items, string name, JinjaBudget budget) => name switch
    {
        "count" => new(name, a =>
        {
            var x = a.Bind("count", 1, "*value");
            return items.LongCount(y => PyCompare.Same(y, x[0], budget));
        }),
        "index" => new(name, a =>
        {
            var x = a.Bind("index", 1, "*value", "*start", "*stop");
            int start = PyAccess.Clamp(PyArguments.Or(x[1], null), 0, items.Count), stop = PyAccess.Clamp(PyArguments.Or(x[2], null), items.Count, items.Count);
            for (int i = start; i < stop; i++)
                if (PyCompare.Same(items[i], x[0], budget))
                    return (long)i;
            throw new JinjaException($"{PyRepr.Repr(x[0], budget)} is not in list");
        }),
        _ => null,
    };

    private static object? OfInteger(object value, string name) => name switch
    {
        "real" or "numerator" => PyMath.Int(PyMath.Big(value)),
        "imag" => 0L,
        "denominator" => 1L,
        "conjugate" => Simple(name, () => PyMath.Int(PyMath.Big(value))),
        "bit_length" => Simple(name, () => (long)BigInteger.Abs(PyMath.Big(value)).GetBitLength()),
        "bit_count" => Simple(name, () => PyMath.Int(BigInteger.PopCount(BigInteger.Abs(PyMath.Big(value))))),
        "is_integer" => Simple(name, () => true),
        _ => null,
    };

    private static object? OfFloat(double value, string name) => name switch
    {
        "real" => value,
        "imag" => 0.0,
        "conjugate" => Simple(name, () => value),
        "is_integer" => Simple(name, () => double.IsFinite(value) && value == Math.Floor(value)),
        _ => null,
    };
}
