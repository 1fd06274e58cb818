using System.Numerics;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>x.name, x[key] and x[a:b:c]. This is the sandbox's wall: what is not listed in these methods does not exist for a template.</summary>
internal static class PyAccess
{
    private static readonly HashSet<string> ChangesList =
        ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];

    private static readonly HashSet<string> ChangesDict = ["clear", "pop", "popitem", "setdefault", "update"];

    /// <summary>x.name: the attribute, else the item.</summary>
    public static object? Attribute(object? value, string name, JinjaBudget budget)
    {
        if (value is PyUndefined missing)
            throw missing.Error();
        if (TryAttribute(value, name, budget, out var found))
            return found;
        if (value is PyDict dict && dict.TryGet(name, out found))
            return found;
        return NoAttribute(value, name);
    }

    /// <summary>x[key]: the item, else the attribute.</summary>
    public static object? Item(object? value, object? key, JinjaBudget budget)
    {
        if (value is PyUndefined missing)
            throw missing.Error();
        if (TryItem(value, key, budget, out var found))
            return found;
        if (key is not (string or PyMarkup))
            return new PyUndefined($"{PyType.Object(value)} has no element {PyRepr.Repr(key, budget)}");
        var name = PyText.Of(key);
        return TryAttribute(value, name, budget, out found) ? found : NoAttribute(value, name);
    }

    /// <summary>x[start:stop:step]; null is a bound that was left out.</summary>
    /// <exception cref="JinjaException">The value cannot be sliced, or a bound is no integer.</exception>
    public static object? Slice(object? value, object? start, object? stop, object? step, JinjaBudget budget)
    {
        switch (value)
        {
            case PyUndefined x:
                throw x.Error();
            case string or PyMarkup:
                var text = PyText.Of(value);
                budget.Allocate(text.Length);
                var offsets = PyText.Offsets(text);
                var (from, by, count, _) = Bounds(start, stop, step, offsets?.Length - 1 ?? text.Length);
                string part = by == 1
                    ? text[(offsets?[from] ?? from)..(offsets?[from + count] ?? from + count)]
                    : string.Concat(Enumerable.Range(0, count).Select(i => from + i * by)
                        .Select(i => offsets is null ? text.Substring(i, 1) : text[offsets[i]..offsets[i + 1]]));
                return value is PyMarkup ? new PyMarkup(part) : part;
            case List<object?> x:
                return Items(x).ToList();
            case PyTuple x:
                return new PyTuple([.. Items(x.Items)]);
            case PyRange x:
                var (first, stride, _, end) = Bounds(start, stop, step, x.Count);
                return new PyRange(x.Start + first * x.Step, x.Start + end * x.Step, stride * x.Step);
            default:
                throw JinjaException.Type($"'{PyType.Name(value)}' object is not subscriptable");
        }

        IEnumerable<object?> Items(IReadOnlyList<object?> items)
        {
            var (from, by, count, _) = Bounds(start, stop, step, items.Count);
            budget.AllocateItems(count);
            return Enumerable.Range(0, count).Select(i => items[from + i * by]);
        }
    }

    /// <summary>A bound of a search, as a slice's, within 0 and the length.</summary>
    public static int Clamp(object? bound, int otherwise, int length) => Bound(bound) is not { } x ? otherwise
        : (int)BigInteger.Min(BigInteger.Max(x < 0 ? x + length : x, 0), length);

    private static PyUndefined NoAttribute(object? value, string name) =>
        name.StartsWith("__", StringComparison.Ordinal) && name.EndsWith("__", StringComparison.Ordinal) ? Unsafe(value, name)
            : new($"'{PyType.Object(value)}' has no attribute '{name}'");

    private static PyUndefined Unsafe(object? value, string name) =>
        new($"access to attribute '{name}' of '{PyType.Name(value)}' object is unsafe.", JinjaFault.Security);

    private static bool TryItem(object? value, object? key, JinjaBudget budget, out object? found)
    {
        found = null;
        switch (value)
        {
            case PyDict x:
                return key is not (List<object?> or PyDict) && x.TryGet(key, budget, out found);
            case List<object?> x when Index(key, x.Count) is { } i:
                found = x[i];
                return true;
            case PyTuple x when Index(key, x.Items.Length) is { } i:
                found = x.Items[i];
                return true;
            case PyRange x when Index(key, x.Count) is { } i:
                found = x[i];
                return true;
            case string or PyMarkup when PyMath.IsInteger(key):
                var text = PyText.Of(value);
                budget.Step(text.Length >> 5);
                var offsets = PyText.Offsets(text);
                if (Index(key, offsets?.Length - 1 ?? text.Length) is not { } at)
                    return false;
                string character = offsets is null ? text.Substring(at, 1) : text[offsets[at]..offsets[at + 1]];
                found = value is PyMarkup ? new PyMarkup(character) : character;
                return true;
            default:
                return false;
        }
    }

    private static bool TryAttribute(object? value, string name, JinjaBudget budget, out object? found)
    {
        found = value switch
        {
            string or PyMarkup => PyStrings.Method(value, name, budget),
            PyDict x => ChangesDict.Contains(name) ? Unsafe(value, name) : PyMethods.OfDict(x, name, budget),
            List<object?> x => ChangesList.Contains(name) ? Unsafe(value, name) : PyMethods.OfList(x, name, budget),
            PyTuple x => PyMethods.OfTuple(x, name, budget),
            PyNamespace x => x.Values.TryGet(name, out var item) ? Some(item) : null,
            PyUndefined => null,
            _ => PyMethods.OfOther(value, name, budget),
        };
        if (ReferenceEquals(found, PyMethods.None))
            found = null;
        else if (found is null)
            return false;
        return true;

        static object Some(object? item) => item ?? PyMethods.None;
    }

    private static int? Index(object? key, int count)
    {
        if (!PyMath.IsInteger(key))
            return null;
        var index = PyMath.Big(key!);
        if (index < 0)
            index += count;
        return index >= 0 && index < count ? (int)index : null;
    }

    private static (int From, int By, int Count, int To) Bounds(object? start, object? stop, object? step, int length)
    {
        var by = Bound(step) ?? 1;
        if (by.IsZero)
            throw new JinjaException("slice step cannot be zero");
        bool forward = by > 0;
        BigInteger low = forward ? 0 : -1, high = forward ? length : length - 1;
        BigInteger from = Place(Bound(start), forward ? low : high), to = Place(Bound(stop), forward ? high : low);
        var count = forward ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
        if (count <= 0)
            return ((int)BigInteger.Min(BigInteger.Max(from, 0), length), 1, 0, (int)BigInteger.Min(BigInteger.Max(from, 0), length));
        return ((int)from, (int)BigInteger.Max(BigInteger.Min(by, int.MaxValue), int.MinValue), (int)count, (int)to);

        BigInteger Place(BigInteger? bound, BigInteger otherwise) => bound is not { } x ? otherwise
            : BigInteger.Min(BigInteger.Max(x < 0 ? x + length : x, low), high);
    }

    private static BigInteger? Bound(object? value) => value is null ? null : PyMath.IsInteger(value) ? PyMath.Big(value)
        : throw JinjaException.Type("slice indices must be integers or None or have an __index__ method");
}
