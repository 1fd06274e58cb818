using System.Numerics;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Truth, equality, order and hashes of values, as in Python.</summary>
internal static class PyCompare
{
    public static bool IsTrue(object? value) => value switch
    {
        null or PyUndefined => false,
        bool x => x,
        string x => x.Length > 0,
        long x => x != 0,
        double x => x != 0,
        BigInteger x => !x.IsZero,
        PyMarkup x => x.Text.Length > 0,
        List<object?> x => x.Count > 0,
        PyTuple x => x.Items.Length > 0,
        PyDict x => x.Count > 0,
        PyRange x => x.Count > 0,
        PyDictView x => x.Dict.Count > 0,
        LoopContext x => x.Length > 0,
        _ => true,
    };

    /// <summary>left == right.</summary>
    public static bool Equal(object? left, object? right, JinjaBudget budget)
    {
        if (left is string s && right is string t)
        {
            budget.Step(s.Length == t.Length ? s.Length >> 5 : 0);
            return s == t;
        }
        budget.Step();
        if (PyMath.IsNumber(left) && PyMath.IsNumber(right))
            return PyMath.Equal(left!, right!);
        switch (left, right)
        {
            case (null, null) or (PyUndefined, PyUndefined):
                return true;
            case (string or PyMarkup, string or PyMarkup):
                return PyText.Of(left) == PyText.Of(right);
            case (PyRange a, PyRange b):
                return a.Count == b.Count && (a.Count == 0 || a.Start == b.Start && (a.Count == 1 || a.Step == b.Step));
            case (List<object?> a, List<object?> b):
                return EqualItems(a, b, budget);
            case (PyTuple a, PyTuple b):
                return EqualItems(a.Items, b.Items, budget);
            case (PyDict a, PyDict b):
                return ReferenceEquals(a, b) || EqualDicts(a, b, budget);
            case (PyDictView a, PyDictView b) when a.Shows == b.Shows && a.Shows != PyDictView.Part.Values:
                return a.Dict.Count == b.Dict.Count && a.Items.All(x => PyIteration.Contains(b, x, budget));
            default:
                return ReferenceEquals(left, right);
        }
    }

    /// <summary>left &lt; right, or another of &lt;=, &gt;, &gt;=; only for values that Python orders.</summary>
    public static bool Order(object? left, object? right, string operation, JinjaBudget budget)
    {
        budget.Step();
        if (left is PyUndefined x)
            throw x.Error();
        if (right is PyUndefined y)
            throw y.Error();
        if (PyMath.IsNumber(left) && PyMath.IsNumber(right))
            return PyMath.Order(left!, right!, operation);
        if (left is string or PyMarkup && right is string or PyMarkup)
        {
            string a = PyText.Of(left), b = PyText.Of(right);
            budget.Step(Math.Min(a.Length, b.Length) >> 4);
            return Fits(PyText.Compare(a, b), operation);
        }
        var (p, q) = (left, right) switch
        {
            (List<object?> a, List<object?> b) => (a, b),
            (PyTuple a, PyTuple b) => ((IReadOnlyList<object?>)a.Items, (IReadOnlyList<object?>)b.Items),
            _ => (null, null),
        };
        if (p is null || q is null)
            throw JinjaException.Type(
                $"'{operation}' not supported between instances of '{PyType.Name(left)}' and '{PyType.Name(right)}'");
        budget.Enter();
        for (int i = 0; i < p.Count && i < q.Count; i++)
            if (!Same(p[i], q[i], budget))
            {
                bool answer = Order(p[i], q[i], operation, budget);
                budget.Leave();
                return answer;
            }
        budget.Leave();
        return Fits(p.Count.CompareTo(q.Count), operation);
    }

    /// <summary>A hash that equal values share.</summary>
    /// <exception cref="JinjaException">A list or a dict is no key.</exception>
    public static int Hash(object? value, JinjaBudget budget)
    {
        budget.Step();
        switch (value)
        {
            case null or PyUndefined:
                return 1;
            case string x:
                budget.Step(x.Length >> 4);
                return x.GetHashCode();
            case PyMarkup x:
                return x.Text.GetHashCode();
            case PyTuple x:
                budget.Enter();
                var hash = new HashCode();
                foreach (var item in x.Items)
                    hash.Add(Hash(item, budget));
                budget.Leave();
                return hash.ToHashCode();
            case List<object?> or PyDict:
                throw JinjaException.Type($"unhashable type: '{PyType.Name(value)}'");
            default:
                return PyMath.IsNumber(value) ? PyMath.Hash(value!)
                    : System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(value);
        }
    }

    /// <summary>A stable sort by keys that uses "less than" alone, as Python's.</summary>
    public static List<object?> Sort(IReadOnlyList<object?> items, Func<object?, object?> key, bool reverse, JinjaBudget budget)
    {
        budget.AllocateItems(4L * items.Count);
        var keyed = items.Select(x => (Key: key(x), Item: x)).ToArray();
        if (reverse)
            Array.Reverse(keyed);
        var other = new (object? Key, object? Item)[keyed.Length];
        for (int width = 1; width < keyed.Length; width *= 2, (keyed, other) = (other, keyed))
            for (int start = 0; start < keyed.Length; start += 2 * width)
            {
                int middle = Math.Min(start + width, keyed.Length), end = Math.Min(start + 2 * width, keyed.Length);
                for (int i = start, j = middle, k = start; k < end; k++)
                    other[k] = i < middle && (j >= end || !Order(keyed[j].Key, keyed[i].Key, "<", budget)) ? keyed[i++] : keyed[j++];
            }
        if (reverse)
            Array.Reverse(keyed);
        return [.. keyed.Select(x => x.Item)];
    }

    /// <summary>The same object, or equal: what containers ask.</summary>
    public static bool Same(object? left, object? right, JinjaBudget budget) =>
        ReferenceEquals(left, right) && left is not double || Equal(left, right, budget);

    internal static bool Fits(int order, string operation) => operation switch
    {
        "<" => order < 0,
        "<=" => order <= 0,
        ">" => order > 0,
        _ => order >= 0,
    };

    private static bool EqualItems(IReadOnlyList<object?> left, IReadOnlyList<object?> right, JinjaBudget budget)
    {
        if (left.Count != right.Count)
            return false;
        budget.Enter();
        for (int i = 0; i < left.Count; i++)
            if (!Same(left[i], right[i], budget))
            {
                budget.Leave();
                return false;
            }
        budget.Leave();
        return true;
    }

    private static bool EqualDicts(PyDict left, PyDict right, JinjaBudget budget)
    {
        if (left.Count != right.Count)
            return false;
        budget.Enter();
        bool equal = left.Pairs.All(x => right.TryGet(x.Key, budget, out var other) && Same(x.Value, other, budget));
        budget.Leave();
        return equal;
    }
}
