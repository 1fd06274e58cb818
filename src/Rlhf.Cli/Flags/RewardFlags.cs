using System.ComponentModel;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Runtime;

namespace Rlhf.Cli.Flags;

/// <summary>What becomes a reward model.</summary>
internal sealed record RewardFlags
{
    [Description("Classifier to start from, with its tokenizer: a folder (rlhf init makes one) or one of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Model { get; init; }

    [Description("Preference pairs instead of labeled texts: JSONL, CSV or parquet with prompt, chosen and rejected.")]
    [ValueName("PATH")]
    [DataInput]
    [MayChange]
    public string? Pairs { get; init; }

    [Description("Put a new head with these labels on the model, as a base model without a head needs: NEGATIVE,POSITIVE.")]
    [ValueName("NAMES")]
    public string? NewHead { get; init; }

    [Description("Pairs: shift the reward so that its mean over training answers is 0; default: yes, where the model has a bias for it.")]
    [MayChange]
    public bool? NormalizeReward { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    /// <summary>The labels of the new head; null: the model keeps its own.</summary>
    public string[]? NewHeadLabels => NewHead?.Split(',', StringSplitOptions.TrimEntries);

    public IEnumerable<string> Validate()
    {
        if (Model is null) yield return $"Model {ModelFolders.Missing}";
        if (NormalizeReward is not null && Pairs is null)
            yield return "NormalizeReward applies to preference pairs; a classifier's logits are left as they are.";
    }
}
