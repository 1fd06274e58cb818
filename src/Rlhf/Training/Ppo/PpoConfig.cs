using System.ComponentModel;
using Rlhf.Runtime;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;

namespace Rlhf.Training.Ppo;

/// <summary>How the divergence of a token's logprob from the reference's is measured (TRL: <c>kl_penalty</c>).</summary>
public enum KlPenalty
{
    /// <summary>logprob - refLogprob: unbiased, can be negative for a token.</summary>
    Kl,

    /// <summary>|logprob - refLogprob|.</summary>
    Abs,

    /// <summary>½ (logprob - refLogprob)².</summary>
    Mse,

    /// <summary>The exact divergence at each position, summed over the vocabulary.</summary>
    Full,
}

/// <summary>Settings of <see cref="PpoTrainer"/>: TRL 0.11.4's PPOConfig, under its names and with its defaults.</summary>
public sealed record PpoConfig
{
    /// <summary>Adam's learning rate.</summary>
    [Description("Adam's learning rate.")]
    [MayChange]
    public double LearningRate { get; init; } = 1.41e-5;

    /// <summary>What the learning rate does over the run.</summary>
    [Description("Constant, linear or cosine.")]
    public LearningRateSchedule LearningRateSchedule { get; init; } = LearningRateSchedule.Constant;

    /// <summary>Does the learning rate not depend on the length of the run?</summary>
    public bool HasConstantRate => LearningRateSchedule == LearningRateSchedule.Constant;

    /// <summary>Steps over which the learning rate rises from 0.</summary>
    [Description("PPO steps over which the learning rate rises from 0.")]
    public int WarmupSteps { get; init; }

    /// <summary>Adapt the KL coefficient to reach <see cref="Target"/>; otherwise it stays at <see cref="InitKlCoef"/>.</summary>
    [Description("Adapt the KL coefficient to reach the target; otherwise it stays fixed.")]
    public bool AdaptiveKlControl { get; init; } = true;

    /// <summary>First KL coefficient (β).</summary>
    [Description("First KL penalty coefficient.")]
    [MayChange]
    public double InitKlCoef { get; init; } = 0.2;

    /// <summary>How the divergence from the reference is measured.</summary>
    [Description("Divergence that is penalized: kl, abs, mse or full.")]
    [MayChange]
    public KlPenalty KlPenalty { get; init; } = KlPenalty.Kl;

    /// <summary>KL per response, in nats, that the adaptive controller steers to.</summary>
    [Description("KL per response (nats) that the adaptive controller steers to.")]
    [MayChange]
    public double Target { get; init; } = 6.0;

    /// <summary>
    /// Samples over which the adaptive controller reacts; a step multiplies β by at least 1 - 0.2 · BatchSize / Horizon, which must stay
    /// above 0.
    /// </summary>
    [Description("Samples over which the adaptive controller reacts; more than a fifth of the batch size.")]
    [MayChange]
    public double Horizon { get; init; } = 10000;

    /// <summary>Discount factor γ.</summary>
    [Description("Discount factor.")]
    public double Gamma { get; init; } = 1.0;

    /// <summary>λ of generalised advantage estimation.</summary>
    [Description("Lambda of generalised advantage estimation.")]
    public double Lam { get; init; } = 0.95;

    /// <summary>Clip range ε of the policy ratio.</summary>
    [Description("Clip range of the policy ratio.")]
    public double ClipRange { get; init; } = 0.2;

    /// <summary>Clip range of the value prediction.</summary>
    [Description("Clip range of the value prediction.")]
    public double ClipRangeValue { get; init; } = 0.2;

    /// <summary>Weight of the value loss.</summary>
    [Description("Weight of the value loss.")]
    public double VfCoef { get; init; } = 0.1;

    /// <summary>Samples per step.</summary>
    [Description("Queries per PPO step.")]
    public int BatchSize { get; init; } = 128;

    /// <summary>Samples per optimization minibatch.</summary>
    [Description("Queries per minibatch.")]
    public int MiniBatchSize { get; init; } = 128;

    /// <summary>Minibatches whose gradients are added before an optimizer step.</summary>
    [Description("Minibatches per optimizer step.")]
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>Passes over the batch in one step.</summary>
    [Description("Optimization passes over each batch.")]
    [MayChange]
    public int PpoEpochs { get; init; } = 4;

    /// <summary>
    /// Largest gradient norm; null leaves gradients as they are. Clips every optimizer step (TRL 0.11.4
    /// clipped only the first of a trainer's life).
    /// </summary>
    [Description("Largest gradient norm; default: no clipping.")]
    [MayChange]
    public double? MaxGradNorm { get; init; }

    /// <summary>
    /// Stop a step's epochs when the policy KL of an epoch's last minibatch is over 1.5 × <see cref="TargetKl"/>.
    /// </summary>
    [Description("Stop a step's epochs early when the policy moved too far.")]
    [MayChange]
    public bool EarlyStopping { get; init; }

    /// <summary>Policy KL for early stopping.</summary>
    [Description("Policy KL for early stopping.")]
    [MayChange]
    public double TargetKl { get; init; } = 1.0;

