using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Rewards;
using Rlhf.Training.Groups;
using Rlhf.Training.Loop;
using static TorchSharp.torch;

namespace Rlhf.Training.Grpo;

/// <summary>
/// Group relative policy optimization: answers to a prompt are compared with each other, and tokens of better ones become likelier within
/// a clipped ratio. TRL's GRPOTrainer, number for number, with its kin (BNPO, Dr. GRPO, DAPO, CISPO, SAPO, GSPO).
/// </summary>
/// <remarks>The step is <see cref="GroupTrainer"/>'s; here are its advantages and its loss. Formulas are in <see cref="GrpoMath"/>.</remarks>
public sealed class GrpoTrainer : GroupTrainer
{
    /// <summary>Prepares the trainer.</summary>
    /// <param name="policy">The policy; trained in place.</param>
    /// <param name="config">The settings.</param>
    /// <param name="reference">What the policy is held near to, freed with the trainer if it is a copy; null makes a frozen copy of the policy
    /// as it is now, or takes the policy with its adapter off where it has one, if <see cref="GroupConfig.Beta"/> is above 0.</param>
    /// <param name="totalSteps">Steps of the run, for schedules that end; required unless the schedule is constant.</param>
    /// <exception cref="Runtime.ConfigurationException">A setting cannot be used.</exception>
    /// <exception cref="ArgumentException">The schedule needs <paramref name="totalSteps"/>, a reference is given with Beta 0, or all
    /// parameters are frozen.</exception>
    public GrpoTrainer(CausalLM policy, GrpoConfig config, Reference? reference = null, long? totalSteps = null)
        : base(policy, config, reference, totalSteps) => Config = config;

    /// <summary>The settings.</summary>
    public GrpoConfig Config { get; }

    /// <inheritdoc/>
    public override string Name => "grpo";

    private protected override GroupAdvantages Advantages(
        StepRows rows, AnswerLogprobs before, IReadOnlyList<float> scores, IReadOnlyList<ScoreComponent> components) =>
        Config.MultiObjectiveAggregation == RewardAggregation.NormalizeThenSum
            ? GrpoMath.NormalizeThenSum(components.Count > 0 ? components : [new("reward", 1, scores)], Config.NumGenerations)
            : GrpoMath.Advantages([.. scores.Select(s => (double)s)], Config.NumGenerations, Config.ScaleRewards);

    private protected override MiniBatchLoss Loss(MiniBatchTokens tokens, UpdateSize update)
    {
        bool ofAnswers = Config.ImportanceSamplingLevel == ImportanceSamplingLevel.Sequence;
        var (rows, mask, advantages) = (tokens.Rows, tokens.Mask, tokens.Advantages);

        // 1. Ratios of new to old probability, of tokens or of whole answers.
        var logRatio = tokens.Logprobs - tokens.OldLogprobs;
        var ratio = GroupMath.Ratio(ofAnswers ? rows.Spread(rows.SumPerRow(logRatio * mask) / tokens.Lengths) : logRatio);

        // 2. The loss of each token.
        var losses = Config.LossType switch
        {
            GrpoLossType.Cispo => -ratio.clamp(max: Config.EpsilonHigh!.Value).detach() * advantages * tokens.Logprobs,
            GrpoLossType.Sapo => -GrpoMath.SoftGate(ratio, advantages, Config.SapoTemperaturePos, Config.SapoTemperatureNeg) * advantages,
            _ => GroupMath.ClippedLoss(ratio, advantages, Config.LowerClip, Config.UpperClip, Config.Delta),
        };
        if (Config.TopEntropyQuantile < 1)
            losses *= GrpoMath.HighEntropy(tokens.Entropies, mask, Config.TopEntropyQuantile);

        // 3. Plus its divergence from the reference.
        Tensor? kl = null;
        if (tokens.RefLogprobs is { } reference)
        {
            kl = GroupMath.Kl(tokens.Logprobs, reference);
            if (Config.UseBiasCorrectionKl)
                kl *= ratio;
            losses += Config.Beta * kl;
        }

        // 4. One number of them; parts of an update add up.
        var loss = Config.LossType switch
        {
            GrpoLossType.Grpo or GrpoLossType.Sapo => (rows.SumPerRow(losses * mask) / tokens.Lengths).sum() / update.Rows,
            GrpoLossType.Bnpo => tokens.Mean(losses) / update.MiniBatches,
            GrpoLossType.DrGrpo => (losses * mask).sum() / ((double)update.Rows * Config.MaxCompletionLength),
            _ => (losses * mask).sum() / Math.Max(1, update.Tokens),
        };
        return new(loss, Metrics(tokens, ratio, kl, ofAnswers));
    }

    private Dictionary<string, Tensor> Metrics(MiniBatchTokens tokens, Tensor ratio, Tensor? kl, bool ofAnswers)
    {
        using var noGrad = no_grad();
        var metrics = Config.LossType switch
        {
            GrpoLossType.Sapo => [],
            GrpoLossType.Cispo => new()
            {
                ["cispo_clip_ratio"] = tokens.Mean(ratio.gt(Config.EpsilonHigh!.Value).logical_and(tokens.Advantages.gt(0)).to(float32)),
            },
            _ => MiniBatchLoss.ClipRatios(tokens, Config.Delta is { } delta ? ratio.clamp(max: delta) : ratio, Config, ofAnswers),
        };
        metrics["entropy"] = tokens.Mean(tokens.Entropies);
        if (kl is not null)
            metrics["kl"] = tokens.Mean(kl);
        return metrics;
    }
}
