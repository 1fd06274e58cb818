using Spectre.Console;
using Spectre.Console.Rendering;

namespace Rlhf.Cli.Terminal;

/// <summary>
/// Names in grey, values beside them in a column of their own. Where that would leave the values too little room, each follows its name at once.
/// </summary>
/// <param name="values">Names as plain text, an empty one for a value that goes with the one above; values as markup.</param>
internal sealed class NamedValues(IReadOnlyList<(string Name, string Value)> values) : Renderable
{
    private const int Indent = 2, Gap = 3;

    protected override Measurement Measure(RenderOptions options, int maxWidth) => Layout(options, maxWidth).Measure(options, maxWidth);

    protected override IEnumerable<Segment> Render(RenderOptions options, int maxWidth) =>
        Layout(options, maxWidth).Render(options, maxWidth);

    private IRenderable Layout(RenderOptions options, int maxWidth)
    {
        if (values.Count == 0)
            return new Rows();
        int names = values.Max(v => Width(new Text(v.Name), options));
        int longest = values.Max(v => Width(new Markup(v.Value), options));
        int word = values.Max(v => ((IRenderable)new Markup(v.Value)).Measure(options, int.MaxValue).Min);
        int wanted = Math.Min(longest, Math.Max(maxWidth / 2, maxWidth < ResultTable.NarrowestTable ? word : 0));
        return Indent + names + Gap + wanted <= maxWidth ? Columns() : Lines();
    }

    private Grid Columns()
    {
        var grid = new Grid().AddColumn(new GridColumn().NoWrap().PadLeft(Indent).PadRight(Gap)).AddColumn(new GridColumn().PadRight(0));
        foreach (var (name, value) in values)
            grid.AddRow(new Markup(Grey(name)), new Markup(value));
        return grid;
    }

    private Rows Lines() => new(values.Select(v => new Padder(
        new Markup(v.Name.Length == 0 ? v.Value : $"{Grey(v.Name)}  {v.Value}"), new Padding(v.Name.Length == 0 ? 2 * Indent : Indent, 0, 0, 0))));

    private static string Grey(string name) => $"[grey]{Screen.Safe(name)}[/]";

    private static int Width(IRenderable text, RenderOptions options) => text.Measure(options, int.MaxValue).Max;
}
