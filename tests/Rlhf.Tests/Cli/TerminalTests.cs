using System.Text.RegularExpressions;
using Rlhf.Cli.Terminal;
using Spectre.Console;

namespace Rlhf.Tests.Cli;

/// <summary>What people see in terminals of several widths.</summary>
public sealed class TerminalTests(ToyModels toys) : IClassFixture<ToyModels>
{
    [Theory]
    [InlineData(40)]
    [InlineData(80)]
    [InlineData(120)]
    public void Progress_stays_on_one_line_and_messages_stand_above_it(int width)
    {
        using var terminal = new PseudoTerminal(toys.Folder, width, "ppo", "--model", "policy", "--reward-model", "classifier", "--dataset",
            "reviews.csv", "--longer-than", "0", "--batch-size", "8", "--mini-batch-size", "8", "--eval-queries", "6", "--threads", "1",
            "--steps", "100000", "--output", "stopped-" + width);
        terminal.WaitFor(" left");
        terminal.Interrupt();
        Assert.Equal(130, terminal.Finish());
        string screen = terminal.Screen.ToString();
        string[] lines = [.. terminal.Screen.Lines];
        string progress = Assert.Single(lines, line => line.StartsWith("Aligning", StringComparison.Ordinal));
        Assert.DoesNotContain(terminal.Screen.Wrapped, line => line.StartsWith("Aligning", StringComparison.Ordinal));
        Assert.Matches(@"/100000\b.* left\b", progress);
        const string Message = "Stopping after the current step; press Ctrl-C again to quit without saving.\n";
        Assert.Contains("\n" + Message + progress + "\n", screen, StringComparison.Ordinal);
        Assert.DoesNotContain("starting", screen, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_written_in_pieces_is_not_drawn_into()
    {
        var status = new StatusLine();
        var written = new StringWriter { NewLine = "\r\n" };
        using var above = new UnbreakableWriter(written, status);
        status.Show(written, "3/7");
        above.Write("half ");
        status.Show(written, "4/7");
        above.Write('a');
        above.WriteLine(" line");
        status.Show(written, "5/7");
        Assert.True(status.IsDrawn);
        status.End();
        above.WriteLine("after");
        var screen = new TerminalScreen(40);
        screen.Write(written.ToString());
        Assert.Equal(["half a line", "5/7", "after", ""], screen.Lines);
    }

    [Theory]
    [InlineData(118, "Aligning ━━━━━━━━━━━━━━────────────── 12/24  1.2 s/step  2:12 left  reward 1.52  KL 10.32")]
    [InlineData(78, "Aligning ━━━━━━━━──────── 12/24  1.2 s/step  2:12 left  reward 1.52  KL 10.32")]
    [InlineData(64, "Aligning ━━━━━━────── 12/24  2:12 left  reward 1.52  KL 10.32")]
    [InlineData(48, "Aligning 12/24 2:12 left reward 1.52 KL 10.32")]
    [InlineData(38, "Aligning 12/24 2:12 left reward 1.52")]
    [InlineData(24, "Aligning 12/24 2:12 left")]
    [InlineData(18, "Aligning 12/24")]
    [InlineData(13, "Aligni… 12/24")]
    [InlineData(8, "12/24")]
    public void A_line_of_progress_gives_up_what_is_needed_least(int width, string shown)
    {
        var line = new ProgressLine("Aligning", "12/24", 0.5, "2:12 left", "1.2 s/step", [("reward", "1.52"), ("KL", "10.32")]);
        Assert.Equal(shown, Markup.Remove(line.ToMarkup(width, withBar: true)));
        Assert.True(shown.Length <= width);
    }

    [Theory]
    [InlineData(40)]
    [InlineData(50)]
    [InlineData(60)]
    public void In_narrow_terminals_every_number_stands_beside_its_name(int width)
    {
        string[] comparison = ["evaluate", "--before", "policy", "--after", "policy", "--reward-model", "classifier", .. Texts];
        foreach (var (name, before, after) in Rows(Show(120, comparison), TwoNumbers))
            Assert.Contains($"\n{name}\n  before   {before}\n  after    {after}\n", Show(width, comparison), StringComparison.Ordinal);

        string[] sideBySide = ["evaluate", "--policies", "policy,policy/../policy", "--scorers", "classifier", "--eval-best-of", "0", .. Texts];
        string list = Show(width, sideBySide);
        foreach (var (name, first, second) in Rows(Show(120, sideBySide), TwoNumbers))
            Assert.Matches(Broken($"\n{name}\n  policy {first}\n  policy/../policy {second}\n"), list);
    }

    [Theory]
    [InlineData(40)]
    [InlineData(60)]
    public void A_confusion_matrix_is_a_list_in_narrow_terminals(int width)
    {
        string[] measure = ["evaluate", "--classifier", "classifier", "--dataset", "reviews.csv", "--threads", "1"];
        foreach (var (label, negative, positive) in Rows(Show(120, measure), @"^  (NEGATIVE|POSITIVE) +(\d+) +(\d+) .*$"))
            Assert.Contains($"\n{label}\n  as NEGATIVE   {negative}\n  as POSITIVE   {positive}\n  precision ", Show(width, measure),
                StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(40)]
    [InlineData(69)]
    [InlineData(70)]
    [InlineData(200)]
    public void A_table_that_does_not_fit_is_a_list_at_any_width(int width)
    {
        var table = new ResultTable("label", "Confusion");
        for (int i = 0; i < 12; i++)
            table.Number("as label " + i);
        table.AddRow(["joy", .. Enumerable.Range(100, 12).Select(i => $"{i}")]);
        var text = new StringWriter();
        var console = AnsiConsole.Create(new() { Ansi = AnsiSupport.No, Out = new AnsiConsoleOutput(text) });
        console.Profile.Width = width;
        console.Write(table);
        string shown = string.Join('\n', text.ToString().ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd()));
        Assert.All(shown.Split('\n'), line => Assert.True(line.Length <= width, line));
        if (width < 200)
            Assert.Contains("joy\n  as label 0    100\n  as label 1    101\n", shown, StringComparison.Ordinal);
        else
            Assert.Matches(@"label +as label 0 +as label 1 .*\n.*\n +joy +100 +101 ", shown);
    }

    [Fact]
    public void Help_and_facts_are_not_broken_in_words_in_narrow_terminals()
    {
        string help = Show(40, "ppo", "--help");
        Assert.Contains("\n  --learning-rate NUMBER\n", help, StringComparison.Ordinal);
        Assert.Contains("\n      Adam's learning rate.", help, StringComparison.Ordinal);
        Assert.Matches(@"\n  libtorch +\d+\.\d+\.\d+", Show(40, "info"));
    }

    private static readonly string[] Texts = ["--dataset", "reviews.csv", "--longer-than", "0", "--eval-queries", "6", "--threads", "1"];

    private const string Number = @"[-+]?\d[\d.,]*(?: %| \([^)]*\))?", TwoNumbers = $@"^  (\S.*?) {{2,}}({Number}) {{2,}}({Number})$";

    /// <summary>A pattern of a text in which every space may be a line break or several spaces.</summary>
    private static string Broken(string text) => Regex.Escape(text).Replace(@"\ ", @"\s+", StringComparison.Ordinal);

    /// <summary>What a command that succeeds leaves on the screen; no line is broken by the terminal.</summary>
    private string Show(int width, params string[] arguments)
    {
        using var terminal = new PseudoTerminal(toys.Folder, width, arguments);
        int code = terminal.Finish();
        Assert.True(code == 0, $"rlhf {string.Join(' ', arguments)} ended with {code}:\n{terminal.Screen}");
        Assert.Empty(terminal.Screen.Wrapped);
        return terminal.Screen.ToString();
    }

    /// <summary>Rows of a name and two numbers.</summary>
    private static List<(string Name, string First, string Second)> Rows(string screen, string pattern)
    {
        var rows = screen.Split('\n').Select(line => Regex.Match(line, pattern)).Where(m => m.Success)
            .Select(m => (m.Groups[1].Value, m.Groups[2].Value, m.Groups[3].Value)).ToList();
        Assert.True(rows.Count >= 2, screen);
        return rows;
    }
}
