using System.ComponentModel;
using Rlhf.Cli.Settings;
using Rlhf.Runtime;
using Rlhf.Training.Groups;

namespace Rlhf.Cli.Flags;

/// <summary>What to align.</summary>
internal sealed record GroupFlags
{
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

    [Description("A second classifier that training never sees, to tell earned reward from a hacked one; default: with the reward "
        + "that ships, the judge that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Judge { get; init; }

    [Description("Steps; default: one pass over the prompts.")]
    [MayChange(When = nameof(GroupConfig.HasConstantRate))]
    public int? Steps { get; init; }

    [Description("How often groups of answers with the same reward, from which nothing is learned, are replaced by answers to other prompts.")]
    public int ResampleRounds { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Steps < 1) yield return $"Steps is {Steps}; it must be at least 1, or left out.";
        if (ResampleRounds < 0) yield return $"ResampleRounds is {ResampleRounds}; it must be 0 or more.";
    }
}
