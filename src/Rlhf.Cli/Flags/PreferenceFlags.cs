using System.ComponentModel;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Runtime;
using Rlhf.Training.Preferences;

namespace Rlhf.Cli.Flags;

/// <summary>The policy and what it is compared with.</summary>
internal record PreferenceFlags
{
    [Description("Policy to start from, with its tokenizer: a folder or one of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Model { get; init; }

    [Description("What the policy is compared with; default: the policy as it is before training.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? RefModel { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    public virtual IEnumerable<string> Validate()
    {
        if (Model is null) yield return $"Model {ModelFolders.Missing}";
    }
}

/// <summary>What <c>rlhf dpo</c> learns from.</summary>
internal sealed record DpoFlags : PreferenceFlags
{
    [Description("Preference pairs: JSONL, CSV or parquet with prompt, chosen and rejected, as text or as messages.")]
    [ValueName("PATH|ORG/NAME")]
    [DataInput]
    [MayChange]
    public string? Pairs { get; init; }

    [Description("Compute the reference's logprobs once, before training, and keep them in a file beside the pairs for further runs; the reference then takes "
        + "no memory during training.")]
    public bool PrecomputeRefLogProbs { get; init; }

    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        if (Pairs is null) yield return "Pairs is missing; name a file of preference pairs (rlhf pairs makes one).";
    }

    /// <summary>The problems of flags about a reference where there is none.</summary>
    public IEnumerable<string> ProblemsWith(DpoConfig config)
    {
        if (config.UsesReference)
            yield break;
        string why = config.ReferenceFree ? "ReferenceFree leaves it out" : $"the loss {config.Loss} has none";
        if (RefModel is not null) yield return $"RefModel names a reference, and {why}; leave it out.";
        if (PrecomputeRefLogProbs) yield return $"PrecomputeRefLogProbs asks a reference, and {why}; leave it out.";
    }
}

/// <summary>What <c>rlhf kto</c> learns from.</summary>
internal sealed record KtoFlags : PreferenceFlags
{
    [Description("Preference pairs in place of labeled answers: each gives one that was liked and one that was not.")]
    [ValueName("PATH|ORG/NAME")]
    [DataInput]
    [MayChange]
    public string? Pairs { get; init; }

    [Description("Column of the answer; default: completion and other usual names.")]
    [ValueName("NAME")]
    public string? CompletionColumn { get; init; }

    [Description("Column of the label, true for answers that were liked; default: label and other usual names.")]
    [ValueName("NAME")]
    public string? LabelColumn { get; init; }
}
