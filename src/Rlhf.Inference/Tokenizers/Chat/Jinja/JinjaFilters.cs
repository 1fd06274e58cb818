namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>What stands behind "|": the table. The filters themselves are in the other files of this class.</summary>
internal static partial class JinjaFilters
{
    private delegate object? Filter(JinjaRun run, object? value, PyArguments arguments);

    private static readonly Dictionary<string, Filter> Filters = new(StringComparer.Ordinal)
    {
        ["abs"] = Abs,
        ["attr"] = Attr,
        ["batch"] = Batch,
        ["capitalize"] = Text("capitalize", PyText.Capitalize),
        ["center"] = Center,
        ["count"] = Length,
        ["d"] = Default,
        ["default"] = Default,
        ["dictsort"] = DictSort,
        ["e"] = Escape,
        ["escape"] = Escape,
        ["filesizeformat"] = FileSizeFormat,
        ["first"] = First,
        ["float"] = Float,
        ["forceescape"] = (run, x, a) => a.Bind("forceescape", 0).Length == 0
            ? PyHtml.Escape(x is PyMarkup markup ? markup.Text : x, run.Budget) : null,
        ["format"] = Format,
        ["groupby"] = GroupBy,
        ["indent"] = Indent,
        ["int"] = Int,
        ["items"] = Items,
        ["join"] = Join,
        ["last"] = Last,
        ["length"] = Length,
        ["list"] = List,
        ["lower"] = Text("lower", PyText.Lower),
        ["map"] = Map,
        ["max"] = (run, x, a) => Extreme(run, "max", ">", x, a),
        ["min"] = (run, x, a) => Extreme(run, "min", "<", x, a),
        ["pprint"] = PPrint,
        ["random"] = Refused("random", "the same conversation must always give the same text"),
        ["reject"] = (run, x, a) => Select(run, x, a, "reject", keeps: false, attribute: false),
        ["rejectattr"] = (run, x, a) => Select(run, x, a, "rejectattr", keeps: false, attribute: true),
        ["replace"] = Replace,
        ["reverse"] = Reverse,
        ["round"] = Round,
        ["safe"] = (run, x, a) => a.Bind("safe", 0).Length == 0 ? new PyMarkup(PyRepr.Str(x, run.Budget)) : null,
        ["select"] = (run, x, a) => Select(run, x, a, "select", keeps: true, attribute: false),
        ["selectattr"] = (run, x, a) => Select(run, x, a, "selectattr", keeps: true, attribute: true),
        ["slice"] = Slice,
        ["sort"] = Sort,
        ["string"] = (run, x, a) => a.Bind("string", 0).Length == 0 ? Soft(run, x) : null,
        ["striptags"] = (run, x, a) => a.Bind("striptags", 0).Length == 0 ? PyHtml.StripTags(PyRepr.Str(x, run.Budget), run.Budget) : null,
        ["sum"] = Sum,
        ["title"] = Text("title", TitleWords),
        ["tojson"] = ToJson,
        ["trim"] = Trim,
        ["truncate"] = Truncate,
        ["unique"] = Unique,
        ["upper"] = Text("upper", PyText.Upper),
        ["urlencode"] = UrlEncode,
        ["urlize"] = Refused("urlize", "a chat template writes no links"),
        ["wordcount"] = WordCount,
        ["wordwrap"] = WordWrap,
        ["xmlattr"] = XmlAttributes,
    };

    public static bool Exists(string name) => Filters.ContainsKey(name);

    /// <exception cref="JinjaException">There is no such filter, or the value does not fit it.</exception>
    public static object? Apply(JinjaRun run, string name, object? value, PyArguments arguments)
    {
        run.Budget.Step();
        return Filters.TryGetValue(name, out var filter) ? filter(run, value, arguments)
            : throw new JinjaException($"No filter named '{name}'.");
    }

    private static Filter Refused(string name, string reason) =>
        (_, _, _) => throw new JinjaException($"the filter '{name}' is not supported: {reason}");

    /// <summary>A filter that changes a text.</summary>
    private static Filter Text(string name, Func<string, string> change) => (run, value, arguments) =>
    {
        arguments.Bind(name, 0);
        return Marked(value, change(PyText.Of(Soft(run, value, 1))));
    };

    /// <summary>The value as text; Markup stays what it is.</summary>
    private static object Soft(JinjaRun run, object? value, int copies = 0)
    {
        var text = value is PyMarkup or string ? value : PyRepr.Str(value, run.Budget);
        if (copies > 0)
            run.Budget.Allocate((long)PyText.Of(text).Length * copies);
        return text;
    }

    private static object Marked(object? like, string text) => like is PyMarkup ? new PyMarkup(text) : text;

    private static bool IsTrue(object? argument, bool otherwise = false) =>
        PyCompare.IsTrue(PyArguments.Or(argument, otherwise));

    /// <summary>An argument that may be None as well as left out.</summary>
    private static object? Or(object? argument, object? otherwise = null) => PyArguments.Or(argument, otherwise);
}
