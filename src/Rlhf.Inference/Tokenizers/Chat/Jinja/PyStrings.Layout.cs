using System.Text;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>Methods that pad and map.</summary>
internal static partial class PyStrings
{
    private static int Padding(string text, long width, JinjaBudget budget)
    {
        long missing = Math.Max(width - PyText.Length(text), 0);
        budget.Allocate(text.Length + missing);
        return (int)missing;
    }

    private static string Justify(string name, string text, PyArguments arguments, JinjaBudget budget)
    {
        var x = arguments.Bind(name, 1, "*width", "*fillchar");
        var fill = Text(PyArguments.Or(x[1], " "));
        if (PyText.Length(fill) != 1)
            throw JinjaException.Type("The fill character must be exactly one character long");
        return Center(name, text, Int(x[0]), fill, budget);
    }

    /// <summary>center, ljust or rjust.</summary>
    public static string Center(string name, string text, long width, string fill, JinjaBudget budget)
    {
        int missing = Padding(text, width, budget);
        int left = name switch { "ljust" => 0, "rjust" => missing, _ => missing / 2 + (missing & (int)width & 1) };
        if (fill.Length == 2)
            budget.Allocate(2L * missing);
        return Fill(left) + text + Fill(missing - left);

        string Fill(int count) => fill.Length == 1 ? new(fill[0], count) : string.Concat(Enumerable.Repeat(fill, count));
    }

    private static string ExpandTabs(string text, long size, JinjaBudget budget)
    {
        var made = new StringBuilder();
        long column = 0;
        foreach (char c in text)
        {
            budget.Step();
            if (c != '\t')
            {
                made.Append(c);
                column = c is '\n' or '\r' ? 0 : column + (char.IsLowSurrogate(c) ? 0 : 1);
                continue;
            }
            long spaces = size <= 0 ? 0 : size - column % size;
            budget.Allocate(made.Length + spaces);
            made.Append(' ', (int)spaces);
            column += spaces;
        }
        return made.ToString();
    }

    private static object? Translate(string text, PyArguments arguments, JinjaBudget budget)
    {
        var table = arguments.Bind("translate", 1, "*table")[0] as PyDict ?? throw JinjaException.Type("translate needs a dict");
        return Join("", PyText.Characters(text).Select(x =>
        {
            budget.Step();
            long point = Rune.TryGetRuneAt(x, 0, out var rune) ? rune.Value : x[0];
            return !table.TryGet((object)point, budget, out var other) ? x : other switch
            {
                null => "",
                long code when Rune.IsValid((int)Math.Clamp(code, -1, int.MaxValue)) => new Rune((int)code).ToString(),
                _ => Text(other),
            };
        }), budget);
    }
}
