using Spectre.Console;
using Spectre.Console.Rendering;

namespace Rlhf.Cli.Terminal;

/// <summary>How far a piece of work is, on one line that fits a terminal's width.</summary>
/// <param name="Title">What is being done.</param>
/// <param name="Count">How many of how many: 3/120.</param>
/// <param name="Share">The same as a number from 0 to 1.</param>
/// <param name="Left">The time that is left, or that it took; may be empty.</param>
/// <param name="Rate">How fast it goes; may be empty.</param>
/// <param name="Metrics">Numbers worth watching, the most important one first.</param>
internal sealed record ProgressLine(
    string Title, string Count, double Share, string Left, string Rate, IReadOnlyList<(string Name, string Value)> Metrics)
{
    private const int ShortestBar = 8, LongestBar = 28, BarStep = 4, Narrow = 60, ShortestTitle = 6;

    private sealed record Part(string Text, string Markup);

    /// <summary>The line as markup. Where not everything fits, the rate goes first, then the bar, then metrics from the last one.</summary>
    /// <param name="width">Columns that it may take.</param>
    /// <param name="withBar">Is there a bar among its parts?</param>
    public string ToMarkup(int width, bool withBar)
    {
        string gap = width < Narrow ? " " : "  ";
        Part title = new(Title, Screen.Safe(Title)), count = new(Count, $"[grey]{Screen.Safe(Count)}[/]"), left = Plain(Left), rate = Plain(Rate),
            bar = new(new string('-', ShortestBar), "");
        Part[] metrics = [.. Metrics.Select(m => new Part($"{m.Name} {m.Value}", $"[grey]{Screen.Safe(m.Name)}[/] {Screen.Safe(m.Value)}"))];
        int used = Cells(count.Text);
        HashSet<Part> shown = [count];
        bool Add(Part part)
        {
            int cells = Cells(part.Text) + (part == title ? 1 : gap.Length);
            if (part.Text.Length == 0 || used + cells > width)
                return false;
            used += cells;
            return shown.Add(part);
        }
        if (!Add(title) && width - used > ShortestTitle && Title.Length > 0)
            Add(title = Plain(Shorten(Title, width - used - 1)));
        Add(left);
        foreach (var metric in metrics)
            if (!Add(metric))
                break;
        if (withBar && metrics.All(shown.Contains) && Add(bar))
        {
            Add(rate);
            int length = Math.Min(LongestBar, ShortestBar + (width - used) / BarStep * BarStep);
            int done = (int)Math.Round(length * Math.Clamp(Share, 0, 1));
            shown.Remove(bar);
            bar = new("", $"[teal]{new string('\u2501', done)}[/][grey30]{new string('\u2500', length - done)}[/]");
            shown.Add(bar);
        }
        else if (!withBar && metrics.All(shown.Contains))
            Add(rate);
        string head = string.Join(' ', new[] { title, bar, count }.Where(shown.Contains).Select(p => p.Markup));
        return string.Join(gap, new[] { rate, left }.Concat(metrics).Where(shown.Contains).Select(p => p.Markup).Prepend(head));
    }

    private static Part Plain(string text) => new(text, Screen.Safe(text));

    private static string Shorten(string text, int cells)
    {
        while (text.Length > 0 && Cells(text) + 1 > cells)
            text = text[..^1];
        return text.TrimEnd() + "…";
    }

    /// <summary>Columns that a text takes: two for the characters of East Asia.</summary>
    private static int Cells(string text) => new Segment(text).CellCount();
}
