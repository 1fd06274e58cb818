using System.ComponentModel;
using Rlhf.Runtime;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;

namespace Rlhf.Training.Groups;

/// <summary>Settings of algorithms that compare several answers to the same prompt, under TRL's names and with its defaults.</summary>
/// <remarks>
/// A derived record sets its own defaults in its constructor, adds its settings, and extends <see cref="Validate"/>. Where TRL spreads a
/// batch over devices and steps, this has <see cref="BatchSize"/> answers per step, taken <see cref="MiniBatchSize"/> at a time.
/// </remarks>
public abstract record GroupConfig
{
    /// <summary>AdamW's learning rate; 1e-6 by default.</summary>
    [Description("AdamW's learning rate.")]
    [MayChange]
    public double LearningRate { get; init; } = 1e-6;

    /// <summary>What the learning rate does over the run; constant by default.</summary>
    [Description("Constant, linear or cosine.")]
    public LearningRateSchedule LearningRateSchedule { get; init; } = LearningRateSchedule.Constant;

    /// <summary>Does the learning rate not depend on the length of the run?</summary>
    public bool HasConstantRate => LearningRateSchedule == LearningRateSchedule.Constant;

    /// <summary>Steps over which the learning rate rises from 0; 0 by default.</summary>
    [Description("Steps over which the learning rate rises from 0.")]
    public int WarmupSteps { get; init; }

    /// <summary>AdamW's decoupled weight decay, on matrices only; 0 by default.</summary>
    [Description("Decoupled weight decay of matrices.")]
    public double WeightDecay { get; init; }

    /// <summary>Answers to each prompt, which are compared with each other.</summary>
    [Description("Answers to each prompt, which are compared with each other.")]
    public int NumGenerations { get; init; } = 8;

    /// <summary>Answers per step: prompts × <see cref="NumGenerations"/>; 64 by default.</summary>
    [Description("Answers per step, a multiple of the answers to a prompt.")]
    public int BatchSize { get; init; } = 64;

    /// <summary>Answers per pass through the model; 16 by default. Fewer take less memory.</summary>
    [Description("Answers per pass through the model.")]
    public int MiniBatchSize { get; init; } = 16;

    /// <summary>
    /// Minibatches whose gradients are added before an optimizer step. Null, the default, takes all of the batch: one update per pass over it.
    /// </summary>
    [Description("Minibatches per optimizer step; default: all of the step's, so that a pass over its answers makes one update.")]
    public int? GradientAccumulationSteps { get; init; }

    /// <summary>Passes over the answers of one step (μ); 1 by default. From the second on, the ratio to the policy that answered is clipped.</summary>
    [Description("Passes over each step's answers.")]
    [MayChange]
    public int NumIterations { get; init; } = 1;

    /// <summary>Weight β of the divergence from the reference; with 0 there is no reference.</summary>
    [Description("Weight of the KL from the reference; 0: none, and no reference is kept.")]
    [MayChange]
    public double Beta { get; init; }

    /// <summary>ε: the ratio of new to old probability is clipped below 1 - ε; 0.2 by default.</summary>
    [Description("The ratio of new to old probability is clipped below 1 minus this.")]
    [MayChange]
    public double Epsilon { get; init; } = 0.2;

    /// <summary>The ratio is clipped above 1 + this; null, the default, takes <see cref="Epsilon"/>. DAPO's clip-higher: 0.28.</summary>
    [Description("The ratio is clipped above 1 plus this; default: the same as below (clip-higher of DAPO: 0.28).")]
    [MayChange]
    public double? EpsilonHigh { get; init; }

    /// <summary>
    /// Temperature that the answers are sampled at: logprobs are those of logits divided by it; 1 by default. Set it in
    /// <see cref="RolloutPlan.Sampling"/>, too.
    /// </summary>
    [Description("Temperature that answers are sampled at.")]
    public double Temperature { get; init; } = 1;

    /// <summary>Most tokens of an answer; 256 by default. Set it in <see cref="RolloutPlan.Sampling"/>, too.</summary>
    [Description("Most tokens of an answer.")]
    public int MaxCompletionLength { get; init; } = 256;

