using System.ComponentModel;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;

namespace Rlhf.Training.Preferences;

/// <summary>What training on pairs and on single answers have in common.</summary>
/// <remarks>By default the learning rate rises to 1e-6 over 10 % of the steps and falls linearly, the gradient's norm is at most 1, and weights do not decay.</remarks>
public abstract record PreferenceConfig : TrainerConfig
{
    /// <summary>The defaults.</summary>
    protected PreferenceConfig() =>
        (LearningRate, LearningRateSchedule, WarmupRatio, WeightDecay) = (1e-6, LearningRateSchedule.Linear, 0.1, 0);

    /// <summary>Most tokens of prompt and answer; null, the default, takes the model's limit, and at most 1024.</summary>
    [Description("Most tokens of prompt and answer; default: 1024, or the model's limit where that is lower.")]
    public override int? MaxLength { get; init; }

    /// <summary>Most tokens of a prompt, whose beginning is cut off; null, the default, takes what the answers leave of <see cref="TrainerConfig.MaxLength"/>.</summary>
    [Description("Most tokens of a prompt, whose beginning is cut off; default: what the answers leave of the length.")]
    public int? MaxPromptLength { get; init; }

    /// <summary>
    /// β: how strongly the policy is held to the reference; 0.1 by default. For <see cref="PreferenceLoss.Simpo"/> and the other losses
    /// without reference, the scale of the margin.
    /// </summary>
    [Description("Beta: how strongly the policy is held to the reference; without one, the scale of the margin.")]
    public double Beta { get; init; } = 0.1;

    /// <summary>
    /// End each answer with the end token, where it does not bring one; true by default. Turn it off for answers that were cut at a
    /// length, so that the policy does not learn to stop there. A chat template ends its turns itself.
    /// </summary>
    [Description("End answers with the end token; turn it off for answers that were cut at a length.")]
    public bool AppendEndToken { get; init; } = true;

    /// <inheritdoc/>
    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        if (!(Beta > 0 && double.IsFinite(Beta))) yield return $"Beta is {Beta}; it must be above 0.";
        if (MaxPromptLength < 1) yield return $"MaxPromptLength is {MaxPromptLength}; it must be at least 1, or left out.";
        if (MaxPromptLength >= MaxLength)
            yield return $"MaxPromptLength is {MaxPromptLength} and MaxLength {MaxLength}; answers need at least one token of it.";
    }
}
