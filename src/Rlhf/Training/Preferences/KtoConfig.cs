using System.ComponentModel;

namespace Rlhf.Training.Preferences;

/// <summary>Settings of <see cref="KtoTrainer"/>: Kahneman and Tversky's optimization, from single answers with thumbs up or down.</summary>
/// <remarks>Names and defaults are those of TRL's KTOConfig.</remarks>
public sealed record KtoConfig : PreferenceConfig
{
    /// <summary>What is minimized; KTO's own loss by default.</summary>
    [Description("What is minimized over single answers.")]
    public KtoLoss Loss { get; init; }

    /// <summary>Weight of good answers' losses; 1 by default. Raise it where there are fewer of them.</summary>
    [Description("Weight of good answers; raise it where there are fewer of them (weight x number of good to that of bad: 1 to 1.33).")]
    public double DesirableWeight { get; init; } = 1;

    /// <summary>Weight of bad answers' losses; 1 by default.</summary>
    [Description("Weight of bad answers.")]
    public double UndesirableWeight { get; init; } = 1;

    /// <inheritdoc/>
    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        if (!(DesirableWeight >= 0)) yield return $"DesirableWeight is {DesirableWeight}; it must be 0 or more.";
        if (!(UndesirableWeight >= 0)) yield return $"UndesirableWeight is {UndesirableWeight}; it must be 0 or more.";
        if (DesirableWeight == 0 && UndesirableWeight == 0) yield return "DesirableWeight and UndesirableWeight are both 0; nothing would be learned.";
        if (Loss == KtoLoss.Kto && BatchSize < 2)
            yield return "BatchSize is 1; the estimate of the KL divergence pairs prompts with the answers of others, and needs at least 2.";
    }
}