    /// <summary>A minibatch whose mean ratio is over this gets no gradient.</summary>
    [Description("A minibatch whose mean ratio is above this gets no gradient.")]
    [MayChange]
    public double RatioThreshold { get; init; } = 10.0;

    /// <summary>
    /// Divide scores by their running standard deviation, once they differ. Needs a batch of two or more: the deviation of the first few
    /// scores of a run says nothing of the scores to come.
    /// </summary>
    [Description("Divide scores by their running standard deviation.")]
    [MayChange]
    public bool UseScoreScaling { get; init; }

    /// <summary>Also subtract the running mean (needs <see cref="UseScoreScaling"/>).</summary>
    [Description("Also subtract the running mean of the scores (with score scaling).")]
    [MayChange]
    public bool UseScoreNorm { get; init; }

    /// <summary>Clip scores to ± this; null does not.</summary>
    [Description("Clip scores to plus/minus this.")]
    [MayChange]
    public double? ScoreClip { get; init; }

    /// <summary>Whiten the per-token rewards before advantages are computed.</summary>
    [Description("Whiten per-token rewards.")]
    public bool WhitenRewards { get; init; }

    /// <summary>Layers at the bottom that policy and reference share and that are not trained; null shares none.</summary>
    [Description("Bottom layers shared with the reference and frozen.")]
    public int? NumSharedLayers { get; init; }

    /// <summary>When a run is taken to diverge, and what it does then.</summary>
    public DivergenceConfig Divergence { get; init; } = new();

    /// <summary>Seed of the minibatch order.</summary>
    [Description("Seed of every random choice.")]
    public long Seed { get; init; }

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (!(LearningRate > 0)) yield return $"LearningRate is {LearningRate}; it must be above 0.";
        if (WarmupSteps < 0) yield return $"WarmupSteps is {WarmupSteps}; it must be 0 or more.";
        if (!(InitKlCoef >= 0)) yield return $"InitKlCoef is {InitKlCoef}; it must be 0 or more.";
        if (!(Target > 0)) yield return $"Target is {Target}; it must be above 0.";
        if (!(Horizon > 0)) yield return $"Horizon is {Horizon}; it must be above 0.";
        else if (AdaptiveKlControl && Horizon <= AdaptiveKlController.LargestError * BatchSize)
            yield return $"Horizon is {Horizon}; with AdaptiveKlControl it must be above {AdaptiveKlController.LargestError} × BatchSize = "
                + $"{AdaptiveKlController.LargestError * BatchSize}, or one step could make the KL coefficient negative.";
        if (!(Gamma is >= 0 and <= 1)) yield return $"Gamma is {Gamma}; it must be from 0 to 1.";
        if (!(Lam is >= 0 and <= 1)) yield return $"Lam is {Lam}; it must be from 0 to 1.";
        if (!(ClipRange > 0)) yield return $"ClipRange is {ClipRange}; it must be above 0.";
        if (!(ClipRangeValue > 0)) yield return $"ClipRangeValue is {ClipRangeValue}; it must be above 0.";
        if (!(VfCoef >= 0)) yield return $"VfCoef is {VfCoef}; it must be 0 or more.";
        if (BatchSize < 1) yield return $"BatchSize is {BatchSize}; it must be at least 1.";
        if (MiniBatchSize < 1) yield return $"MiniBatchSize is {MiniBatchSize}; it must be at least 1.";
        if (GradientAccumulationSteps < 1)
            yield return $"GradientAccumulationSteps is {GradientAccumulationSteps}; it must be at least 1.";
        if (BatchSize >= 1 && MiniBatchSize >= 1 && GradientAccumulationSteps >= 1
            && BatchSize % ((long)MiniBatchSize * GradientAccumulationSteps) != 0)
            yield return $"BatchSize {BatchSize} is no multiple of MiniBatchSize {MiniBatchSize} × GradientAccumulationSteps " +
                $"{GradientAccumulationSteps}; change one of them.";
        if (PpoEpochs < 1) yield return $"PpoEpochs is {PpoEpochs}; it must be at least 1.";
        if (MaxGradNorm is { } norm && !(norm > 0))
            yield return $"MaxGradNorm is {norm}; it must be above 0, or left out for no clipping.";
        if (!(TargetKl > 0)) yield return $"TargetKl is {TargetKl}; it must be above 0.";
        if (!(RatioThreshold > 1))
            yield return $"RatioThreshold is {RatioThreshold}; it must be above 1, where the policy has not moved.";
        if (UseScoreNorm && !UseScoreScaling)
            yield return "UseScoreNorm has no effect without UseScoreScaling; turn that on or this off.";
        if (UseScoreScaling && BatchSize == 1)
            yield return "UseScoreScaling needs a BatchSize of 2 or more: the first scores of a run have no deviation to divide by.";
        if (ScoreClip is { } clip && !(clip > 0))
            yield return $"ScoreClip is {clip}; it must be above 0, or left out for no clipping.";
        if (NumSharedLayers is < 1)
            yield return $"NumSharedLayers is {NumSharedLayers}; it must be at least 1, or left out to share none.";
        foreach (var problem in Divergence.Validate())
            yield return problem;
    }

    /// <summary>Throws when a setting cannot be used.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    public void ThrowIfInvalid() => ConfigurationException.ThrowIfAny([.. Validate()]);
}
