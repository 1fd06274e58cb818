using Rlhf.Cli.Terminal;
using Rlhf.Evaluation;
using Spectre.Console;

namespace Rlhf.Cli.Verbs;

/// <summary>Shows a comparison before and after training.</summary>
internal static class ComparisonReport
{
    private const int RowsShown = 10, LettersShown = 160;

    /// <summary>The comparison under summary.json's names.</summary>
    public static object ToJson(EvaluationComparison comparison)
    {
        var s = RunSummary.Of(comparison, steps: 0, seconds: 0, modelDir: "");
        return new
        {
            s.Queries,
            s.RewardBefore,
            s.RewardAfter,
            s.Kl,
            s.Distinct2Before,
            s.Distinct2After,
            s.PerplexityBefore,
            s.PerplexityAfter,
            s.JudgeBefore,
            s.JudgeAfter,
        };
    }

    public static void Write(Screen screen, EvaluationComparison comparison)
    {
        screen.Line("[bold]Held-out queries, before and after[/]");
        screen.Write(Samples(comparison));
        screen.Write(Numbers(comparison));
        screen.Line(Verdict(comparison));
        screen.Line();
    }

    private static Table Samples(EvaluationComparison comparison)
    {
        var table = NewTable().AddColumn("query").AddColumn("response before").AddColumn(Right("reward"))
            .AddColumn("response after").AddColumn(Right("reward"));
        foreach (var row in comparison.Rows.Take(RowsShown))
            table.AddRow(
                new Markup($"[grey]{Screen.Safe(Short(row.Query))}[/]"),
                new Markup(Screen.Safe(Short(row.ResponseBefore))), Score(row.RewardBefore),
                new Markup(Screen.Safe(Short(row.ResponseAfter))), Score(row.RewardAfter));
        return table;
    }

    private static Table Numbers(EvaluationComparison comparison)
    {
        var table = NewTable().AddColumn("").AddColumn(Right("before")).AddColumn(Right("after"));
        foreach (var (name, before, after) in Lines(comparison))
            table.AddRow(new Markup($"[grey]{Screen.Safe(name)}[/]"), new Text(before), new Text(after));
        return table;
    }

    private static IEnumerable<(string Name, string Before, string After)> Lines(EvaluationComparison c)
    {
        var (before, after) = (c.Before, c.After);
        yield return ("reward, mean (95 % interval)", WithInterval(before.Reward), WithInterval(after.Reward));
        yield return ("reward, median", Signed(before.Reward.Median), Signed(after.Reward.Median));
        yield return ("reward, standard deviation", ProgressDisplay.Number(before.Reward.StandardDeviation),
            ProgressDisplay.Number(after.Reward.StandardDeviation));
        if (before.Judge is { } judgeBefore && after.Judge is { } judgeAfter)
            yield return ("judge, mean (95 % interval)", WithInterval(judgeBefore), WithInterval(judgeAfter));
        yield return ("KL from before, nats per response", "0", ProgressDisplay.Number(after.Kl));
        yield return ("perplexity under the model before", ProgressDisplay.Number(before.Perplexity, 1),
            ProgressDisplay.Number(after.Perplexity, 1));
        yield return ("distinct-2", ProgressDisplay.Number(before.Distinct2, 3), ProgressDisplay.Number(after.Distinct2, 3));
        yield return ("response length, tokens", ProgressDisplay.Number(before.MeanLength, 1),
            ProgressDisplay.Number(after.MeanLength, 1));
    }

    private static string Verdict(EvaluationComparison c)
    {
        var gain = c.RewardGain;
        string direction = gain.Mean >= 0 ? "rose" : "fell";
        string change = $"Reward {direction} by {ProgressDisplay.Number(Math.Abs(gain.Mean))} on average "
            + $"(95 % interval {Signed(gain.MeanCi95.Low)} to {Signed(gain.MeanCi95.High)})";
        return gain.MeanCi95.Low <= 0 && gain.MeanCi95.High >= 0
            ? $"[yellow]{Screen.Safe(change)}: no clear change.[/]" : $"{Screen.Safe(change)}.";
    }

    private static Table NewTable() => new Table().Border(TableBorder.Simple).BorderColor(Color.Grey);

    private static TableColumn Right(string title) => new TableColumn(title).RightAligned().NoWrap();

    private static Markup Score(double reward) => new($"[{(reward >= 0 ? "green" : "red")}]{Signed(reward)}[/]");

    private static string Short(string text)
    {
        string trimmed = text.Trim();
        return trimmed.Length <= LettersShown ? trimmed : trimmed[..LettersShown] + "…";
    }

    private static string WithInterval(SampleStatistics s) =>
        $"{Signed(s.Mean)} ({Signed(s.MeanCi95.Low)} to {Signed(s.MeanCi95.High)})";

    private static string Signed(double value) => (value > 0 ? "+" : "") + ProgressDisplay.Number(value);
}
