using System.ComponentModel;
using Rlhf.Runtime;
using Rlhf.Training.Optimization;

namespace Rlhf.Training.RewardModeling;

/// <summary>Settings of <see cref="RewardTrainer"/>, the second stage: a model learns what people prefer.</summary>
public sealed record RewardConfig
{
    /// <summary>AdamW's peak learning rate.</summary>
    [Description("AdamW's peak learning rate.")]
    public double LearningRate { get; init; } = 2e-5;

    /// <summary>What the learning rate does after warm-up.</summary>
    [Description("Constant, linear or cosine.")]
    public LearningRateSchedule LearningRateSchedule { get; init; } = LearningRateSchedule.Linear;

    /// <summary>Fraction of all optimizer steps over which the learning rate rises from 0.</summary>
    [Description("Fraction of all steps, rounded up, over which the learning rate rises from 0.")]
    public double WarmupRatio { get; init; } = 0.06;

    /// <summary>AdamW's decoupled weight decay, on matrices only.</summary>
    [Description("Decoupled weight decay of matrices.")]
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>Passes over the data.</summary>
    [Description("Passes over the data; may be a fraction.")]
    public double NumTrainEpochs { get; init; } = 1;

    /// <summary>Optimizer steps; overrides the number of epochs.</summary>
    [Description("Optimizer steps; overrides epochs.")]
    public int? MaxSteps { get; init; }

    /// <summary>Texts (or pairs) per minibatch.</summary>
    [Description("Texts or pairs per minibatch.")]
    public int BatchSize { get; init; } = 16;

    /// <summary>Minibatches per optimizer step.</summary>
    [Description("Minibatches per optimizer step.")]
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>
    /// Tokens per text. Longer texts lose their end; a prompt with its response loses the beginning of the prompt first. Null takes the
    /// model's limit.
    /// </summary>
    [Description("Tokens per text: longer ones lose their end, pairs the beginning of the prompt first.")]
    public int? MaxLength { get; init; }

    /// <summary>
    /// Probability that a training text is replaced by a random stretch of it of 4 to 40 tokens, so that
    /// the model also learns to read snippets.
    /// </summary>
    [Description("Share of training texts that are cut to a random snippet of 4 to 40 tokens.")]
    public double RandomCropProbability { get; init; }

    /// <summary>
    /// Pairs: weight of the penalty (chosen + rejected)² that keeps rewards centred on 0; null is none
    /// (TRL: <c>center_rewards_coefficient</c>).
    /// </summary>
    [Description("Pairs: weight of the penalty that centres rewards on 0.")]
    public double? CenterRewardsCoefficient { get; init; }

    /// <summary>Largest gradient norm; null leaves gradients as they are.</summary>
    [Description("Largest gradient norm; unset: no clipping.")]
    public double? MaxGradNorm { get; init; } = 1.0;

    /// <summary>
    /// Steps in a row whose loss or gradient is not finite and that are left out, before the run stops; 0 stops at the first.
    /// </summary>
    [Description(BadSteps.Help)]
    public int MaxBadSteps { get; init; } = 5;

    /// <summary>Optimizer steps between evaluations on held-out data; 0 evaluates at the end only.</summary>
    [Description("Steps between evaluations; 0: at the end only.")]
    public int EvalSteps { get; init; }

    /// <summary>Seed of initialisation, data order and dropout.</summary>
    [Description("Seed of every random choice.")]
    public long Seed { get; init; }

    /// <summary>Optimizer steps of an epoch; the last one may have fewer texts or pairs.</summary>
    /// <param name="examples">Texts or pairs to train on.</param>
    public int StepsPerEpoch(int examples)
    {
        long perStep = (long)BatchSize * GradientAccumulationSteps;
        return (int)((examples + perStep - 1) / perStep);
    }

    /// <summary>Optimizer steps of a run, at least 1.</summary>
    /// <param name="examples">Texts or pairs to train on.</param>
    public long TotalSteps(int examples) => MaxSteps ?? Math.Max(1, (long)Math.Ceiling(NumTrainEpochs * StepsPerEpoch(examples)));

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (!(LearningRate > 0)) yield return $"LearningRate is {LearningRate}; it must be above 0.";
        if (!(WarmupRatio is >= 0 and < 1)) yield return $"WarmupRatio is {WarmupRatio}; it must be at least 0 and below 1.";
        if (!(WeightDecay >= 0)) yield return $"WeightDecay is {WeightDecay}; it must be 0 or more.";
        if (!(NumTrainEpochs > 0)) yield return $"NumTrainEpochs is {NumTrainEpochs}; it must be above 0.";
        if (MaxSteps is < 1) yield return $"MaxSteps is {MaxSteps}; it must be at least 1, or left out.";
        if (BatchSize < 1) yield return $"BatchSize is {BatchSize}; it must be at least 1.";
        if (GradientAccumulationSteps < 1)
            yield return $"GradientAccumulationSteps is {GradientAccumulationSteps}; it must be at least 1.";
        if (MaxLength is < 3) yield return $"MaxLength is {MaxLength}; it must be at least 3, or left out.";
        if (!(RandomCropProbability is >= 0 and <= 1))
            yield return $"RandomCropProbability is {RandomCropProbability}; it must be from 0 to 1.";
        if (CenterRewardsCoefficient is { } c && !(c > 0))
            yield return $"CenterRewardsCoefficient is {c}; it must be above 0, or left out.";
        if (MaxGradNorm is { } norm && !(norm > 0)) yield return $"MaxGradNorm is {norm}; it must be above 0, or left out.";
        if (MaxBadSteps < 0) yield return $"MaxBadSteps is {MaxBadSteps}; it must be 0 or more.";
        if (EvalSteps < 0) yield return $"EvalSteps is {EvalSteps}; it must be 0 or more.";
    }

    /// <summary>Throws when a setting cannot be used.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    public void ThrowIfInvalid() => ConfigurationException.ThrowIfAny([.. Validate()]);
}
