using Rlhf.Evaluation;
using Rlhf.Rewards;

namespace Rlhf.Tests.Evaluation;

public class PairEvaluationTests
{
    // σ(±1) = 0.7310585786, σ(±2) = 0.8807970780; -ln σ(1) = 0.3132616875, -ln σ(-1) = 1.3132616875, -ln σ(2) = 0.1269280110.
    [Fact]
    public void Accuracy_margin_and_loss_equal_the_hand_calculation()
    {
        var e = PairEvaluation.Of([1, 3, 0, 5], [0, 1, 1, 5]); // margins 1, 2, -1, 0
        Assert.Equal((4, 0.5, 0.5), (e.Pairs, e.Accuracy, e.MeanMargin));
        Assert.Equal((0.3132616875 + 0.1269280110 + 1.3132616875 + Math.Log(2)) / 4, e.Loss, 9);
        // Wilson for 2 of 4: 0.5 ± 1.96 / (1 + 3.8415 / 4) · √(0.25 / 4 + 3.8415 / 64).
        Assert.Equal(0.1500, e.AccuracyCi95.Low, 4);
        Assert.Equal(0.8500, e.AccuracyCi95.High, 4);
    }

    [Fact]
    public void The_curve_sets_predicted_against_observed_frequency()
    {
        // Three times the answer with the lead of 1 should win and one time it loses; a lead of 2 wins once.
        var e = PairEvaluation.Of([1, 1, 1, 0, 2], [0, 0, 0, 1, 0]);
        Assert.Equal(10, e.Calibration.Bins.Count);
        var one = e.Calibration.Bins.Single(b => b.Count == 4);
        Assert.Equal((0.7, 0.75, 0.75), (one.Low, one.High, one.Accuracy));
        Assert.Equal(0.7310585786, one.Confidence, 9);
        var two = e.Calibration.Bins.Single(b => b.Count == 1);
        Assert.Equal((0.85, 1.0), (two.Low, two.Accuracy));
        Assert.Equal(0.8807970780, two.Confidence, 9);
        double expected = (4 * (0.75 - 0.7310585786) + (1 - 0.8807970780)) / 5;
        Assert.Equal(expected, e.Calibration.ExpectedCalibrationError, 9);
    }

    [Fact]
    public void Rewards_that_are_all_equal_are_calibrated_and_never_right()
    {
        var e = PairEvaluation.Of([1, 1], [1, 1]);
        Assert.Equal((0.0, 0.0), (e.Accuracy, e.Calibration.ExpectedCalibrationError));
        Assert.Equal(Math.Log(2), e.Loss, 12);
    }

    [Fact]
    public void Extreme_rewards_give_finite_numbers()
    {
        var e = PairEvaluation.Of([1e6f, -1e6f], [-1e6f, 1e6f]);
        Assert.Equal(1e6, e.Loss, 1e-3);
        Assert.Equal(0.5, e.Calibration.ExpectedCalibrationError, 9);
    }

    [Fact]
    public void A_reward_is_asked_for_prompt_and_answer()
    {
        var reward = new DelegateReward("length", c => c.Text.Length);
        var e = PairEvaluation.Of(reward, [new("prompt", " long answer", " no"), new("p", "", " yes")]);
        Assert.Equal((0.5, (9 - 4) / 2.0), (e.Accuracy, e.MeanMargin));
    }

    [Fact]
    public void What_cannot_be_measured_is_refused()
    {
        Assert.Throws<ArgumentException>(() => PairEvaluation.Of([], []));
        Assert.Throws<ArgumentException>(() => PairEvaluation.Of([1], [1, 2]));
        Assert.Contains("Pair 1", Assert.Throws<ArgumentException>(() => PairEvaluation.Of([1, float.NaN], [1, 2])).Message);
    }
}
