using System.Numerics;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Filters of lists and dicts.</summary>
internal static partial class JinjaFilters
{
    private static object? Attr(JinjaRun run, object? value, PyArguments arguments)
    {
        var name = PyStrings.Text(arguments.Bind("attr", 1, "name")[0]);
        if (value is not PyDict)
            return PyAccess.Attribute(value, name, run.Budget);
        // An attribute alone: an item of that name does not count.
        return PyAccess.Attribute(new PyDict(), name, run.Budget) is PyUndefined missing ? missing : PyAccess.Attribute(value, name, run.Budget);
    }

    private static PyIterator Batch(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("batch", 1, "linecount", "fill_with");
        return new("generator", Batches().GetEnumerator());

        IEnumerable<object?> Batches()
        {
            long count = PyStrings.Int(x[0]);
            var batch = new List<object?>();
            foreach (var item in PyIteration.Iterate(value, run.Budget))
            {
                if (batch.Count == count)
                {
                    yield return batch;
                    batch = [];
                }
                run.Budget.AllocateItems(1);
                batch.Add(item);
            }
            if (batch.Count == 0)
                yield break;
            if (Or(x[1]) is { } fill && batch.Count < count)
            {
                run.Budget.AllocateItems(count - batch.Count);
                batch.AddRange(Enumerable.Repeat<object?>(fill, (int)(count - batch.Count)));
            }
            yield return batch;
        }
    }

    private static PyIterator Slice(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("slice", 1, "slices", "fill_with");
        return new("generator", Slices().GetEnumerator());

        IEnumerable<object?> Slices()
        {
            var all = PyIteration.ToList(value, run.Budget);
            long count = PyStrings.Int(x[0]);
            if (count == 0)
                throw new JinjaException("division by zero");
            long size = all.Count / Math.Max(count, 1), longer = all.Count % Math.Max(count, 1), start = 0;
            for (long i = 0; i < count; i++)
            {
                long end = start + size + (i < longer ? 1 : 0);
                run.Budget.AllocateItems(end - start + 1);
                var slice = all[(int)start..(int)end];
                if (i >= longer && Or(x[1]) is { } fill)
                    slice.Add(fill);
                yield return slice;
                start = end;
            }
        }
    }

    private static object? Default(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("default", 0, "default_value", "boolean");
        return value is PyUndefined || IsTrue(x[1]) && !PyCompare.IsTrue(value) ? Or(x[0], "") : value;
    }

    private static List<object?> DictSort(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("dictsort", 0, "case_sensitive", "by", "reverse");
        int part = Or(x[1], "key") switch
        {
            "key" => 0,
            "value" => 1,
            _ => throw new JinjaException("You can only sort by either \"key\" or \"value\""),
        };
        var dict = value as PyDict ?? throw (value is PyUndefined missing ? missing.Error()
            : new JinjaException($"'{PyType.Object(value)}' has no attribute 'items'", JinjaFault.Undefined));
        run.Budget.AllocateItems(4L * dict.Count);
        return PyCompare.Sort([.. dict.Pairs.Select(y => new PyTuple([y.Key, y.Value]))],
            y => Cased(((PyTuple)y!).Items[part], IsTrue(x[0])), IsTrue(x[2]), run.Budget);
    }

    private static object? First(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("first", 0);
        foreach (var item in PyIteration.Iterate(value, run.Budget))
            return item;
        return new PyUndefined("No first item, sequence was empty.");
    }

    private static object? Last(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("last", 0);
        if (value is PyIterator)
            throw JinjaException.Type($"'{PyType.Name(value)}' object is not reversible");
        var all = PyIteration.ToList(value, run.Budget);
        return all.Count > 0 ? all[^1] : new PyUndefined("No last item, sequence was empty.");
    }

    private static List<object?> GroupBy(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("groupby", 1, "attribute", "default", "case_sensitive");
        bool sensitive = IsTrue(x[2]);
        object? Exact(object? item) => Get(run, item, x[0], Or(x[1]));
        object? Key(object? item) => Cased(Exact(item), sensitive);
        var groups = new List<object?>();
        List<object?>? members = null;
        object? key = null;
        foreach (var item in PyCompare.Sort(PyIteration.ToList(value, run.Budget), Key, false, run.Budget))
        {
            var own = Key(item);
            run.Budget.AllocateItems(2);
            if (members is null || !PyCompare.Same(own, key, run.Budget))
                groups.Add(new PyTuple([sensitive ? own : Exact(item), members = []]) { IsGroup = true });
            members.Add(item);
            key = own;
        }
        return groups;
    }

    private static PyIterator Items(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("items", 0);
        return new("generator", Pairs().GetEnumerator());

        IEnumerable<object?> Pairs()
        {
            if (value is PyUndefined)
                yield break;
            foreach (var (key, item) in (value as PyDict ?? throw JinjaException.Type("Can only get item pairs from a mapping.")).Pairs)
                yield return new PyTuple([key, item]);
        }
    }

    private static object Length(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("length", 0);
        return PyIteration.Length(value, run.Budget);
    }

    private static object List(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("list", 0);
        return PyIteration.ToList(value, run.Budget);
    }

