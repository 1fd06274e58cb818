using Rlhf.Data;
using Rlhf.Rewards;

namespace Rlhf.Evaluation;

/// <summary>How well a reward tells the chosen answer of a pair from the rejected one.</summary>
/// <param name="Pairs">Pairs.</param>
/// <param name="Accuracy">Share of pairs whose chosen answer has the higher reward; equal rewards count as wrong.</param>
/// <param name="AccuracyCi95">95 % interval of the accuracy (Wilson 1927).</param>
/// <param name="Loss">
/// Bradley and Terry's mean negative log-likelihood -ln σ(chosen - rejected), in nats; a coin gives 0.693.
/// </param>
/// <param name="MeanMargin">Mean of chosen - rejected, in units of reward.</param>
/// <param name="Calibration">
/// Whether the predicted probability σ(r_a - r_b) that answer a wins is how often it wins. Each pair counts once, from the side
/// of the answer with the higher reward, so the bins lie between 0.5 and 1: Confidence is the mean predicted probability of a
/// bin, Accuracy the observed frequency.
/// </param>
public sealed record PairEvaluation(
    int Pairs, double Accuracy, ConfidenceInterval AccuracyCi95, double Loss, double MeanMargin, Calibration Calibration)
{
    private const int BinsOverHalf = 10;

    /// <summary>Measures rewards that are known.</summary>
    /// <param name="chosen">Reward of each chosen answer.</param>
    /// <param name="rejected">Reward of each rejected answer.</param>
    /// <exception cref="ArgumentException">The counts differ, there is no pair, or a reward is not finite.</exception>
    public static PairEvaluation Of(IReadOnlyList<float> chosen, IReadOnlyList<float> rejected)
    {
        if (chosen.Count != rejected.Count || chosen.Count == 0)
            throw new ArgumentException("Pairs need as many chosen as rejected answers, at least one; "
                + $"got {chosen.Count} and {rejected.Count}.");
        double[] margins = [.. chosen.Zip(rejected, (c, r) => (double)c - r)];
        if (Array.FindIndex(margins, m => !double.IsFinite(m)) is >= 0 and var bad)
            throw new ArgumentException($"Pair {bad} has the rewards {chosen[bad]} and {rejected[bad]}; they must be finite.");
        double accuracy = margins.Count(m => m > 0) / (double)margins.Length;
        return new(margins.Length, accuracy, ConfidenceInterval.OfShare(accuracy, margins.Length), margins.Average(m => SoftPlus(-m)),
            margins.Average(), CalibrationOf(margins));
    }

    /// <summary>Scores all answers and measures the rewards.</summary>
    /// <param name="reward">The reward.</param>
    /// <param name="pairs">Pairs that it was not trained on; at least one.</param>
    /// <exception cref="ArgumentException">There is no pair.</exception>
    /// <exception cref="RewardException">The reward failed, or gave a score that is not finite.</exception>
    public static PairEvaluation Of(IRewardFunction reward, IReadOnlyList<PreferencePair> pairs)
    {
        var scores = reward.ScoreChecked([.. pairs.Select(p => new Completion(p.Prompt, p.Chosen)),
            .. pairs.Select(p => new Completion(p.Prompt, p.Rejected))]);
        return Of([.. scores.Take(pairs.Count)], [.. scores.Skip(pairs.Count)]);
    }

    /// <summary>
    /// Every pair is seen from both sides, p with "won" and 1 - p with "lost": the curve is then symmetric, equal rewards win
    /// half of the time, and its upper half says everything.
    /// </summary>
    private static Calibration CalibrationOf(double[] margins)
    {
        double[] predicted = [.. margins.Select(Sigmoid), .. margins.Select(m => Sigmoid(-m))];
        var bothSides = Calibration.Of(predicted, [.. predicted.Select((_, i) => i < margins.Length)], 2 * BinsOverHalf);
        return new(bothSides.ExpectedCalibrationError, [.. bothSides.Bins.Skip(BinsOverHalf)]);
    }

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    private static double SoftPlus(double x) => Math.Max(x, 0) + Math.Log(1 + Math.Exp(-Math.Abs(x)));
}
