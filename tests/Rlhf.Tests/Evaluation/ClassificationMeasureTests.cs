using Rlhf.Evaluation;

namespace Rlhf.Tests.Evaluation;

public class ClassificationMeasureTests
{
    private static readonly string[] Labels = ["NEGATIVE", "POSITIVE"];

    [Fact]
    public void The_confusion_matrix_counts_pairs_of_true_and_predicted_labels()
    {
        var matrix = ConfusionMatrix.Of(Labels, [0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 0, 0]);
        Assert.Equal((2, 1, 2, 3), (matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]));
        Assert.Equal(8, matrix.Total);
        Assert.Equal(5.0 / 8, matrix.Accuracy, 12);
        Assert.Equal(3.0 / 4, matrix.Precision(1), 12);
        Assert.Equal(3.0 / 5, matrix.Recall(1), 12);
        Assert.Equal(2.0 / 3, matrix.F1(1), 12);
        Assert.Equal(1.0 / 2, matrix.Precision(0), 12);
        Assert.Equal(2.0 / 3, matrix.Recall(0), 12);
    }

    [Fact]
    public void A_label_that_nothing_has_scores_zero()
    {
        var matrix = ConfusionMatrix.Of(Labels, [0], [0]);
        Assert.Equal((0, 0, 0), (matrix.Precision(1), matrix.Recall(1), matrix.F1(1)));
    }

    [Fact]
    public void Labels_outside_the_list_are_refused()
    {
        Assert.Contains("Example 1", Assert.Throws<ArgumentException>(() => ConfusionMatrix.Of(Labels, [0, 2], [0, 0])).Message);
        Assert.Throws<ArgumentException>(() => ConfusionMatrix.Of(Labels, [0], [0, 1]));
    }

    [Fact]
    public void Calibration_error_weighs_the_gap_of_each_bin()
    {
        // (0.6, 0.7]: 0.65, 0.7 with 1 of 2 right: |0.5 - 0.675| = 0.175. (0.9, 1]: 0.95, 1.0, 0.99 with 3 of 3: |1 - 0.98| =
        // 0.02.
        var calibration = Calibration.Of([0.65, 0.7, 0.95, 1.0, 0.99], [true, false, true, true, true]);
        Assert.Equal((2 * 0.175 + 3 * 0.02) / 5, calibration.ExpectedCalibrationError, 12);
        Assert.Equal(10, calibration.Bins.Count);
        Assert.Equal(2, calibration.Bins[6].Count);
        Assert.Equal(0.675, calibration.Bins[6].Confidence, 12);
        Assert.Equal(0.5, calibration.Bins[6].Accuracy, 12);
        Assert.Equal(3, calibration.Bins[9].Count);
        Assert.Equal(0, calibration.Bins[0].Count);
    }

    [Fact]
    public void Confidences_of_zero_and_one_fall_into_the_first_and_last_bin()
    {
        var calibration = Calibration.Of([0, 1], [false, true], bins: 4);
        Assert.Equal([1, 0, 0, 1], calibration.Bins.Select(b => b.Count));
        Assert.Equal(0, calibration.ExpectedCalibrationError, 12);
    }

    [Fact]
    public void What_is_no_probability_is_refused()
    {
        Assert.Throws<ArgumentException>(() => Calibration.Of([1.2], [true]));
        Assert.Throws<ArgumentException>(() => Calibration.Of([double.NaN], [true]));
        Assert.Throws<ArgumentException>(() => Calibration.Of([], []));
    }
}
