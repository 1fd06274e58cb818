using System.ComponentModel;
using Rlhf.Cli.Settings;

namespace Rlhf.Cli.Flags;

/// <summary>
/// What to evaluate: policies before and after or side by side, a classifier, a reward model or a language model.
/// </summary>
internal sealed record EvaluateFlags
{
    [Description("Comparison: language model before training.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Before { get; init; }

    [Description("Comparison: language model after training.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? After { get; init; }

    [Description("Comparison: reward model that scores the responses. With --pairs: the reward model to measure.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? RewardModel { get; init; }

    [Description("Label whose logit is the reward; default: POSITIVE.")]
    [ValueName("NAME")]
    public string? RewardLabel { get; init; }

    [Description("Comparison: a second classifier that training never saw.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Judge { get; init; }

    [Description("Side by side: language models, separated by commas; the first is what the others came from.")]
    [ValueName("DIR,DIR")]
    [ModelInput(IsList = true)]
    public string? Policies { get; init; }

    [Description("Side by side: classifiers and reward models that score the answers; default: the one that ships.")]
    [ValueName("DIR,DIR")]
    [ModelInput(IsList = true)]
    public string? Scorers { get; init; }

    [Description("Preference pairs to measure a reward model on: accuracy, margin, calibration.")]
    [ValueName("PATH")]
    [DataInput]
    public string? Pairs { get; init; }

    [Description("Classifier to measure on labeled texts: accuracy, confusion, calibration.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Classifier { get; init; }

    [Description("Classifier: show it only random snippets of this many tokens; default: whole texts.")]
    public int? CropTokens { get; init; }

    [Description("Language model to measure on texts: perplexity, bits per character.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("Seed of every random choice.")]
    public long Seed { get; init; }

    public IEnumerable<string> Validate()
    {
        bool compares = Before is not null || After is not null;
        int kinds = (compares ? 1 : 0) + ((string?[])[Policies, Pairs, Classifier, Model]).Count(given => given is not null);
        if (kinds != 1)
            yield return "Name one thing to evaluate: Before and After (with RewardModel), or Policies (with Scorers), or Pairs "
                + "(with RewardModel), or Classifier, or Model.";
        if (compares && (Before ?? "") == "") yield return "Before is missing; a comparison needs the model before training.";
        if (compares && (After ?? "") == "") yield return "After is missing; a comparison needs the model after training.";
        if (!compares && Judge is not null)
            yield return "Judge belongs to a comparison, with Before and After.";
        if (!compares && Pairs is null && RewardModel is not null)
            yield return "RewardModel belongs to a comparison, with Before and After, or to Pairs.";
        if (!compares && Pairs is null && Policies is null && RewardLabel is not null)
            yield return "RewardLabel belongs to a comparison, to Policies or to Pairs.";
        if (Policies is null && Scorers is not null) yield return "Scorers belongs to Policies.";
        if (CropTokens is < 1) yield return $"CropTokens is {CropTokens}; it must be at least 1, or left out.";
        if (CropTokens is not null && Classifier is null) yield return "CropTokens belongs to Classifier.";
    }
}
