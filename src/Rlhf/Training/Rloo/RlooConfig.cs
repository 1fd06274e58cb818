using System.ComponentModel;
using Rlhf.Training.Groups;

namespace Rlhf.Training.Rloo;

/// <summary>Settings of <see cref="RlooTrainer"/>: TRL's RLOOConfig, under its names and with its defaults.</summary>
public sealed record RlooConfig : GroupConfig
{
    /// <summary>Two answers to each prompt, and a KL penalty of 0.05.</summary>
    public RlooConfig() => (NumGenerations, Beta) = (2, 0.05);

    /// <summary>Divide advantages by their deviation over the step, after taking their mean away; off by default.</summary>
    [Description("Normalize advantages over all answers of a step.")]
    public bool NormalizeAdvantages { get; init; }

    /// <summary>Clip rewards to ± this before the KL penalty is taken off; null, the default, does not.</summary>
    [Description("Clip rewards to plus/minus this; default: no clipping.")]
    public double? RewardClip { get; init; }

    /// <inheritdoc/>
    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        if (RewardClip is { } clip && !(clip > 0)) yield return $"RewardClip is {clip}; it must be above 0, or left out.";
    }
}
