using System.Text.Json;
using CsCheck;
using Rlhf.Training.Ppo;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>The pieces of PPO against TRL's own numbers (fixtures/controllers.json) and hand calculation.</summary>
public sealed class PpoMathTests
{
    private static JsonElement Controllers => JsonDocument.Parse(File.ReadAllBytes(Fixtures.Path("controllers.json"))).RootElement;

    [Fact]
    public void TheAdaptiveControllerFollowsTrl()
    {
        foreach (var test in Controllers.GetProperty("adaptive_kl_controller").EnumerateArray())
        {
            double tolerance = test.GetProperty("arithmetic").GetString() == "numpy_float32" ? 1e-6 : 1e-12;
            var controller = new AdaptiveKlController(
                test.GetProperty("init_kl_coef").GetDouble(), test.GetProperty("target").GetDouble(),
                test.GetProperty("horizon").GetDouble());
            foreach (var (current, after) in Doubles(test.GetProperty("current")).Zip(Doubles(test.GetProperty("value_after"))))
            {
                controller.Update(current, test.GetProperty("n_steps").GetInt32());
                Assert.Equal(after, controller.Value, tolerance);
            }
        }
    }

    [Theory]
    [InlineData(8, 1, true, false)] // 1 - 0.2 · 8 / 1 = -0.6
    [InlineData(8, 1.6, true, false)] // 0: β would stay 0
    [InlineData(8, 1.61, true, true)]
    [InlineData(8, 1, false, true)]
    [InlineData(128, 25, true, false)]
    [InlineData(128, 26, true, true)]
    public void AHorizonThatCouldMakeTheCoefficientNegativeIsRefused(int batchSize, double horizon, bool adaptive, bool isValid)
    {
        var problems = new PpoConfig { BatchSize = batchSize, MiniBatchSize = batchSize, Horizon = horizon, AdaptiveKlControl = adaptive }
            .Validate().ToArray();
        Assert.Equal(isValid ? 0 : 1, problems.Length);
        Assert.All(problems, p => Assert.StartsWith($"Horizon is {horizon}; with AdaptiveKlControl it must be above 0.2 × BatchSize = ", p));
        var controller = new AdaptiveKlController(0.2, target: 6, horizon);
        controller.Update(0, batchSize);
        if (adaptive)
            Assert.Equal(isValid, controller.Value > 0);
    }

    [Fact]
    public void TheFixedControllerStays()
    {
        var controller = new FixedKlController(0.15);
        controller.Update(9, 128);
        Assert.Equal(0.15, controller.Value);
    }

    [Fact]
    public void RunningMomentsFollowTrl()
    {
        foreach (var sequence in Controllers.GetProperty("running_moments").EnumerateArray())
        {
            var moments = new RunningMoments();
            foreach (var update in sequence.EnumerateArray())
            {
                var (mean, std) = moments.Update([.. Doubles(update.GetProperty("xs")).Select(x => (float)x)]);
                Assert.Equal(update.GetProperty("returned_batch_mean").GetDouble(), mean, 1e-5);
                Assert.Equal(update.GetProperty("returned_batch_std").GetDouble(), std, 1e-5);
                Assert.Equal(update.GetProperty("mean").GetDouble(), moments.Mean, 1e-5);
                Assert.Equal(update.GetProperty("std").GetDouble(), moments.Std, 1e-5);
                Assert.Equal(update.GetProperty("var").GetDouble(), moments.Var, 1e-5);
                Assert.Equal(update.GetProperty("count").GetDouble(), moments.Count, 1e-9);
            }
        }
    }

    [Fact]
    public void MomentsOfSingleValuesAreFinite()
    {
        var moments = new RunningMoments();
        Assert.Equal((3, 0), moments.Update([3]));
        Assert.Equal((3d, 1d, 1d), (moments.Mean, moments.Std, moments.Count));
        moments.Update([5]); // mean 4; deviations -1 and 1, so 2 / 2 is the variance and 2 / 1 the corrected one
        Assert.Equal((4d, 1d, 2d), (moments.Mean, moments.Var, moments.Count));
        Assert.Equal(Math.Sqrt(2), moments.Std, 12);
        Assert.Contains("BatchSize of 2 or more", Assert.Single(
            new PpoConfig { BatchSize = 1, MiniBatchSize = 1, UseScoreScaling = true }.Validate()));
    }

    [Fact]
    public void MaskedMomentsAndWhiteningFollowTrl()
    {
        foreach (var test in Controllers.GetProperty("masked").EnumerateArray())
        {
            var values = Matrix(test.GetProperty("values"));
            var mask = Matrix(test.GetProperty("mask"));
            Assert.Equal(test.GetProperty("masked_mean").GetDouble(), PpoMath.MaskedMean(values, mask), 1e-5);
            Assert.Equal(test.GetProperty("masked_var_unbiased").GetDouble(), PpoMath.MaskedVar(values, mask), 1e-4);
            AssertClose(Matrix(test.GetProperty("masked_whiten")), PpoMath.MaskedWhiten(values, mask));
            AssertClose(Matrix(test.GetProperty("masked_whiten_keep_mean")), PpoMath.MaskedWhiten(values, mask, shiftMean: false));
        }
    }

    [Fact]
    public void WhiteningASingleTokenLeavesItAlone() => Assert.Equal([3f, 5f], PpoMath.MaskedWhiten([3, 5], [0, 1]));

