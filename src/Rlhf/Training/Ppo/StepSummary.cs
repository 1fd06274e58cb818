using Rlhf.Training.Loop;
using static TorchSharp.torch;

namespace Rlhf.Training.Ppo;

/// <summary>Makes a step's statistics of what the step computed.</summary>
internal static class StepSummary
{
    public static PpoStatistics Of(
        long step, PpoConfig config, StepRows rows, PpoBatch batch, StepScores scores, Updates updates, double klCoef, double learningRate,
        StepWatch watch, PpoGuards guards)
    {
        int[] kept = rows.Kept;
        var miniBatches = updates.MiniBatches;
        float[] PerRow(Func<int, double> value) => Array.ConvertAll(kept, b => (float)value(b));
        double MaskedSum(float[] perToken, int b)
        {
            double sum = 0;
            for (int i = rows.Offsets[b]; i < rows.Offsets[b + 1]; i++)
                sum += (double)perToken[i] * rows.Mask[i];
            return sum;
        }
        var klDist = PerRow(b => MaskedSum(batch.Kls, b));
        var used = PerRow(b => scores.Used[b]);
        double kl = klDist.Average(k => (double)k);
        int? ratioRow = miniBatches.Where(m => m.SkippedByRatioThreshold).MaxBy(m => m.Ratios.Max())?.LargestRatioToken is { } token
            ? rows.RowOf(token) : null;
        watch.Done("calc_stats");
        return new PpoStatistics
        {
            Step = step,
            Kl = kl,
            KlDist = klDist,
            KlCoef = klCoef,
            ObjectiveEntropy = kept.Average(b => -MaskedSum(batch.Logprobs, b)),
            MeanNonScoreReward = PpoMath.MaskedMean(batch.NonScoreRewards, rows.Mask),
            MeanScores = used.Average(s => (double)s),
            StdScores = PpoStatistics.Std(used),
            Scores = PerRow(b => scores.Given[b]),
            ScoresUsed = used,
            QueryLengths = PerRow(b => rows.QueryLength(b)),
            ResponseLengths = PerRow(b => rows.Offsets[b + 1] - rows.Offsets[b]),
            MiniBatches = miniBatches,
            PpoEpochs = updates.Epochs,
            LearningRate = learningRate,
            Batch = batch,
            Seconds = watch.Seconds(),
            Guards = guards.Counts,
            LargestRatioRow = ratioRow,
            Warnings = [.. guards.Warnings, .. Warnings(config, rows, miniBatches)],
        };
    }

    /// <summary>
    /// Masked means over one minibatch; where the ratio guard takes its gradient away, its losses are 0 as in TRL.
    /// </summary>
    public static MiniBatchStatistics OfMiniBatch(
        PpoConfig config, PolicyLoss policy, ValueLoss value, Tensor entropy, Tensor values, Tensor weight,
        float[] mask, float[] advantages, float[] returns, float[] oldValues, IReadOnlyList<int> tokens)
    {
        // One transfer from the device: the per-token terms, each a masked mean.
        var terms = stack([policy.Losses, value.Losses, entropy, policy.LogRatio.square().mul_(0.5), -policy.LogRatio,
            policy.IsClipped.to(float32), values, value.SquaredErrors, value.IsClipped.to(float32), policy.Ratio]);
        var means = terms.mul(weight).sum(1, type: float64).cpu().data<double>().ToArray();
        double policyLoss = means[0], valueLoss = means[1], total = policyLoss + config.VfCoef * valueLoss, meanRatio = means[9];
        bool skipped = double.IsFinite(total) && meanRatio > config.RatioThreshold;
        float[] Counted(float[] perToken) => [.. perToken.Where((_, i) => mask[i] != 0)];
        var ratios = policy.Ratio.cpu().data<float>().ToArray();
        int largest = Enumerable.Range(0, ratios.Length).MaxBy(i => ratios[i] * mask[i]);
        return new MiniBatchStatistics
        {
            PolicyLoss = skipped ? 0 : policyLoss,
            ValueLoss = skipped ? 0 : valueLoss,
            TotalLoss = skipped ? 0 : total,
            Entropy = means[2],
            ApproxKl = means[3],
            PolicyKl = means[4],
            ClipFrac = means[5],
            AdvantagesMean = PpoMath.MaskedMean(advantages, mask),
            ReturnsMean = PpoMath.MaskedMean(returns, mask),
            ReturnsVar = PpoMath.MaskedVar(returns, mask),
            ValuePrediction = means[6],
            ValueError = means[7],
            ValueClipFrac = means[8],
            ValueMean = PpoMath.MaskedMean(oldValues, mask),
            ValueVar = PpoMath.MaskedVar(oldValues, mask),
            MeanRatio = meanRatio,
            SkippedByRatioThreshold = skipped,
            LargestRatioToken = skipped ? tokens[largest] : null,
            // Every quantity of the loss is finite as long as the logits are, but for the advantages and returns.
            NonFinite = double.IsFinite(total) ? null : double.IsFinite(means[2]) && double.IsFinite(means[4]) ? "loss" : "logits",
            Ratios = Counted(ratios),
            Advantages = Counted(advantages),
        };
    }

    /// <summary>Masked mean of the ratio of new to old probabilities: what the ratio guard looks at.</summary>
    public static double MeanRatio(PolicyLoss policy, Tensor weight) =>
        policy.Ratio.mul(weight).sum(float64).cpu().item<double>();

    private static IEnumerable<TrainingWarning> Warnings(PpoConfig config, StepRows rows, IReadOnlyList<MiniBatchStatistics> miniBatches)
    {
        int skipped = miniBatches.Count(m => m.SkippedByRatioThreshold);
        if (skipped > 0)
            yield return new("ratio_threshold", $"{skipped} of {miniBatches.Count} minibatches had a mean ratio over RatioThreshold "
                + $"({config.RatioThreshold}) and were skipped: the policy moved too far within a step. Lower LearningRate or PpoEpochs.");
        int counted = (int)rows.Mask.Sum(), responses = rows.Kept.Length;
        if (counted < 2 * responses)
            yield return new("few_tokens", $"{responses} responses have {counted} counted tokens in all: advantages over so few tokens are "
                + "mostly noise. Ask for longer responses (MaxNewTokens, MinNewTokens).");
    }
}
