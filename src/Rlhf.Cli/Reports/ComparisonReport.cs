using Rlhf.Cli.Terminal;
using Rlhf.Evaluation;
using Rlhf.Runs;

namespace Rlhf.Cli.Reports;

/// <summary>Shows a comparison before and after training.</summary>
internal static class ComparisonReport
{
    private const int RowsShown = 10, LettersShown = 160;

    /// <summary>The comparison under summary.json's names.</summary>
    public static object ToJson(EvaluationComparison comparison, (int Answers, SampleStatistics Reward)? bestOf)
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
            BestOfAnswers = bestOf?.Answers,
            BestOfReward = bestOf is var (_, best) ? RewardSummary.Of(best) : null,
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

    /// <summary>What needs no training, as a sentence.</summary>
    public static string BestOf(int answers, SampleStatistics best) =>
        $"For comparison, without any training: the best of {answers} answers of the model before has a reward of {ProgressDisplay.Number(best.Mean)} on "
        + $"average (95 % interval {ProgressDisplay.Number(best.MeanCi95.Low)} to {ProgressDisplay.Number(best.MeanCi95.High)}).";

    private static ResultTable Samples(EvaluationComparison comparison)
    {
        var table = new ResultTable("query").Words("response before").Number("reward").Words("response after").Number("reward");
        foreach (var row in comparison.Rows.Take(RowsShown))
            table.AddRow(
                $"[grey]{Screen.Safe(Short(row.Query))}[/]", Screen.Safe(Short(row.ResponseBefore)), Score(row.RewardBefore),
                Screen.Safe(Short(row.ResponseAfter)), Score(row.RewardAfter));
        return table;
    }

    private static ResultTable Numbers(EvaluationComparison comparison)
    {
        var table = new ResultTable("").Number("before").Number("after");
        foreach (var measure in Measure.Of(comparison))
        {
            var (before, after, _) = measure.Texts(ProgressDisplay.Number, Signed);
            table.AddRow($"[grey]{Screen.Safe(measure.Name)}[/]", Screen.Safe(before), Screen.Safe(after));
        }
        return table;
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

    private static string Score(double reward) => $"[{(reward >= 0 ? "green" : "red")}]{Signed(reward)}[/]";

    private static string Short(string text)
    {
        string trimmed = text.Trim();
        return trimmed.Length <= LettersShown ? trimmed : trimmed[..LettersShown] + "…";
    }

    private static string Signed(double value) => (value > 0 ? "+" : "") + ProgressDisplay.Number(value);
}