    /// <summary>Leave answers that were cut off, without an end token, out of the loss; off by default.</summary>
    [Description("Leave answers without an end token out of the loss.")]
    [MayChange]
    public bool MaskTruncatedCompletions { get; init; }

    /// <summary>Largest gradient norm, 1 by default; null leaves gradients as they are.</summary>
    [Description("Largest gradient norm; default: no clipping.")]
    [MayChange]
    public double? MaxGradNorm { get; init; } = 1.0;

    /// <summary>When a run is taken to diverge, and what it does then.</summary>
    public DivergenceConfig Divergence { get; init; } = new();

    /// <summary>Seed of samples and orders.</summary>
    [Description("Seed of every random choice.")]
    public long Seed { get; init; }

    /// <summary>Minibatches of an optimizer step.</summary>
    public int MiniBatchesPerUpdate => GradientAccumulationSteps ?? Math.Max(1, (BatchSize + MiniBatchSize - 1) / MiniBatchSize);

    /// <summary>1 + ε above which a ratio is clipped.</summary>
    public double UpperClip => 1 + (EpsilonHigh ?? Epsilon);

    /// <summary>1 - ε below which a ratio is clipped.</summary>
    public double LowerClip => 1 - Epsilon;

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public virtual IEnumerable<string> Validate()
    {
        if (!(LearningRate > 0)) yield return $"LearningRate is {LearningRate}; it must be above 0.";
        if (WarmupSteps < 0) yield return $"WarmupSteps is {WarmupSteps}; it must be 0 or more.";
        if (!(WeightDecay >= 0)) yield return $"WeightDecay is {WeightDecay}; it must be 0 or more.";
        if (NumGenerations < 2)
            yield return $"NumGenerations is {NumGenerations}; it must be at least 2, because answers to one prompt are compared with each other.";
        if (BatchSize < 1) yield return $"BatchSize is {BatchSize}; it must be at least 1.";
        else if (NumGenerations >= 2 && BatchSize % NumGenerations != 0)
            yield return $"BatchSize {BatchSize} is not a multiple of NumGenerations {NumGenerations}; change one of them.";
        if (MiniBatchSize < 1) yield return $"MiniBatchSize is {MiniBatchSize}; it must be at least 1.";
        if (GradientAccumulationSteps < 1)
            yield return $"GradientAccumulationSteps is {GradientAccumulationSteps}; it must be at least 1, or left out.";
        else if (GradientAccumulationSteps is { } steps && BatchSize >= 1 && MiniBatchSize >= 1 && BatchSize % ((long)MiniBatchSize * steps) != 0)
            yield return $"BatchSize {BatchSize} is not a multiple of MiniBatchSize {MiniBatchSize} × GradientAccumulationSteps {steps}; change one of them.";
        if (NumIterations < 1) yield return $"NumIterations is {NumIterations}; it must be at least 1.";
        if (!(Beta >= 0)) yield return $"Beta is {Beta}; it must be 0 or more.";
        if (!(Epsilon > 0)) yield return $"Epsilon is {Epsilon}; it must be above 0.";
        if (EpsilonHigh is { } high && !(high > 0)) yield return $"EpsilonHigh is {high}; it must be above 0, or left out.";
        if (!(Temperature > 0)) yield return $"Temperature is {Temperature}; it must be above 0.";
        if (MaxCompletionLength < 1) yield return $"MaxCompletionLength is {MaxCompletionLength}; it must be at least 1.";
        if (MaxGradNorm is { } norm && !(norm > 0)) yield return $"MaxGradNorm is {norm}; it must be above 0, or left out for no clipping.";
        if (Beta == 0 && Divergence.KlLimit is { } limit)
            yield return $"KlLimit is {limit}, but with Beta 0 there is no reference to measure a KL from; set Beta above 0, or leave KlLimit out.";
        foreach (var problem in Divergence.Validate())
            yield return problem;
    }

    /// <summary>Throws when a setting cannot be used.</summary>
    /// <exception cref="ConfigurationException">Lists every problem.</exception>
    public void ThrowIfInvalid() => ConfigurationException.ThrowIfAny([.. Validate()]);
}