    [Fact]
    public void AdvantagesAreThoseOfTheFormula()
    {
        // Two rows, γ = 0.5, λ = 0.5, worked out by hand from δ_t = r_t + γ v_{t+1} - v_t and A_t = δ_t + γλ A_{t+1}.
        // Row 0: v = 1, 2; r = 0, 4.  δ_1 = 4 - 2 = 2;  δ_0 = 0 + 0.5·2 - 1 = 0;  A_1 = 2;  A_0 = 0 + 0.25·2 = 0.5.
        // Row 1: v = 3;    r = 1.     A = 1 - 3 = -2.
        Assert.Equal([0.5f, 2f, -2f], PpoMath.Advantages([1, 2, 3], [0, 4, 1], [0, 2, 3], gamma: 0.5, lam: 0.5));
    }

    [Fact]
    public void TheScoreLandsOnTheLastTokenThatCounts()
    {
        var (nonScore, rewards) = PpoMath.Rewards([1, 2, 3, 4], [1, 1, 0, 1], [0, 3, 4], [10, 20], klCoef: 0.5);
        Assert.Equal([-0.5f, -1f, -1.5f, -2f], nonScore);
        Assert.Equal([-0.5f, 9f, -1.5f, 18f], rewards);
    }

    [Theory]
    [InlineData(KlPenalty.Kl, -0.5)]
    [InlineData(KlPenalty.Abs, 0.5)]
    [InlineData(KlPenalty.Mse, 0.125)]
    public void EstimatorsAreThoseOfTrl(KlPenalty penalty, double expected) =>
        Assert.Equal(expected, PpoMath.Kl(penalty, -2f, -1.5f), 1e-6);

    [Fact]
    public void PolicyGradientIsTheDerivativeOfTheLoss() =>
        Gen.Double[-0.5, 0.5].Array[6].Select(Gen.Double[-2, 2].Array[6]).Sample((logRatios, advantages) =>
        {
            using var scope = NewDisposeScope();
            var old = zeros(6, float64);
            var weight = tensor(new[] { 0.2, 0.2, 0.2, 0.2, 0.2, 0.0 });
            Tensor Advantages() => tensor(advantages);
            double Loss(double[] l) => (PpoMath.PolicyLoss(tensor(l), old, Advantages(), weight, 0.2).Losses * weight).sum().ToDouble();
            var gradient = PpoMath.PolicyLoss(tensor(logRatios), old, Advantages(), weight, 0.2).Gradient.data<double>().ToArray();
            for (int i = 0; i < 6; i++)
            {
                // The loss has a corner where the ratio meets the clip range.
                double ratio = Math.Exp(logRatios[i]);
                if (Math.Abs(ratio - 0.8) > 1e-3 && Math.Abs(ratio - 1.2) > 1e-3)
                    Assert.Equal(Slope(Loss, logRatios, i), gradient[i], 1e-6);
            }
        }, iter: 50);

    [Fact]
    public void ValueGradientIsTheDerivativeOfTheLoss() =>
        Gen.Double[-1, 1].Array[5].Select(Gen.Double[-1, 1].Array[5]).Sample((values, returns) =>
        {
            using var scope = NewDisposeScope();
            var old = tensor(new[] { 0.1, -0.2, 0.3, 0.0, 0.5 });
            var weight = full([5], 0.2, float64);
            double Loss(double[] v) => (PpoMath.ValueLoss(tensor(v), old, tensor(returns), weight, 0.2).Losses * weight).sum().ToDouble();
            var gradient = PpoMath.ValueLoss(tensor(values), old, tensor(returns), weight, 0.2).Gradient.data<double>().ToArray();
            for (int i = 0; i < 5; i++)
            {
                double v = values[i], o = old[i].ToDouble(), clipped = Math.Clamp(v, o - 0.2, o + 0.2);
                bool atCorner = Math.Abs(Math.Abs(v - o) - 0.2) < 1e-3
                    || Math.Abs(Math.Abs(v - returns[i]) - Math.Abs(clipped - returns[i])) < 1e-3 && clipped != v;
                if (!atCorner)
                    Assert.Equal(Slope(Loss, values, i), gradient[i], 1e-6);
            }
        }, iter: 50);

    [Fact]
    public void AnOverflowingRatioStaysFinite()
    {
        using var scope = NewDisposeScope();
        var loss = PpoMath.PolicyLoss(tensor(new[] { 500f }), tensor(new[] { -500f }), tensor(new[] { 1f }), ones(1), 0.2);
        Assert.True(loss.Ratio.isfinite().all().ToBoolean());
        Assert.True(loss.Ratio.ToSingle() > 1e8f);
    }

    private static double Slope(Func<double[], double> function, double[] at, int index)
    {
        const double step = 1e-5;
        double[] up = [.. at], down = [.. at];
        up[index] += step;
        down[index] -= step;
        return (function(up) - function(down)) / (2 * step);
    }

    private static IEnumerable<double> Doubles(JsonElement array) => array.EnumerateArray().Select(v => v.GetDouble());

    private static float[] Matrix(JsonElement rows) =>
        [.. rows.EnumerateArray().SelectMany(row => row.EnumerateArray()).Select(v => v.GetSingle())];

    private static void AssertClose(float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], actual[i], 1e-4f);
    }
}
