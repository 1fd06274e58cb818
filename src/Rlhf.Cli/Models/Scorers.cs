using Rlhf.Models;
using Rlhf.Rewards;
using static TorchSharp.torch;

namespace Rlhf.Cli.Models;

/// <summary>Rewards and judges from model folders, and which of their labels counts.</summary>
internal static class Scorers
{
    /// <summary>The judge of a folder: by the reward's label where the judge has it, too.</summary>
    public static IRewardFunction Judge(string folder, Device device, string? rewardLabel) => AutoReward.FromPretrained(folder, device,
        AutoModelForSequenceClassification.Labels(folder) is { Count: > 1 } labels && labels.Contains(rewardLabel, StringComparer.OrdinalIgnoreCase)
            ? rewardLabel : null);

    /// <summary>The label whose logit is the reward; null for a reward model, which has one output.</summary>
    public static string? LabelOf(IRewardFunction? reward) => (reward as ClassifierReward)?.Label;

    /// <summary>The folder, and the label where there are several.</summary>
    public static string Describe(string folder, IRewardFunction reward) =>
        LabelOf(reward) is { } label ? $"{ModelFolders.PlaceOf(folder)}, the logit of {label}" : ModelFolders.PlaceOf(folder);
}
