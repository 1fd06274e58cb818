using Rlhf.Training.Loop;

namespace Rlhf.Training.Ppo;

/// <summary>Means over the counted tokens of one minibatch, under TRL's names.</summary>
public sealed record MiniBatchStatistics
{
    /// <summary>loss/policy.</summary>
    public required double PolicyLoss { get; init; }

    /// <summary>loss/value.</summary>
    public required double ValueLoss { get; init; }

    /// <summary>loss/total = policy + VfCoef · value.</summary>
    public required double TotalLoss { get; init; }

    /// <summary>policy/entropy of the distribution at a token, nats.</summary>
    public required double Entropy { get; init; }

    /// <summary>policy/approxkl = ½ mean((logprob - old)²).</summary>
    public required double ApproxKl { get; init; }

    /// <summary>policy/policykl = mean(old - logprob).</summary>
    public required double PolicyKl { get; init; }

    /// <summary>policy/clipfrac, share of tokens whose policy gradient was clipped away.</summary>
    public required double ClipFrac { get; init; }

    /// <summary>policy/advantages_mean.</summary>
    public required double AdvantagesMean { get; init; }

    /// <summary>returns/mean.</summary>
    public required double ReturnsMean { get; init; }

    /// <summary>returns/var.</summary>
    public required double ReturnsVar { get; init; }

    /// <summary>val/vpred.</summary>
    public required double ValuePrediction { get; init; }

    /// <summary>val/error.</summary>
    public required double ValueError { get; init; }

    /// <summary>val/clipfrac.</summary>
    public required double ValueClipFrac { get; init; }

    /// <summary>val/mean, of the values before the update.</summary>
    public required double ValueMean { get; init; }

    /// <summary>val/var, of the values before the update.</summary>
    public required double ValueVar { get; init; }

    /// <summary>Mean of exp(logprob - old).</summary>
    public required double MeanRatio { get; init; }

    /// <summary>The gradient was taken away because the mean ratio was over <see cref="PpoConfig.RatioThreshold"/>.</summary>
    public bool SkippedByRatioThreshold { get; init; }

    /// <summary>What of it is NaN or infinite, loss or logits; such a minibatch is not applied. Null: nothing.</summary>
    internal string? NonFinite { get; init; }

    /// <summary>
    /// Where the ratio guard skipped the minibatch: which of the step's counted response tokens had the largest ratio. Null elsewhere.
    /// </summary>
    public int? LargestRatioToken { get; init; }

    /// <summary>Ratio of each counted token of the minibatch, row after row.</summary>
    public float[] Ratios { get; init; } = [];

    /// <summary>Advantage of each counted token of the minibatch, row after row.</summary>
    public float[] Advantages { get; init; } = [];

    /// <summary>Norm of the accumulated gradient before clipping; null where no optimizer step followed.</summary>
    public double? GradNorm { get; init; }
}

/// <summary>
/// What a step of <see cref="PpoTrainer"/> returns. B is the number of its samples, without those left out because their reward was not
/// finite (<see cref="DivergenceConfig.NonFiniteRewardAction"/>); no mean and no distribution but <see cref="Batch"/> knows of them.
/// </summary>
public sealed record PpoStatistics : PolicyStatistics
{
    /// <summary>objective/kl: mean over responses of the summed divergence from the reference, nats.</summary>
    public required double Kl { get; init; }

    /// <summary>objective/kl_dist: the same per response [B].</summary>
    public required float[] KlDist { get; init; }

    /// <summary>objective/kl_coef: β of this step.</summary>
    public required double KlCoef { get; init; }

    /// <summary>objective/entropy: mean over responses of -Σ logprob, nats.</summary>
    public required double ObjectiveEntropy { get; init; }

    /// <summary>ppo/mean_non_score_reward: mean of -β · KL per token.</summary>
    public required double MeanNonScoreReward { get; init; }

    /// <summary>ppo/mean_scores, after scaling and clipping.</summary>
    public required double MeanScores { get; init; }

    /// <summary>ppo/std_scores, after scaling and clipping.</summary>
    public required double StdScores { get; init; }

    /// <summary>Scores after scaling, normalizing and clipping [B].</summary>
    public required float[] ScoresUsed { get; init; }

    /// <summary>Tokens of each query [B].</summary>
    public required float[] QueryLengths { get; init; }

    /// <summary>Tokens of each response [B].</summary>
    public required float[] ResponseLengths { get; init; }

    /// <summary>Every minibatch of every epoch that ran, in order; those that were not finite are not among them.</summary>
    public required IReadOnlyList<MiniBatchStatistics> MiniBatches { get; init; }

    /// <summary>Epochs that ran: fewer than configured when the step stopped early.</summary>
    public required int PpoEpochs { get; init; }

    /// <summary>Learning rate of the step.</summary>
    public required double LearningRate { get; init; }

    /// <summary>The step's per-token data.</summary>
    public required PpoBatch Batch { get; init; }

