using System.Globalization;

namespace Rlhf.Rewards;

/// <summary>The lesson's reward: what a classifier gives one of its labels for query and response together.</summary>
public sealed class ClassifierReward : IRewardFunction
{
    private readonly TextClassificationPipeline pipeline;
    private readonly int label;

    /// <summary>A reward from a classifier.</summary>
    /// <param name="pipeline">The classifier; disposed with this object.</param>
    /// <param name="label">
    /// Name of the label in any case, or its index. Null takes the only label that says positive (POSITIVE, pos, …), or LABEL_1 of LABEL_0
    /// and LABEL_1.
    /// </param>
    /// <exception cref="ArgumentException">The model has no label of that name, or none was named and it is not clear which one means good.</exception>
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
    public ValueTask<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation = default)
    {
        var logits = pipeline.Logits([.. completions.Select(c => c.Text)], BatchSize, cancellation);
        return new(RewardChecks.Check(Name, completions, [.. logits.Select(row => row[label])]));
    }

    /// <inheritdoc/>
    public void Dispose() => pipeline.Dispose();

    /// <summary>Labels that mean good, as <see cref="Plain"/> spells them.</summary>
    private static readonly string[] GoodLabels =
        ["positive", "pos", "positivesentiment", "sentimentpositive", "labelpositive", "good", "chosen", "preferred", "helpful"];

    /// <summary>Index of a label by its name or index; see the constructor.</summary>
    internal static int FindLabel(IReadOnlyList<string> labels, string? wanted)
    {
        int Find(string name) => labels.ToList().FindIndex(l => l.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (wanted is null)
            return GoodLabel(labels) ?? throw new ArgumentException(
                $"It is not clear which label of the classifier is the reward; name it with RewardLabel: {string.Join(", ", labels.Take(20))}"
                + (labels.Count > 20 ? ", …" : "."));
        if (Find(wanted) is var named and >= 0)
            return named;
        if (int.TryParse(wanted, NumberStyles.None, CultureInfo.InvariantCulture, out int index) && index < labels.Count)
            return index;
        throw new ArgumentException($"The classifier has no label '{wanted}'; its labels are {string.Join(", ", labels)}.");
    }

    /// <summary>The one label that means good; null where none does, or several may.</summary>
    private static int? GoodLabel(IReadOnlyList<string> labels)
    {
        if (labels.Count == 1)
            return 0;
        string[] plain = [.. labels.Select(Plain)];
        if (plain is ["label0", "label1"] or ["0", "1"])
            return 1;
        int[] good = [.. Enumerable.Range(0, plain.Length).Where(i => GoodLabels.Contains(plain[i]))];
        // Beside "very positive", plain "positive" is not the best there is.
        return good is [var only] && plain.Count(name => name.Contains(plain[only], StringComparison.Ordinal)) == 1 ? only : null;
    }

    private static string Plain(string label) => string.Concat(label.Where(char.IsLetterOrDigit)).ToLowerInvariant();
}
