namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>What stands behind "is".</summary>
internal static class JinjaTests
{
    private delegate bool Test(object? value, PyArguments arguments, JinjaBudget budget);

    private static readonly Dictionary<string, Test> Tests = new(StringComparer.Ordinal)
    {
        ["defined"] = Of("defined", x => x is not PyUndefined),
        ["undefined"] = Of("undefined", x => x is PyUndefined),
        ["none"] = Of("none", x => x is null),
        ["boolean"] = Of("boolean", x => x is bool),
        ["true"] = Of("true", x => x is true),
        ["false"] = Of("false", x => x is false),
        ["integer"] = Of("integer", x => PyMath.IsInteger(x) && x is not bool),
        ["float"] = Of("float", x => x is double),
        ["number"] = Of("number", PyMath.IsNumber),
        ["string"] = Of("string", x => x is string or PyMarkup),
        ["mapping"] = Of("mapping", x => x is PyDict),
        ["sequence"] = Of("sequence", x => x is string or PyMarkup or List<object?> or PyTuple or PyDict or PyRange or PyUndefined),
        ["iterable"] = Of("iterable", PyIteration.CanIterate),
        ["callable"] = Of("callable", PyType.IsCallable),
        ["escaped"] = Of("escaped", x => x is PyMarkup),
        ["lower"] = (x, a, b) => Cased("islower", x, a, b),
        ["upper"] = (x, a, b) => Cased("isupper", x, a, b),
        ["odd"] = (x, a, b) => a.Bind("odd", 0).Length == 0 && PyCompare.Equal(PyMath.Apply("%", x, 2L, b), 1L, b),
        ["even"] = (x, a, b) => a.Bind("even", 0).Length == 0 && PyCompare.Equal(PyMath.Apply("%", x, 2L, b), 0L, b),
        ["divisibleby"] = (x, a, b) => PyCompare.Equal(PyMath.Apply("%", x, a.Bind("divisibleby", 1, "num")[0], b), 0L, b),
        ["sameas"] = (x, a, _) => IsSame(x, a.Bind("sameas", 1, "other")[0]),
        ["in"] = (x, a, b) => PyIteration.Contains(a.Bind("in", 1, "seq")[0], x, b),
        ["filter"] = (x, a, b) => a.Bind("filter", 0).Length == 0 && Known(x, b) is { } name && JinjaFilters.Exists(name),
        ["test"] = (x, a, b) => a.Bind("test", 0).Length == 0 && Known(x, b) is { } name && Exists(name),
        ["=="] = Compared("=="),
        ["eq"] = Compared("=="),
        ["equalto"] = Compared("=="),
        ["!="] = Compared("!="),
        ["ne"] = Compared("!="),
        [">"] = Compared(">"),
        ["gt"] = Compared(">"),
        ["greaterthan"] = Compared(">"),
        [">="] = Compared(">="),
        ["ge"] = Compared(">="),
        ["<"] = Compared("<"),
        ["lt"] = Compared("<"),
        ["lessthan"] = Compared("<"),
        ["<="] = Compared("<="),
        ["le"] = Compared("<="),
    };

    public static bool Exists(string name) => Tests.ContainsKey(name);

    /// <exception cref="JinjaException">There is no such test, or the value does not fit it.</exception>
    public static bool Holds(JinjaRun run, string name, object? value, PyArguments arguments) => Tests.TryGetValue(name, out var test)
        ? test(value, arguments, run.Budget) : throw new JinjaException($"No test named '{name}'.");

    /// <summary>A name to be looked up; what cannot be one, such as a list, is an error.</summary>
    private static string? Known(object? value, JinjaBudget budget)
    {
        _ = PyCompare.Hash(value, budget);
        return value as string;
    }

    private static Test Of(string name, Func<object?, bool> holds) => (x, a, _) => a.Bind(name, 0).Length == 0 && holds(x);

    private static Test Compared(string operation) => (x, a, b) => Comparison.Holds(operation, x, a.Bind(operation, 1, "*other")[0], b);

    private static bool Cased(string method, object? value, PyArguments arguments, JinjaBudget budget) => arguments.Bind(method, 0).Length == 0
        && ((PyFunction)PyStrings.Method(PyRepr.Str(value, budget), method, budget)!).Call(PyArguments.None) is true;

    /// <summary>Small integers and texts are one object in Python, as they are here by value.</summary>
    private static bool IsSame(object? left, object? right) => ReferenceEquals(left, right)
        || left is bool or long or double or string && left.GetType() == right?.GetType() && left.Equals(right);
}
