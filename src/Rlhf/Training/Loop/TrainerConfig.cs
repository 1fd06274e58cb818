using System.ComponentModel;
using Rlhf.Runtime;
using Rlhf.Training.Optimization;

namespace Rlhf.Training.Loop;

/// <summary>Settings that every training by epochs over examples has (<see cref="EpochTrainer{TExample}"/>).</summary>
/// <remarks>
/// The names are those of Hugging Face's TrainingArguments. A derived record sets its own defaults in its constructor, adds its
/// settings, and extends <see cref="Validate"/>.
/// </remarks>
public abstract record TrainerConfig
{
    /// <summary>AdamW's peak learning rate.</summary>
    [Description("AdamW's peak learning rate.")]
    [MayChange]
    public double LearningRate { get; init; }

    /// <summary>What the learning rate does after warm-up.</summary>
    [Description("Constant, linear or cosine.")]
    public LearningRateSchedule LearningRateSchedule { get; init; }

    /// <summary>Fraction of all optimizer steps over which the learning rate rises from 0.</summary>
    [Description("Fraction of all steps, rounded up, over which the learning rate rises from 0.")]
    [MayChange]
    public double WarmupRatio { get; init; }

    /// <summary>AdamW's decoupled weight decay, on matrices only; 0.01 by default.</summary>
    [Description("Decoupled weight decay of matrices.")]
    public double WeightDecay { get; init; } = 0.01;

    /// <summary>Passes over the data; 1 by default.</summary>
    [Description("Passes over the data; may be a fraction.")]
    [MayChange(When = nameof(HasConstantRate))]
    public double NumTrainEpochs { get; init; } = 1;

    /// <summary>Optimizer steps; overrides the number of epochs. Null by default.</summary>
    [Description("Optimizer steps; overrides epochs.")]
    [MayChange(When = nameof(HasConstantRate))]
    public int? MaxSteps { get; init; }

    /// <summary>Examples (sequences, texts or pairs) per minibatch; 16 by default.</summary>
    [Description("Sequences, texts or pairs per minibatch.")]
    public int BatchSize { get; init; } = 16;

    /// <summary>Minibatches per optimizer step; 1 by default.</summary>
    [Description("Minibatches per optimizer step.")]
    public int GradientAccumulationSteps { get; init; } = 1;

    /// <summary>Most tokens of an example where none are given, as in TRL: models of today read far longer texts than a machine can train on.</summary>
    public const int DefaultMaxLength = 1024;

    /// <summary>Most tokens of an example; null, the default, takes the model's limit, and at most <see cref="DefaultMaxLength"/>.</summary>
    [Description("Most tokens of a sequence or text; default: 1024, or the model's limit where that is lower.")]
    public virtual int? MaxLength { get; init; }

    /// <summary>Most tokens of an example for a model.</summary>
    /// <param name="maxPositions">Most tokens that the model reads.</param>
    public int LengthFor(int maxPositions) => Math.Min(MaxLength ?? DefaultMaxLength, maxPositions);

    /// <summary>Largest gradient norm, 1 by default; null leaves gradients as they are.</summary>
    [Description("Largest gradient norm; default: no clipping.")]
    [MayChange]
    public double? MaxGradNorm { get; init; } = 1.0;

    /// <summary>
    /// Steps in a row whose loss or gradient is not finite and that are left out, before the run stops; 5 by default, 0 stops at the first.
    /// </summary>
    [Description(BadSteps.Help)]
    [MayChange]
    public int MaxBadSteps { get; init; } = 5;

    /// <summary>Optimizer steps between evaluations on held-out data; 0, the default, evaluates at the end only.</summary>
    [Description("Steps between evaluations; 0: at the end only.")]
    [MayChange]
    public int EvalSteps { get; init; }

    /// <summary>Seed of initialization, data order and dropout.</summary>
    [Description("Seed of every random choice.")]
    public long Seed { get; init; }

    /// <summary>Is the learning rate the same at every step, so that it does not depend on the length of the run?</summary>
    public bool HasConstantRate => LearningRateSchedule == LearningRateSchedule.Constant && WarmupRatio == 0;

    /// <summary>Fewest tokens that <see cref="MaxLength"/> may allow.</summary>
    protected virtual int ShortestLength => 2;

    /// <summary>Examples of an optimizer step, BatchSize × GradientAccumulationSteps; the last step of an epoch may have fewer.</summary>
    public long ExamplesPerStep => (long)BatchSize * GradientAccumulationSteps;

    /// <summary>Optimizer steps of an epoch, rounded up as Hugging Face's Trainer does: the last one takes the examples that are left.</summary>
    /// <param name="examples">Examples to train on.</param>
    public int StepsPerEpoch(int examples) => (int)((examples + ExamplesPerStep - 1) / ExamplesPerStep);

    /// <summary>Optimizer steps of a run, at least 1.</summary>
    /// <param name="examples">Examples to train on.</param>
    public long TotalSteps(int examples) => MaxSteps ?? Math.Max(1, (long)Math.Ceiling(NumTrainEpochs * StepsPerEpoch(examples)));

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public virtual IEnumerable<string> Validate()
    {
        if (!(LearningRate > 0)) yield return $"LearningRate is {LearningRate}; it must be above 0.";
        if (!(WarmupRatio is >= 0 and < 1)) yield return $"WarmupRatio is {WarmupRatio}; it must be at least 0 and below 1.";
        if (!(WeightDecay >= 0)) yield return $"WeightDecay is {WeightDecay}; it must be 0 or more.";
        if (!(NumTrainEpochs > 0)) yield return $"NumTrainEpochs is {NumTrainEpochs}; it must be above 0.";
        if (MaxSteps is < 1) yield return $"MaxSteps is {MaxSteps}; it must be at least 1, or left out.";
        if (BatchSize < 1) yield return $"BatchSize is {BatchSize}; it must be at least 1.";
        if (GradientAccumulationSteps < 1)
            yield return $"GradientAccumulationSteps is {GradientAccumulationSteps}; it must be at least 1.";
        if (MaxLength < ShortestLength)
            yield return $"MaxLength is {MaxLength}; it must be at least {ShortestLength}, or left out.";
        if (MaxGradNorm is { } norm && !(norm > 0)) yield return $"MaxGradNorm is {norm}; it must be above 0, or left out.";
        if (MaxBadSteps < 0) yield return $"MaxBadSteps is {MaxBadSteps}; it must be 0 or more.";
        if (EvalSteps < 0) yield return $"EvalSteps is {EvalSteps}; it must be 0 or more.";
    }

    /// <summary>Throws when a setting cannot be used.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    public void ThrowIfInvalid() => ConfigurationException.ThrowIfAny([.. Validate()]);
}
