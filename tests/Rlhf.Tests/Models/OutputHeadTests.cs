using System.Text.Json;
using Rlhf.Models;
using Rlhf.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Tests.Models;

/// <summary>The chunked output layer against TRL's numbers and against autograd over whole logits.</summary>
public sealed class OutputHeadTests
{
    [Fact]
    public void LogprobsAndEntropyFollowTrl()
    {
        using var scope = NewDisposeScope();
        var root = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Path("controllers.json"))).RootElement;
        foreach (var test in root.GetProperty("logits").EnumerateArray())
        {
            var rows = test.GetProperty("logits").EnumerateArray().SelectMany(b => b.EnumerateArray()).Select(Floats).ToArray();
            var labels = test.GetProperty("labels").EnumerateArray().SelectMany(b => b.EnumerateArray())
                .Select(l => l.GetInt64()).ToArray();
            int v = rows[0].Length;
            // With the identity as output weight, the hidden states are the logits.
            var logprobs = Head(eye(v)).Logprobs(tensor(rows.SelectMany(r => r).ToArray(), [rows.Length, v]), tensor(labels),
                out var entropy, withEntropy: true);
            AssertClose(test.GetProperty("logprobs_from_logits").EnumerateArray().SelectMany(Floats), logprobs);
            AssertClose(test.GetProperty("entropy_from_logits").EnumerateArray().SelectMany(Floats), entropy!);
        }
    }

    [Fact]
    public void GradientsOverSeveralChunksAreAutograds()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        int v = 50_000, d = 8, r = 2 * OutputHead.ChunkRows(v) + 3;
        var weight = new Parameter(randn(v, d));
        var hidden = randn(r, d).requires_grad_();
        var targets = randint(0, v, [r], int64);
        var coefficients = randn(r);

        // The reference in double precision.
        var (hidden64, weight64) = (hidden.detach().to(float64).requires_grad_(), weight.detach().to(float64).requires_grad_());
        var logprobs = nn.functional.log_softmax(hidden64.mm(weight64.t()), 1).gather(1, targets.unsqueeze(1)).squeeze(1);
        (logprobs * coefficients).sum().backward();

        var pass = new OutputHead(new Linear("lm_head", weight)).ForwardBackward(hidden, targets, (start, chunk) => coefficients.narrow(0, start, chunk.shape[0]));
        Assert.InRange(Difference(logprobs, pass.Logprobs), 0, 1e-5);
        Assert.InRange(Difference(hidden64.grad!, pass.HiddenGradient), 0, 1e-5);
        Assert.InRange(Difference(weight64.grad!, weight.grad!), 0, 1e-5);
    }

    [Fact]
    public void FullKlIsTheSumOverTheVocabulary()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(2);
        Tensor policy = randn(5, 7), reference = randn(5, 7), targets = randint(0, 7, [5], int64);
        var (kl, logprobs, refLogprobs) = Head(eye(7)).FullKl(policy, Head(eye(7)), reference, targets);
        for (int row = 0; row < 5; row++)
        {
            double[] p = LogSoftmax(policy[row]), q = LogSoftmax(reference[row]);
            Assert.Equal(p.Zip(q, (a, b) => Math.Exp(a) * (a - b)).Sum(), kl[row].ToDouble(), 1e-5);
            int target = (int)targets[row].ToInt64();
            Assert.Equal(p[target], logprobs[row].ToDouble(), 1e-5);
            Assert.Equal(q[target], refLogprobs[row].ToDouble(), 1e-5);
        }
    }

    /// <summary>A bias, a scale, a soft cap and several chunks: against autograd over the whole logits in double precision.</summary>
    [Theory]
    [InlineData(1.0, null)]
    [InlineData(0.5, 2.0)]
    public void LossesOfAllLogprobsTogetherFollowAutograd(double scale, double? cap)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        int v = 60_000, d = 6, r = OutputHead.ChunkRows(v) + 7;
        Parameter weight = new(randn(v, d)), bias = new(randn(v));
        var hidden = randn(r, d);
        var targets = randint(0, v, [r], int64);

        Tensor hidden64 = hidden.to(float64).requires_grad_(), weight64 = weight.detach().to(float64).requires_grad_();
        var bias64 = bias.detach().to(float64).requires_grad_();
        var logits = (hidden64.mm(weight64.t()) + bias64) * scale;
        if (cap is { } c)
            logits = (logits / c).tanh() * c;
        var all = nn.functional.log_softmax(logits, 1);
        var logprobs = all.gather(1, targets.unsqueeze(1)).squeeze(1);
        // No sum over tokens: the derivative by one logprob depends on all of them.
        logprobs.sum().square().backward();

        var head = new OutputHead(new Linear("lm_head", weight, bias)) { Scale = scale, Cap = cap };
        var pass = head.ForwardBackward(hidden, targets, s => full_like(s.Logprobs, 2 * s.Logprobs.sum(float64).ToDouble()), withEntropy: true);
        Assert.InRange(Difference(logprobs, pass.Logprobs), 0, 1e-5);
        Assert.InRange(Difference((all.exp() * all).sum(1).neg(), pass.Entropy!), 0, 1e-5);
        Assert.InRange(Difference(hidden64.grad!, pass.HiddenGradient), 0, 2e-5);
        Assert.InRange(Difference(weight64.grad!, weight.grad!), 0, 2e-5);
        Assert.InRange(Difference(bias64.grad!, bias.grad!), 0, 2e-5);
        Assert.InRange(Difference(logprobs, head.Logprobs(hidden, targets)), 0, 1e-5);

        // A gradient of nothing leaves what is there.
        var before = weight.grad!.clone();
        var none = head.ForwardBackward(hidden, targets, _ => (Tensor?)null);
        Assert.Equal(0, none.HiddenGradient.abs().max().ToDouble());
        Assert.True(before.Equals(weight.grad!));
    }

    private static OutputHead Head(Tensor weight) => new(new Linear("lm_head", new Parameter(weight)));

    /// <summary>Largest difference over the largest value.</summary>
    private static double Difference(Tensor expected, Tensor actual) =>
        ((expected - actual).abs().max() / expected.abs().max()).ToDouble();

    private static double[] LogSoftmax(Tensor logits)
    {
        var values = logits.data<float>().Select(v => (double)v).ToArray();
        double sum = Math.Log(values.Sum(Math.Exp));
        return [.. values.Select(v => v - sum)];
    }

    private static float[] Floats(JsonElement array) => [.. array.EnumerateArray().Select(v => v.GetSingle())];

    private static void AssertClose(IEnumerable<float> expected, Tensor actual) =>
        Assert.InRange((tensor(expected.ToArray()) - actual).abs().max().ToDouble(), 0, 1e-4);
}
