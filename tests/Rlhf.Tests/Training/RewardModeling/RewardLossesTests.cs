using Rlhf.Runtime.Native;
using Rlhf.Training.RewardModeling;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.RewardModeling;

public class RewardLossesTests
{
    private static readonly float Ln3 = MathF.Log(3);

    public RewardLossesTests() => LibTorch.Initialize();

    [Fact]
    public void Bradley_Terry_equals_the_hand_calculation()
    {
        // Leads ln 3 and 0: σ = 3/4 and 1/2, losses ln 4/3 and ln 2. d loss / d chosen = -(1 - σ), d loss / d rejected = 1 - σ.
        using var scope = NewDisposeScope();
        var chosen = tensor([Ln3 + 2, 5], requires_grad: true);
        var rejected = tensor([2f, 5], requires_grad: true);
        var loss = RewardLosses.BradleyTerry(chosen, rejected);
        loss.backward();
        Assert.Equal(Math.Log(4.0 / 3) + Math.Log(2), loss.item<float>(), 1e-6);
        AssertEqual([-0.25, -0.5], chosen.grad!);
        AssertEqual([0.25, 0.5], rejected.grad!);
    }

    [Fact]
    public void A_margin_is_what_the_chosen_text_has_to_win_by()
    {
        // Lead ln 3 - margin 2 ln 3 = -ln 3: σ = 1/4, loss ln 4, gradient -3/4.
        using var scope = NewDisposeScope();
        var chosen = tensor([Ln3], requires_grad: true);
        var loss = RewardLosses.BradleyTerry(chosen, tensor([0f]), tensor([2 * Ln3]));
        loss.backward();
        Assert.Equal(Math.Log(4), loss.item<float>(), 1e-6);
        AssertEqual([-0.75], chosen.grad!);
    }

    [Fact]
    public void The_centring_penalty_is_the_square_of_the_sum()
    {
        // chosen 2, rejected 1 and weight 0.1: 0.1 · 3² = 0.9, gradient 0.1 · 2 · 3 = 0.6; σ(1) = 0.7310585786.
        using var scope = NewDisposeScope();
        var chosen = tensor([2f], requires_grad: true);
        var rejected = tensor([1f], requires_grad: true);
        var loss = RewardLosses.BradleyTerry(chosen, rejected, null, 0.1);
        loss.backward();
        Assert.Equal(0.3132616875 + 0.9, loss.item<float>(), 1e-6);
        AssertEqual([-0.2689414214 + 0.6], chosen.grad!);
        AssertEqual([0.2689414214 + 0.6], rejected.grad!);
    }

    [Fact]
    public void Cross_entropy_sums_over_rows()
    {
        // softmax(0, ln 3) = 1/4, 3/4: losses ln 4/3 for label 1 and ln 4 for label 0; gradient softmax - one-hot.
        using var scope = NewDisposeScope();
        var logits = tensor(new[,] { { 0, Ln3 }, { 0, Ln3 } }, requires_grad: true);
        var loss = RewardLosses.CrossEntropy(logits, tensor([1L, 0]));
        loss.backward();
        Assert.Equal(Math.Log(4.0 / 3) + Math.Log(4), loss.item<float>(), 1e-6);
        AssertEqual([0.25, -0.25, -0.75, 0.75], logits.grad!.flatten());
    }

    private static void AssertEqual(double[] expected, Tensor actual)
    {
        var values = actual.data<float>().ToArray();
        Assert.Equal(expected.Length, values.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], values[i], 1e-6);
    }
}
