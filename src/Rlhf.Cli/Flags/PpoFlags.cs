using System.ComponentModel;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Verbs;
using Rlhf.Runtime;
using Rlhf.Training.Ppo;

namespace Rlhf.Cli.Flags;

/// <summary>What to align, and to what.</summary>
internal sealed record PpoFlags
{
    [Description("A known set of settings; those that are given win. imdb is the lesson: lvwerra/gpt2-imdb, "
        + "lvwerra/distilbert-imdb, stanfordnlp/imdb.")]
    public PpoPreset? Preset { get; init; }

    [Description("Language model to align: a folder or one of the Hub; default: the small review model that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Model { get; init; }

    [Description("Model that the KL penalty holds the policy near to; default: the policy as it is before training.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? RefModel { get; init; }

    [Description("Reward model: a classifier or a model with a scalar head, a folder or one of the Hub; default: the sentiment "
        + "classifier that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? RewardModel { get; init; }

    [Description("A second classifier that training never sees, to tell earned reward from a hacked one; default: with the reward "
        + "that ships, the judge that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Judge { get; init; }

    [Description("PPO steps; default: one pass over the queries.")]
    [MayChange(When = nameof(PpoConfig.HasConstantRate))]
    public int? Steps { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Steps < 1) yield return $"Steps is {Steps}; it must be at least 1, or left out.";
    }
}
