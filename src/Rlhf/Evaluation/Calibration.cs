namespace Rlhf.Evaluation;

/// <summary>One bar of a reliability diagram: predictions whose confidence lies in (Low, High].</summary>
/// <param name="Low">Lower end of the bin, excluded.</param>
/// <param name="High">Upper end of the bin, included.</param>
/// <param name="Count">Predictions in the bin.</param>
/// <param name="Confidence">Their mean confidence; 0 in an empty bin.</param>
/// <param name="Accuracy">Share of them that is right; 0 in an empty bin.</param>
public readonly record struct ReliabilityBin(double Low, double High, int Count, double Confidence, double Accuracy);

/// <summary>
/// Whether a classifier is right as often as it says. A reward that is overconfident saturates and stops telling good from
/// better.
/// </summary>
/// <param name="ExpectedCalibrationError">
/// Mean distance between confidence and accuracy over the bins, weighted by their counts (Guo et al. 2017).
/// </param>
/// <param name="Bins">Reliability bins of equal width over [0, 1].</param>
public sealed record Calibration(double ExpectedCalibrationError, IReadOnlyList<ReliabilityBin> Bins)
{
    /// <summary>Bins predictions by confidence.</summary>
    /// <param name="confidences">Probability of each predicted label, 0 to 1.</param>
    /// <param name="correct">Whether each prediction was right.</param>
    /// <param name="bins">Number of bins.</param>
    /// <exception cref="ArgumentException">The counts differ, there is no prediction, or a confidence is no
    /// probability.</exception>
    public static Calibration Of(IReadOnlyList<double> confidences, IReadOnlyList<bool> correct, int bins = 10)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bins, 1);
        if (confidences.Count != correct.Count || confidences.Count == 0)
            throw new ArgumentException("Calibration needs as many confidences as outcomes, at least one; " +
                $"got {confidences.Count} and {correct.Count}.");
        var counts = new int[bins];
        double[] confidence = new double[bins], right = new double[bins];
        for (int i = 0; i < confidences.Count; i++)
        {
            double p = confidences[i];
            if (!(p is >= 0 and <= 1))
                throw new ArgumentException($"Confidence {i} is {p}; it must be from 0 to 1.", nameof(confidences));
            int bin = Math.Max(0, (int)Math.Ceiling(p * bins) - 1);
            counts[bin]++;
            confidence[bin] += p;
            right[bin] += correct[i] ? 1 : 0;
        }
        var table = Enumerable.Range(0, bins).Select(b => new ReliabilityBin((double)b / bins, (double)(b + 1) / bins, counts[b],
            counts[b] == 0 ? 0 : confidence[b] / counts[b], counts[b] == 0 ? 0 : right[b] / counts[b])).ToArray();
        return new(table.Sum(b => b.Count * Math.Abs(b.Accuracy - b.Confidence)) / confidences.Count, table);
    }
}