    /// <summary>Seconds per phase, under TRL's names (time/ppo/…), and under time/ppo/optimize/ what the epochs spent on forward,
    /// head, backward and optimizer (on a GPU: on handing it the work).</summary>
    public required IReadOnlyDictionary<string, double> Seconds { get; init; }

    /// <summary>What the guards against divergence found, under <c>ppo/guard/</c>.</summary>
    public IReadOnlyDictionary<string, double> Guards { get; init; } = new Dictionary<string, double>();

    /// <summary>
    /// Single numbers under TRL's names; those of minibatches are absent where a guard left all of the step's updates out.
    /// </summary>
    public override IReadOnlyDictionary<string, double> Scalars()
    {
        double Mean(Func<MiniBatchStatistics, double> value) => MiniBatches.Count > 0 ? MiniBatches.Average(value) : double.NaN;
        var scalars = new Dictionary<string, double>
        {
            ["objective/kl"] = Kl,
            ["objective/kl_coef"] = KlCoef,
            ["objective/entropy"] = ObjectiveEntropy,
            ["ppo/mean_non_score_reward"] = MeanNonScoreReward,
            ["ppo/mean_scores"] = MeanScores,
            ["ppo/std_scores"] = StdScores,
            ["ppo/learning_rate"] = LearningRate,
            ["ppo/loss/policy"] = Mean(m => m.PolicyLoss),
            ["ppo/loss/value"] = Mean(m => m.ValueLoss),
            ["ppo/loss/total"] = Mean(m => m.TotalLoss),
            ["ppo/policy/entropy"] = Mean(m => m.Entropy),
            ["ppo/policy/approxkl"] = Mean(m => m.ApproxKl),
            ["ppo/policy/policykl"] = Mean(m => m.PolicyKl),
            ["ppo/policy/clipfrac"] = Mean(m => m.ClipFrac),
            ["ppo/policy/advantages_mean"] = Mean(m => m.AdvantagesMean),
            ["ppo/returns/mean"] = Mean(m => m.ReturnsMean),
            ["ppo/returns/var"] = Mean(m => m.ReturnsVar),
            ["ppo/val/vpred"] = Mean(m => m.ValuePrediction),
            ["ppo/val/error"] = Mean(m => m.ValueError),
            ["ppo/val/clipfrac"] = Mean(m => m.ValueClipFrac),
            ["ppo/val/mean"] = Mean(m => m.ValueMean),
            ["ppo/val/var"] = Mean(m => m.ValueVar),
            ["ppo/val/var_explained"] = Mean(m => m.ReturnsVar) is > 0 and var variance
                ? 1 - Mean(m => m.ValueError) / variance : 0,
            ["ppo/grad_norm"] = MiniBatches.Count > 0 ? MiniBatches.Average(m => m.GradNorm) ?? 0 : double.NaN,
            ["ppo/ratio_guard_skipped"] = MiniBatches.Count(m => m.SkippedByRatioThreshold),
            ["env/reward_mean"] = RewardMean,
            ["env/reward_std"] = Std(Scores),
            ["tokens/queries_len_mean"] = QueryLengths.Average(),
            ["tokens/queries_len_std"] = Std(QueryLengths),
            ["tokens/responses_len_mean"] = ResponseLengths.Average(),
            ["tokens/responses_len_std"] = Std(ResponseLengths),
        };
        if (MiniBatches.Count == 0)
            foreach (var name in scalars.Where(s => double.IsNaN(s.Value)).Select(s => s.Key).ToArray())
                scalars.Remove(name);
        foreach (var (name, value) in Guards.Concat(Seconds))
            scalars[name] = value;
        return scalars;
    }

    /// <summary>
    /// Values to be shown as histograms, under TRL's names; tokens that a response mask leaves out are not among them.
    /// </summary>
    public override IReadOnlyDictionary<string, float[]> Distributions() => new Dictionary<string, float[]>
    {
        ["objective/kl_dist"] = KlDist,
        ["objective/logprobs"] = [.. Batch.Logprobs.Where((_, i) => Batch.Mask[i] != 0)],
        ["objective/ref_logprobs"] = [.. Batch.RefLogprobs.Where((_, i) => Batch.Mask[i] != 0)],
        ["ppo/policy/advantages"] = [.. MiniBatches.SelectMany(m => m.Advantages)],
        ["ppo/policy/ratio"] = [.. MiniBatches.SelectMany(m => m.Ratios)],
        ["env/reward_dist"] = Scores,
        ["tokens/queries_dist"] = QueryLengths,
        ["tokens/responses_dist"] = ResponseLengths,
    };

    /// <summary>Standard deviation with Bessel's correction; 0 for a single value.</summary>
    internal static double Std(IReadOnlyList<float> values)
    {
        double mean = values.Average(v => (double)v);
        return values.Count < 2 ? 0 : Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)) / (values.Count - 1));
    }
}
