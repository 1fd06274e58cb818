using System.ComponentModel;
using Rlhf.Runtime;
using Rlhf.Training.Groups;

namespace Rlhf.Training.Grpo;

/// <summary>How the losses of tokens become one (TRL: <c>loss_type</c>).</summary>
public enum GrpoLossType
{
    /// <summary>Mean over each answer, then over answers: long answers' tokens count less (https://arxiv.org/abs/2402.03300).</summary>
    Grpo,

    /// <summary>Mean over the tokens of a minibatch.</summary>
    Bnpo,

    /// <summary>Sum over tokens, divided by answers × <see cref="GroupConfig.MaxCompletionLength"/>: no bias by length
    /// (https://arxiv.org/abs/2503.20783; with <see cref="RewardScale.None"/>).</summary>
    DrGrpo,

    /// <summary>Mean over the tokens of all answers of an update (https://arxiv.org/abs/2503.14476).</summary>
    Dapo,

    /// <summary>As DAPO, but instead of clipping, the ratio is a weight that no gradient flows through, of at most <see cref="GroupConfig.EpsilonHigh"/>
    /// (https://arxiv.org/abs/2506.13585).</summary>
    Cispo,

    /// <summary>Mean as in GRPO; the ratio is bounded softly, by a sigmoid (https://arxiv.org/abs/2511.20347).</summary>
    Sapo,
}

/// <summary>What the rewards of a group are divided by (TRL: <c>scale_rewards</c>).</summary>
public enum RewardScale
{
    /// <summary>The deviation within the group.</summary>
    Group,

    /// <summary>The deviation over all answers of the step.</summary>
    Batch,

    /// <summary>Nothing.</summary>
    None,
}

/// <summary>Whose probability the ratio is of (TRL: <c>importance_sampling_level</c>).</summary>
public enum ImportanceSamplingLevel
{
    /// <summary>Each token's.</summary>
    Token,

    /// <summary>The whole answer's, by the mean over its tokens: GSPO (https://arxiv.org/abs/2507.18071).</summary>
    Sequence,
}

/// <summary>How several rewards become one advantage (TRL: <c>multi_objective_aggregation</c>).</summary>
public enum RewardAggregation
{
    /// <summary>Their weighted sum is normalized.</summary>
    SumThenNormalize,

    /// <summary>Each is normalized within its group, and their weighted sum over the step (https://arxiv.org/abs/2601.05242).</summary>
    NormalizeThenSum,
}

/// <summary>Settings of <see cref="GrpoTrainer"/>: TRL's GRPOConfig, under its names and with its defaults.</summary>
public sealed record GrpoConfig : GroupConfig
{
    /// <summary>How the losses of tokens become one; DAPO's by default.</summary>
    [Description("How the losses of tokens become one.")]
    public GrpoLossType LossType { get; init; } = GrpoLossType.Dapo;

    /// <summary>What rewards are divided by; the group's deviation by default.</summary>
    [Description("What rewards are divided by: the deviation within the group, over the batch, or nothing.")]
    public RewardScale ScaleRewards { get; init; }

    /// <summary>Whose probability the ratio is of; a token's by default.</summary>
    [Description("Whose probability is compared with that before the step: each token's, or the whole answer's (GSPO).")]
    public ImportanceSamplingLevel ImportanceSamplingLevel { get; init; }

    /// <summary>How several rewards become one advantage; their sum is normalized by default.</summary>
    [Description("How several rewards become one advantage.")]
    public RewardAggregation MultiObjectiveAggregation { get; init; }

    /// <summary>Two-sided clipping: the ratio itself counts for at most this; above 1 + ε. Null, the default: no bound.</summary>
    [Description("Two-sided clipping: largest ratio that counts for answers that are worse than others; default: none.")]
    [MayChange]
    public double? Delta { get; init; }

    /// <summary>Learn only from the tokens whose entropy is among this top share; 1, the default, takes all (https://arxiv.org/abs/2506.01939).</summary>
    [Description("Learn only from this share of the tokens, those with the highest entropy; 1: all.")]
    [MayChange]
    public double TopEntropyQuantile { get; init; } = 1;

    /// <summary>Weigh the KL of a token by its ratio, which makes its gradient unbiased away from the policy that answered (DeepSeek-V3.2); off by default.</summary>
    [Description("Weigh each token's KL by its ratio, for an unbiased gradient.")]
    public bool UseBiasCorrectionKl { get; init; }

    /// <summary>SAPO's temperature τ of better answers; 1 by default.</summary>
    [Description("SAPO: temperature of answers that are better than others.")]
    public double SapoTemperaturePos { get; init; } = 1;

    /// <summary>SAPO's temperature τ of worse answers; 1.05 by default.</summary>
    [Description("SAPO: temperature of answers that are worse than others.")]
    public double SapoTemperatureNeg { get; init; } = 1.05;

    /// <inheritdoc/>
    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        if (LossType == GrpoLossType.Cispo && EpsilonHigh is null)
            yield return "LossType cispo bounds ratios by EpsilonHigh itself, not by 1 + EpsilonHigh; set it (5 is usual).";
        if (Delta is { } delta && !(delta > UpperClip))
            yield return $"Delta is {delta}; it must be above 1 + EpsilonHigh = {UpperClip}, or left out.";
        if (Delta is not null && LossType is GrpoLossType.Cispo or GrpoLossType.Sapo)
            yield return $"Delta has no effect with LossType {LossType.ToString().ToLowerInvariant()}, which does not clip; leave it out.";
        if (!(TopEntropyQuantile is > 0 and <= 1)) yield return $"TopEntropyQuantile is {TopEntropyQuantile}; it must be above 0 and at most 1.";
        if (UseBiasCorrectionKl && Beta == 0) yield return "UseBiasCorrectionKl has no effect with Beta 0; set Beta, or turn it off.";
        if (!(SapoTemperaturePos > 0)) yield return $"SapoTemperaturePos is {SapoTemperaturePos}; it must be above 0.";
        if (!(SapoTemperatureNeg > 0)) yield return $"SapoTemperatureNeg is {SapoTemperatureNeg}; it must be above 0.";
    }
}
