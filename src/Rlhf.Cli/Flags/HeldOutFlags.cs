using System.ComponentModel;
using Rlhf.Cli.Settings;
using Rlhf.Data;
using Rlhf.Runtime;

namespace Rlhf.Cli.Flags;

/// <summary>What is evaluated and never trained on.</summary>
internal sealed record HeldOutFlags
{
    [Description("Other data to evaluate on.")]
    [ValueName("PATH")]
    [DataInput]
    [MayChange]
    public string? EvalDataset { get; init; }

    [Description("Split to evaluate on, such as test.")]
    [ValueName("NAME")]
    public string? EvalSplit { get; init; }

    [Description("Share of the training data to hold out when no other data is named.")]
    public double EvalFraction { get; init; } = 0.05;

    [Description("Evaluate on at most this many rows.")]
    public int MaxEvalTexts { get; init; } = 500;

    public IEnumerable<string> Validate()
    {
        if (!(EvalFraction is >= 0 and < 1)) yield return $"EvalFraction is {EvalFraction}; it must be at least 0 and below 1.";
        if (MaxEvalTexts < 1) yield return $"MaxEvalTexts is {MaxEvalTexts}; it must be at least 1.";
    }

    /// <summary>Rows to train on and rows to evaluate on.</summary>
    /// <param name="load">Reads a path (null: the training data's) and a split (null: the training data's), at most this many
    /// rows (null: all).</param>
    public (IReadOnlyList<T> Train, IReadOnlyList<T> HeldOut) Split<T>(Func<string?, string?, int?, IReadOnlyList<T>> load)
    {
        var train = load(null, null, null);
        if (EvalDataset is not null || EvalSplit is not null)
            return (train, load(EvalDataset, EvalSplit, MaxEvalTexts));
        int count = Count(train.Count);
        return ([.. train.Skip(count)], [.. train.Take(count)]);
    }

    /// <summary>
    /// As <see cref="Split"/>, and no prompt is in both parts: training gives up the pairs of held-out prompts.
    /// </summary>
    public (IReadOnlyList<PreferencePair> Train, IReadOnlyList<PreferencePair> HeldOut) SplitByPrompt(
        Func<string?, string?, int?, IReadOnlyList<PreferencePair>> load)
    {
        var train = load(null, null, null);
        if (EvalDataset is null && EvalSplit is null)
            return PreferenceSplit.HoldOut(train, Count(train.Count));
        var heldOut = load(EvalDataset, EvalSplit, MaxEvalTexts);
        return (PreferenceSplit.WithoutPromptsOf(train, heldOut), heldOut);
    }

    private int Count(int all) => Math.Min(MaxEvalTexts, (int)Math.Round(all * EvalFraction));
}
