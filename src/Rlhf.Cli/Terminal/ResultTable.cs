using Spectre.Console;
using Spectre.Console.Rendering;

namespace Rlhf.Cli.Terminal;

/// <summary>
/// Results in rows and columns. On a terminal of fewer than 70 columns, or too narrow for the numbers of this table, each row is a list:
/// the row's name, and below it every value beside the name of its column.
/// </summary>
/// <param name="firstColumn">Heading of the rows' names; may be empty.</param>
/// <param name="title">Stands above the table; null: nothing does.</param>
internal sealed class ResultTable(string firstColumn, string? title = null) : Renderable
{
    /// <summary>Terminals of fewer columns show lists in place of tables.</summary>
    public const int NarrowestTable = 70;

    private readonly List<(string Name, bool IsNumber)> columns = [];
    private readonly List<string[]> rows = [];

    /// <summary>Plain text below the table; null: none.</summary>
    public string? Caption { get; init; }

    /// <summary>Rows so far.</summary>
    public int Count => rows.Count;

    /// <summary>Adds a column of words, which may be broken into lines.</summary>
    public ResultTable Words(string name)
    {
        columns.Add((name, false));
        return this;
    }

    /// <summary>Adds a column of numbers, which stand at its right side and are never broken.</summary>
    public ResultTable Number(string name)
    {
        columns.Add((name, true));
        return this;
    }

    /// <summary>Adds a row: its name and a cell for each column, all as markup. Cells without a value are empty.</summary>
    public void AddRow(params string[] cells)
    {
        if (cells.Length != columns.Count + 1)
            throw new ArgumentException($"A row of {cells.Length} cells does not fit {columns.Count} columns beside the row's name.");
        rows.Add(cells);
    }

    protected override Measurement Measure(RenderOptions options, int maxWidth) => Layout(options, maxWidth).Measure(options, maxWidth);

    protected override IEnumerable<Segment> Render(RenderOptions options, int maxWidth) =>
        Layout(options, maxWidth).Render(options, maxWidth);

    private IRenderable Layout(RenderOptions options, int maxWidth)
    {
        IRenderable table = Table();
        return maxWidth < NarrowestTable || table.Measure(options, int.MaxValue).Min > maxWidth ? List() : table;
    }

    private Table Table()
    {
        var table = new Table().Border(TableBorder.Simple).BorderColor(Color.Grey).AddColumn(new TableColumn(Screen.Safe(firstColumn)));
        if (title is not null)
            table.Title($"[bold]{Screen.Safe(title)}[/]");
        if (Caption is not null)
            table.Caption(Screen.Safe(Caption));
        foreach (var (name, isNumber) in columns)
            table.AddColumn(isNumber ? new TableColumn(Screen.Safe(name)).RightAligned().NoWrap() : new TableColumn(Screen.Safe(name)));
        foreach (var row in rows)
            table.AddRow(row);
        return table;
    }

    private Rows List()
    {
        List<IRenderable> parts = title is null ? [] : [new Markup($"[bold]{Screen.Safe(title)}[/]")];
        foreach (var row in rows)
        {
            parts.Add(new Markup(row[0]));
            parts.Add(new NamedValues([.. columns.Zip(row.Skip(1), (column, cell) => (column.Name, cell)).Where(c => c.cell.Length > 0)]));
        }
        if (Caption is not null)
            parts.Add(new Text(Caption));
        parts.Add(new Text(""));
        return new(parts);
    }
}
