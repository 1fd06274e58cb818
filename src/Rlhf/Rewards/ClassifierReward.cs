using System.Globalization;

namespace Rlhf.Rewards;

/// <summary>The lesson's reward: what a classifier gives one of its labels for query and response together.</summary>
public sealed class ClassifierReward : IRewardFunction, IDisposable
{
    /// <summary>The label that is looked for when none is named.</summary>
    public const string DefaultLabel = "POSITIVE";

    private readonly TextClassificationPipeline pipeline;
    private readonly int label;

    /// <summary>A reward from a classifier.</summary>
    /// <param name="pipeline">The classifier; disposed with this object.</param>
    /// <param name="label">
    /// Name of the label in any case, or its index. Null looks for POSITIVE, then LABEL_1, and else takes the last label.
    /// </param>
    /// <exception cref="ArgumentException">The model has no label of that name.</exception>
    public ClassifierReward(TextClassificationPipeline pipeline, string? label = null)
    {
        this.pipeline = pipeline;
        this.label = FindLabel(pipeline.Model.Labels, label);
    }

    /// <summary>Name used in metrics and reports.</summary>
    public string Name { get; init; } = "classifier";

    /// <summary>The label whose score is the reward.</summary>
    public string Label => pipeline.Model.Labels[label];

    /// <summary>Texts that are computed together.</summary>
    public int BatchSize { get; init; } = 16;

    /// <inheritdoc/>
    /// <exception cref="RewardException">A logit is not finite; the message shows the sample.</exception>
    public IReadOnlyList<float> Score(IReadOnlyList<Completion> completions)
    {
        var logits = pipeline.Logits([.. completions.Select(c => c.Text)], BatchSize);
        return RewardChecks.Check(Name, completions, [.. logits.Select(row => row[label])]);
    }

    /// <inheritdoc/>
    public void Dispose() => pipeline.Dispose();

    /// <summary>Index of a label by its name or index; see the constructor.</summary>
    internal static int FindLabel(IReadOnlyList<string> labels, string? wanted)
    {
        int Find(string name) => labels.ToList().FindIndex(l => l.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (wanted is null)
            return Find(DefaultLabel) is var positive and >= 0 ? positive
                : Find("LABEL_1") is var first and >= 0 ? first : labels.Count - 1;
        if (Find(wanted) is var named and >= 0)
            return named;
        if (int.TryParse(wanted, NumberStyles.None, CultureInfo.InvariantCulture, out int index) && index < labels.Count)
            return index;
        throw new ArgumentException($"The classifier has no label '{wanted}'; its labels are {string.Join(", ", labels)}.");
    }
}
