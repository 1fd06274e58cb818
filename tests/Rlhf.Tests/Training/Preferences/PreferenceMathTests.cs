using Rlhf.Training.Preferences;
using static Rlhf.Tests.Training.Preferences.PreferenceCases;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Preferences;

/// <summary>Losses of one pair or answer, by hand.</summary>
public sealed class PreferenceMathTests
{
    // log π(y_w) = -2, log π(y_l) = -3, log ρ(y_w) = -2.5, log ρ(y_l) = -2.75: r_w = 0.5, r_l = -0.25, the margin is 0.75.
    [Theory]
    [InlineData(PreferenceLoss.Sigmoid, 0.0, 0.556353)] // ln(1 + e^-0.375) = ln(1.687289)
    [InlineData(PreferenceLoss.Sigmoid, 0.1, 0.560603)] // 0.9 · 0.523103 … see below
    [InlineData(PreferenceLoss.Hinge, 0.0, 0.625)]
    [InlineData(PreferenceLoss.Ipo, 0.0, 0.0625)] // (0.75 - 1)²
    [InlineData(PreferenceLoss.SppoHard, 0.0, 0.8125)] // (0.5 - 1)² + (-0.25 + 1)²
    [InlineData(PreferenceLoss.ApoZero, 0.0, 0.906613)] // 1 - σ(0.25) + σ(-0.125)
    [InlineData(PreferenceLoss.ApoDown, 0.0, 0.969510)] // σ(0.25) + 1 - σ(0.375)
    public void APairByHand(PreferenceLoss loss, double smoothing, double expected)
    {
        using var scope = NewDisposeScope();
        if (loss == PreferenceLoss.Sigmoid) // -(1 - ε) ln σ(x) - ε ln σ(-x) = ln(1 + e^-x) + ε x
            expected = Math.Log(1 + Math.Exp(-0.375)) + smoothing * 0.375;
        var config = new DpoConfig { Loss = loss, Beta = 0.5, LabelSmoothing = smoothing };
        var losses = PreferenceMath.PairLosses(config, tensor([-2f]), tensor([-3f]), tensor([-2.5f]), tensor([-2.75f]));
        Close("loss", expected, Floats(losses)[0], 1e-5);
    }

    [Fact]
    public void DivergencesOfOneArgumentAgreeWithReverseKlNearIt()
    {
        using var scope = NewDisposeScope();
        Tensor chosen = tensor([0.01f]), rejected = tensor([-0.01f]), zero = zeros([1]);
        double Of(FDivergence divergence) => Floats(PreferenceMath.PairLosses(
            new DpoConfig { DivergenceType = divergence, Beta = 1, AlphaDivergenceCoef = 0.5 }, chosen, rejected, zero, zero))[0];
        double plain = Math.Log(1 + Math.Exp(-0.02));
        Close("reverse KL", plain, Of(FDivergence.ReverseKl), 1e-6);
        // Near u = 1, (1 - u^-α) / α is log u to first order, and JS's log(2u / (1 + u)) is half of it.
        Close("alpha", plain, Of(FDivergence.AlphaDivergence), 1e-4);
        Close("JS", Math.Log(1 + Math.Exp(-0.01)), Of(FDivergence.JsDivergence), 1e-4);
    }

    [Fact]
    public void OptimalTransportPairsTheSortedMargins()
    {
        using var scope = NewDisposeScope();
        var config = new DpoConfig { Loss = PreferenceLoss.AotPair, Beta = 1 };
        var losses = PreferenceMath.PairLosses(config, tensor([3f, 1f]), tensor([0f, 2f]), zeros([2]), zeros([2]));
        // chosen 1, 3 against rejected 0, 2, each in order: both are ahead by 1.
        Close("losses", [(float)Math.Log(1 + Math.Exp(-1)), (float)Math.Log(1 + Math.Exp(-1))], Floats(losses), 1e-6);
    }

    [Fact]
    public void OddsByHand()
    {
        using var scope = NewDisposeScope();
        // p = 1/2 and 1/4: odds 1 and 1/3.
        Close("log odds", Math.Log(3), Floats(PreferenceMath.LogOdds(tensor([(float)Math.Log(0.5)]), tensor([(float)Math.Log(0.25)])))[0], 1e-6);
    }

    [Fact]
    public void AnswersByHand()
    {
        using var scope = NewDisposeScope();
        var losses = PreferenceMath.AnswerLosses(KtoLoss.Kto, tensor([0.5f, 0.5f]), tensor([1f, -1f]), kl: 0.25, beta: 2);
        double up = 1 / (1 + Math.Exp(-0.5)); // σ(2 · (0.5 - 0.25))
        Close("losses", [(float)(1 - up), (float)up], Floats(losses), 1e-6);
    }

    [Fact]
    public void SettingsThatWouldNotBeUsedAreRefused()
    {
        static void Refused(string message, DpoConfig config) => Assert.Contains(config.Validate(), p => p.Contains(message, StringComparison.Ordinal));
        Refused("LabelSmoothing has no meaning", new() { Loss = PreferenceLoss.Hinge, LabelSmoothing = 0.1 });
        Refused("ReferenceFree has no meaning", new() { Loss = PreferenceLoss.Orpo, ReferenceFree = true });
        Refused("compares with a reference", new() { Loss = PreferenceLoss.SppoHard, ReferenceFree = true });
        Refused("DivergenceType has no meaning", new() { Loss = PreferenceLoss.ApoZero, DivergenceType = FDivergence.JsDivergence });
        Refused("RpoAlpha has no meaning", new() { Loss = PreferenceLoss.Simpo, RpoAlpha = 1 });
        Refused("CpoAlpha is for the losses of CPO", new() { CpoAlpha = 1 });
        Refused("MaxPromptLength is 8", new() { MaxPromptLength = 8, MaxLength = 8 });
        Assert.Contains(new KtoConfig { BatchSize = 1 }.Validate(), p => p.Contains("at least 2", StringComparison.Ordinal));
        foreach (var loss in Enum.GetValues<PreferenceLoss>())
            Assert.Empty(new DpoConfig { Loss = loss }.Validate());
    }
}
