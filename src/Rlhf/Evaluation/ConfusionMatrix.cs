namespace Rlhf.Evaluation;

/// <summary>How often each true label was predicted as each label.</summary>
public sealed class ConfusionMatrix
{
    private readonly long[,] counts;

    private ConfusionMatrix(IReadOnlyList<string> labels, long[,] counts) => (Labels, this.counts) = (labels, counts);

    /// <summary>Label names by index.</summary>
    public IReadOnlyList<string> Labels { get; }

    /// <summary>Examples of label <paramref name="actual"/> that were predicted as <paramref name="predicted"/>.</summary>
    public long this[int actual, int predicted] => counts[actual, predicted];

    /// <summary>All examples.</summary>
    public long Total => counts.Cast<long>().Sum();

    /// <summary>Share of examples whose prediction is right.</summary>
    public double Accuracy => Ratio(Enumerable.Range(0, Labels.Count).Sum(i => counts[i, i]), Total);

    /// <summary>Of the examples predicted as this label, the share that has it; 0 when none was predicted.</summary>
    public double Precision(int label) =>
        Ratio(counts[label, label], Enumerable.Range(0, Labels.Count).Sum(i => counts[i, label]));

    /// <summary>Of the examples that have this label, the share predicted as it; 0 when none has it.</summary>
    public double Recall(int label) => Ratio(counts[label, label], Enumerable.Range(0, Labels.Count).Sum(i => counts[label, i]));

    /// <summary>Harmonic mean of precision and recall; 0 when both are 0.</summary>
    public double F1(int label)
    {
        double precision = Precision(label), recall = Recall(label);
        return precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall);
    }

    /// <summary>Counts true and predicted labels.</summary>
    /// <param name="labels">Label names.</param>
    /// <param name="actual">True label of each example, an index into <paramref name="labels"/>.</param>
    /// <param name="predicted">Predicted label of each example.</param>
    /// <exception cref="ArgumentException">The counts differ, or a label is out of range.</exception>
    public static ConfusionMatrix Of(IReadOnlyList<string> labels, IReadOnlyList<int> actual, IReadOnlyList<int> predicted)
    {
        if (actual.Count != predicted.Count)
            throw new ArgumentException($"There are {actual.Count} true labels but {predicted.Count} predictions.");
        var counts = new long[labels.Count, labels.Count];
        for (int i = 0; i < actual.Count; i++)
        {
            if ((uint)actual[i] >= labels.Count || (uint)predicted[i] >= labels.Count)
                throw new ArgumentException(
                    $"Example {i} has label {actual[i]} and prediction {predicted[i]}; labels are 0 to {labels.Count - 1}.");
            counts[actual[i], predicted[i]]++;
        }
        return new(labels, counts);
    }

    private static double Ratio(long part, long whole) => whole == 0 ? 0 : (double)part / whole;
}
