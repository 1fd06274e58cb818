using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Tokenizers;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Cli.Reports;

/// <summary>What a reward model does with preference pairs, for the screen, the model card and programs.</summary>
internal static class PairReport
{
    // The mean over this many pairs is known well enough: its error is a hundredth of the rewards' spread.
    private const int PairsForCentering = 5000;

    /// <summary>A model that has learnt from pairs.</summary>
    /// <param name="Moments">Its rewards before they were centered; null when they were left as they are.</param>
    /// <param name="Evaluation">Held-out pairs; null when there are none.</param>
    public sealed record Outcome(RewardMoments? Moments, PairEvaluation? Evaluation);

    /// <summary>Centers the reward, if that is wanted, and measures it on held-out pairs as PPO will read them.</summary>
    public static Outcome Finish(
        SequenceClassifier model, ITokenizer tokenizer, IReadOnlyList<PreferencePair> train,
        IReadOnlyList<PreferencePair> heldOut, bool center)
    {
        var moments = center ? RewardCentering.Center(model, tokenizer, [.. train.Take(PairsForCentering)]) : null;
        var evaluation = heldOut.Count == 0 ? null : PairEvaluation.Of(new RewardModelReward(model, tokenizer), heldOut);
        return new(moments, evaluation);
    }

    public static object ToJson(PairEvaluation e) => new
    {
        e.Pairs,
        e.Accuracy,
        AccuracyCi95 = (double[])[e.AccuracyCi95.Low, e.AccuracyCi95.High],
        e.Loss,
        e.MeanMargin,
        e.Calibration.ExpectedCalibrationError,
        Calibration = e.Calibration.Bins.Select(b => new
        {
            b.Low,
            b.High,
            Pairs = b.Count,
            Predicted = b.Count == 0 ? (double?)null : b.Confidence,
            Observed = b.Count == 0 ? (double?)null : b.Accuracy,
        }),
    };

    public static IEnumerable<(string Name, string Value)> Facts(PairEvaluation e)
    {
        yield return ("pair accuracy (95 % interval)", $"{ProgressDisplay.Percent(e.Accuracy)} ({ProgressDisplay.Percent(e.AccuracyCi95.Low)} to "
            + $"{ProgressDisplay.Percent(e.AccuracyCi95.High)}) of {e.Pairs:N0}");
        yield return ("mean margin, chosen - rejected", ProgressDisplay.Number(e.MeanMargin, 3));
        yield return ("loss (a coin: 0.693)", ProgressDisplay.Number(e.Loss, 4));
        yield return ("calibration error", ProgressDisplay.Percent(e.Calibration.ExpectedCalibrationError));
    }

    /// <summary>The calibration curve, a row for each bin that has pairs.</summary>
    public static ModelCardTable Curve(PairEvaluation e) => new(
        "Calibration", ["chance that the answer with the higher reward is preferred", "pairs", "predicted, mean", "observed"],
        [.. e.Calibration.Bins.Where(b => b.Count > 0).Select(b => (IReadOnlyList<string>)
            [$"{ProgressDisplay.Percent(b.Low)} to {ProgressDisplay.Percent(b.High)}", $"{b.Count:N0}", ProgressDisplay.Percent(b.Confidence), ProgressDisplay.Percent(b.Accuracy)])]);

    public static void WriteCurve(Screen screen, PairEvaluation e)
    {
        var curve = Curve(e);
        var table = new ResultTable(curve.Columns[0], "Calibration");
        foreach (var column in curve.Columns.Skip(1))
            table.Number(column);
        foreach (var row in curve.Rows)
            table.AddRow([.. row.Select(Screen.Safe)]);
        screen.Write(table);
    }
}