    private static PyIterator Map(JinjaRun run, object? value, PyArguments arguments)
    {
        return new("generator", Mapped().GetEnumerator());

        IEnumerable<object?> Mapped()
        {
            if (!PyCompare.IsTrue(value))
                yield break;
            var change = Change();
            foreach (var item in PyIteration.Iterate(value, run.Budget))
                yield return change(item);
        }

        Func<object?, object?> Change()
        {
            if (arguments.Positional.Count == 0 && arguments.Named.Any(x => x.Name == "attribute"))
            {
                var x = arguments.Bind("map", 0, "attribute", "default");
                return item => Get(run, item, x[0], Or(x[1]));
            }
            if (arguments.Positional.Count == 0)
                throw new JinjaException("map requires a filter argument");
            var name = PyStrings.Text(arguments.Positional[0]);
            var rest = new PyArguments([.. arguments.Positional.Skip(1)], arguments.Named);
            return item => Apply(run, name, item, rest);
        }
    }

    private static PyIterator Select(JinjaRun run, object? value, PyArguments arguments, string name, bool keeps, bool attribute)
    {
        return new("generator", Selected().GetEnumerator());

        IEnumerable<object?> Selected()
        {
            if (!PyCompare.IsTrue(value))
                yield break;
            if (attribute && arguments.Positional.Count == 0)
                throw new JinjaException("Missing parameter for attribute name");
            int off = attribute ? 1 : 0;
            var test = arguments.Positional.Count > off ? PyStrings.Text(arguments.Positional[off]) : null;
            var rest = new PyArguments([.. arguments.Positional.Skip(off + 1)], arguments.Named);
            foreach (var item in PyIteration.Iterate(value, run.Budget))
            {
                var tested = attribute ? Get(run, item, arguments.Positional[0], null) : item;
                if ((test is null ? PyCompare.IsTrue(tested) : JinjaTests.Holds(run, test, tested, rest)) == keeps)
                    yield return item;
            }
        }
    }

    private static object? Extreme(JinjaRun run, string name, string operation, object? value, PyArguments arguments)
    {
        var x = arguments.Bind(name, 0, "case_sensitive", "attribute");
        bool any = false;
        object? best = null, bestKey = null;
        foreach (var item in PyIteration.Iterate(value, run.Budget))
        {
            var key = Key(run, item, Or(x[1]), IsTrue(x[0]));
            if (!any || PyCompare.Order(key, bestKey, operation, run.Budget))
                (best, bestKey) = (item, key);
            any = true;
        }
        return any ? best : new PyUndefined("No aggregated item, sequence was empty.");
    }

    private static object? Reverse(JinjaRun run, object? value, PyArguments arguments)
    {
        arguments.Bind("reverse", 0);
        if (value is string or PyMarkup)
            return PyAccess.Slice(value, null, null, -1L, run.Budget);
        var all = PyIteration.ToList(value, run.Budget);
        all.Reverse();
        return value is PyIterator or PyUndefined ? all : new PyIterator("list_reverseiterator", all.GetEnumerator());
    }

    private static List<object?> Sort(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("sort", 0, "reverse", "case_sensitive", "attribute");
        bool sensitive = IsTrue(x[1]);
        var attribute = Or(x[2]);
        var all = PyIteration.ToList(value, run.Budget);
        // Keys are lists, which ask for equality before order: what has no order may still be sorted among its like.
        object?[] parts = attribute is string several ? several.Split(',') : [attribute];
        return PyCompare.Sort(all, item => new List<object?>(parts.Select(y => Key(run, item, y, sensitive))), IsTrue(x[0]), run.Budget);
    }

    private static object? Sum(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("sum", 0, "attribute", "start");
        var attribute = Or(x[0]);
        var sum = Or(x[1], 0L);
        if (sum is string or PyMarkup)
            throw JinjaException.Type("sum() can't sum strings [use ''.join(seq) instead]");
        foreach (var item in PyIteration.Iterate(value, run.Budget))
            sum = PyMath.Apply("+", sum, attribute is null ? item : Get(run, item, attribute, null), run.Budget);
        return sum;
    }

    private static PyIterator Unique(JinjaRun run, object? value, PyArguments arguments)
    {
        var x = arguments.Bind("unique", 0, "case_sensitive", "attribute");
        return new("generator", Distinct().GetEnumerator());

        IEnumerable<object?> Distinct()
        {
            var seen = new PyDict();
            foreach (var item in PyIteration.Iterate(value, run.Budget))
            {
                var key = Key(run, item, Or(x[1]), IsTrue(x[0]));
                if (seen.TryGet(key, run.Budget, out _))
                    continue;
                seen.Set(key, null, run.Budget);
                yield return item;
            }
        }
    }

    private static object? Key(JinjaRun run, object? item, object? attribute, bool caseSensitive) =>
        Cased(attribute is null ? item : Get(run, item, attribute, null), caseSensitive);

    private static object? Cased(object? value, bool caseSensitive) =>
        !caseSensitive && value is string or PyMarkup ? PyText.Lower(PyText.Of(value)) : value;

    /// <summary>An attribute by a path such as "user.name" or "0.role", or by a number.</summary>
    private static object? Get(JinjaRun run, object? item, object? path, object? otherwise)
    {
        IEnumerable<object?> parts = path is string text
            ? text.Split('.').Select(x => (object?)(x.Length > 0 && x.All(char.IsAsciiDigit) ? PyNumbers.ParseInt(x, 10) : x)) : [path];
        foreach (var part in parts)
        {
            run.Budget.Step();
            item = PyAccess.Item(item, part, run.Budget);
            if (otherwise is not null && item is PyUndefined)
                item = otherwise;
        }
        return item;
    }
}
