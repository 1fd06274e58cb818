using System.ComponentModel;
using Rlhf.Runtime;
using Rlhf.Training.Optimization;

namespace Rlhf.Training.Sft;

/// <summary>Settings of <see cref="SftTrainer"/>, the first stage: a language model learns the texts.</summary>
public sealed record SftConfig
{
    /// <summary>AdamW's peak learning rate.</summary>
    [Description("AdamW's peak learning rate.")]
    public double LearningRate { get; init; } = 5e-5;

    /// <summary>What the learning rate does after warm-up.</summary>
    [Description("Constant, linear or cosine.")]
    public LearningRateSchedule LearningRateSchedule { get; init; } = LearningRateSchedule.Cosine;

    /// <summary>Fraction of all optimizer steps over which the learning rate rises from 0.</summary>
    [Description("Fraction of all steps, rounded up, over which the learning rate rises from 0.")]
    public double WarmupRatio { get; init; } = 0.03;

    /// <summary>AdamW's decoupled weight decay, on matrices only.</summary>
    [Description("Decoupled weight decay of matrices.")]
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>Passes over the texts.</summary>
    [Description("Passes over the data; may be a fraction.")]
    public double NumTrainEpochs { get; init; } = 1;

    /// <summary>Optimizer steps; overrides the number of epochs.</summary>
    [Description("Optimizer steps; overrides epochs.")]
    public int? MaxSteps { get; init; }

    /// <summary>Sequences per minibatch.</summary>
    [Description("Sequences per minibatch.")]
    public int BatchSize { get; init; } = 16;

    /// <summary>Minibatches per optimizer step.</summary>
    [Description("Minibatches per optimizer step.")]
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>Tokens per sequence; texts are packed into sequences of this length.</summary>
    [Description("Tokens per sequence; null takes the model's context.")]
    public int? MaxLength { get; init; }

    /// <summary>
    /// Join texts with the end token and cut them into full sequences; otherwise one text per sequence, truncated.
    /// </summary>
    [Description("Pack texts into full sequences.")]
    public bool Packing { get; init; } = true;

    /// <summary>For prompt/completion data: take the loss on the completion alone.</summary>
    [Description("Loss on completions only (prompt/completion data).")]
    public bool CompletionOnlyLoss { get; init; } = true;

    /// <summary>Largest gradient norm; null leaves gradients as they are.</summary>
    [Description("Largest gradient norm; unset: no clipping.")]
    public double? MaxGradNorm { get; init; } = 1.0;

    /// <summary>
    /// Steps in a row whose loss or gradient is not finite and that are left out, before the run stops; 0 stops at the first.
    /// </summary>
    [Description(BadSteps.Help)]
    public int MaxBadSteps { get; init; } = 5;

    /// <summary>Optimizer steps between evaluations on held-out text; 0 evaluates at the end only.</summary>
    [Description("Steps between evaluations; 0: at the end only.")]
    public int EvalSteps { get; init; }

    /// <summary>Seed of initialisation, data order and dropout.</summary>
    [Description("Seed of every random choice.")]
    public long Seed { get; init; }

    /// <summary>Sequences of an optimizer step: BatchSize × GradientAccumulationSteps, or all there are when they are fewer.</summary>
    /// <param name="sequences">Sequences to train on.</param>
    public int SequencesPerStep(int sequences) =>
        (int)Math.Clamp(sequences, 1, (long)BatchSize * GradientAccumulationSteps);

    /// <summary>
    /// Optimizer steps of a run, at least 1. An epoch has whole steps only: what is left over comes back in the next one.
    /// </summary>
    /// <param name="sequences">Sequences to train on.</param>
    public long TotalSteps(int sequences) =>
        MaxSteps ?? Math.Max(1, (long)(NumTrainEpochs * (sequences / SequencesPerStep(sequences))));

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
        if (MaxLength is < 2) yield return $"MaxLength is {MaxLength}; it must be at least 2, or left out.";
        if (MaxGradNorm is { } norm && !(norm > 0)) yield return $"MaxGradNorm is {norm}; it must be above 0, or left out.";
        if (MaxBadSteps < 0) yield return $"MaxBadSteps is {MaxBadSteps}; it must be 0 or more.";
        if (EvalSteps < 0) yield return $"EvalSteps is {EvalSteps}; it must be 0 or more.";
    }

    /// <summary>Throws when a setting cannot be used.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    public void ThrowIfInvalid() => ConfigurationException.ThrowIfAny([.. Validate()]);
}
