using System.ComponentModel;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;

namespace Rlhf.Training.RewardModeling;

/// <summary>Settings of <see cref="RewardTrainer"/>, the second stage: a model learns what people prefer.</summary>
/// <remarks>By default the learning rate rises to 2e-5 over 6 % of the steps and falls in a straight line.</remarks>
public sealed record RewardConfig : TrainerConfig
{
    /// <summary>The defaults.</summary>
    public RewardConfig() => (LearningRate, LearningRateSchedule, WarmupRatio) = (2e-5, LearningRateSchedule.Linear, 0.06);

    /// <summary>
    /// Tokens per text. Longer texts lose their end; a prompt with its response loses the beginning of the prompt first. Null takes the
    /// model's limit.
    /// </summary>
    [Description("Tokens per text: longer ones lose their end, pairs the beginning of the prompt first.")]
    public override int? MaxLength { get; init; }

    /// <summary>
    /// Probability that a training text is replaced by a random stretch of it of 4 to 40 tokens, so that
    /// the model also learns to read snippets.
    /// </summary>
    [Description("Share of training texts that are cut to a random snippet of 4 to 40 tokens.")]
    public double RandomCropProbability { get; init; }

    /// <summary>
    /// Pairs: weight of the penalty (chosen + rejected)² that keeps rewards centered on 0; null is none
    /// (TRL: <c>center_rewards_coefficient</c>).
    /// </summary>
    [Description("Pairs: weight of the penalty that centers rewards on 0.")]
    public double? CenterRewardsCoefficient { get; init; }

    /// <summary>A text and the special tokens around it.</summary>
    protected override int ShortestLength => 3;

    /// <inheritdoc/>
    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        if (!(RandomCropProbability is >= 0 and <= 1))
            yield return $"RandomCropProbability is {RandomCropProbability}; it must be from 0 to 1.";
        if (CenterRewardsCoefficient is { } c && !(c > 0))
            yield return $"CenterRewardsCoefficient is {c}; it must be above 0, or left out.";
    }
}
