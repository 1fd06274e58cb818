using Rlhf.Rewards;
using Rlhf.Training.Groups;
using Rlhf.Training.Grpo;
using Rlhf.Training.Rloo;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Groups;

/// <summary>Advantages and losses against numbers worked out by hand.</summary>
public sealed class GroupMathTests
{
    // Two groups of two; sample deviations 1/sqrt 2 · difference: 1.41421 and 2.82843; over all four rewards (1, 3, 2, 6) 2.16025.
    private static readonly double[] Rewards = [1, 3, 2, 6];

    [Theory]
    [InlineData(RewardScale.None, new float[] { -1, 1, -2, 2 })]
    [InlineData(RewardScale.Group, new float[] { -0.707057f, 0.707057f, -0.707082f, 0.707082f })] // 1 / 1.41431, 2 / 2.82853
    [InlineData(RewardScale.Batch, new float[] { -0.462889f, 0.462889f, -0.925778f, 0.925778f })] // 1 / 2.16035
    public void AnAdvantageIsTheDistanceFromTheGroupsMean(RewardScale scale, float[] expected) =>
        Near(expected, GrpoMath.Advantages(Rewards, 2, scale).Values);

    [Fact]
    public void RewardsAreNormalizedOneByOneThenTheirSum()
    {
        // Each reward is ±0.70706 in each group; with weights 1 and 0.5 that agree in the first group and not in the second:
        // ±1.06058 and ±0.35353, mean 0, deviation sqrt((2 · 1.12484 + 2 · 0.12498) / 3) = 0.91281.
        var result = GrpoMath.NormalizeThenSum([new("a", 1, [0, 2, 0, 2]), new("b", 0.5, [0, 2, 2, 0])], 2);
        Near([-1.16175f, 1.16175f, -0.38725f, 0.38725f], result.Values, 2e-5);
    }

    [Fact]
    public void TheBaselineOfAnAnswerIsTheMeanOfTheOthers()
    {
        Near([-2, 2, -4, 4], RlooMath.Advantages(Rewards, 2, normalize: false).Values);
        Near([-1.5f, 0, 1.5f], RlooMath.Advantages([1, 2, 3], 3, normalize: false).Values);
        // Deviation of (-2, 2, -4, 4): sqrt(40 / 3) = 3.65148.
        Near([-0.547708f, 0.547708f, -1.095415f, 1.095415f], RlooMath.Advantages(Rewards, 2, normalize: true).Values);
    }

    [Fact]
    public void TheKlOfAWholeAnswerIsTakenOffItsReward() => Assert.Equal([1 - 0.5 * 3, 2 - 0.5 * -1],
        RlooMath.PenalizedRewards([1, 2], [-1, -2, -5], [-2, -4, -4], [1, 1, 1], [0, 2, 3], beta: 0.5));

    [Theory]
    [InlineData(1.5, 1, 0.8, 1.2, null, -1.2, 0)] // clipped above: no gradient
    [InlineData(1.5, -1, 0.8, 1.2, null, 1.5, 1)] // worse answers are pushed down without bound
    [InlineData(1.5, -1, 0.8, 1.2, 1.3, 1.3, 0)] // unless the ratio itself is bounded
    [InlineData(0.5, 1, 0.8, 1.2, null, -0.5, -1)]
    [InlineData(0.5, -1, 0.8, 1.2, null, 0.8, 0)]
    [InlineData(1.25, 1, 0.8, 1.28, null, -1.25, -1)] // clip-higher
    [InlineData(1.0, 2, 0.8, 1.2, null, -2, -2)]
    public void RatiosAreClipped(double ratio, double advantage, double lower, double upper, double? delta, double loss, double slope)
    {
        using var scope = NewDisposeScope();
        var x = tensor([(float)ratio]).requires_grad_();
        var y = GroupMath.ClippedLoss(x, tensor([(float)advantage]), lower, upper, delta);
        y.sum().backward();
        Near([(float)loss, (float)slope], [y.item<float>(), x.grad!.item<float>()]);
    }

    [Fact]
    public void TheSoftGateIsOneAtRatioOneWithSlopeOne()
    {
        using var scope = NewDisposeScope();
        var ratio = tensor(new float[] { 1, 1 }).requires_grad_();
        var gate = GrpoMath.SoftGate(ratio, tensor(new float[] { 1, -1 }), positive: 1, negative: 2);
        gate.sum().backward();
        Near([2, 1], gate.data<float>().ToArray()); // σ(0) · 4 / τ
        Near([1, 1], ratio.grad!.data<float>().ToArray());
    }

    [Fact]
    public void TheKlEstimatorIsNeverNegative()
    {
        using var scope = NewDisposeScope();
        // d = ref - logprob: 0, ln 2, -ln 2: e^d - d - 1 = 0, 2 - 0.693147 - 1, 0.5 + 0.693147 - 1.
        var kl = GroupMath.Kl(tensor(new float[] { -1, -2, -1 }), tensor(new float[] { -1, -2 + 0.693147f, -1 - 0.693147f }));
        Near([0, 0.306853f, 0.193147f], kl.data<float>().ToArray());
    }

    [Theory]
    [InlineData(0.5, 2.5f)]
    [InlineData(0, 1)]
    [InlineData(1, 4)]
    [InlineData(0.6, 2.8f)]
    public void QuantilesAreInterpolated(double p, float expected) => Near([expected], [GroupMath.Quantile([4, 1, 3, 2], p)]);

    [Fact]
    public void OnlyTheTokensOfTheHighestEntropiesAreKept()
    {
        using var scope = NewDisposeScope();
        var kept = GrpoMath.HighEntropy(tensor(new float[] { 1, 2, 3, 4, 9 }), tensor(new float[] { 1, 1, 1, 1, 0 }), share: 0.5);
        Assert.Equal([0, 0, 1, 1, 0], kept.data<float>().ToArray());
    }

    private static void Near(float[] expected, float[] actual, double tolerance = 2e-6)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.InRange(actual[i], expected[i] - tolerance, expected[i] + tolerance);
    }
}
