using System.Text.Json;
using Rlhf.Models;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>The chunked output layer against TRL's numbers and against autograd over whole logits.</summary>
public sealed class LmHeadTests
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
            var logprobs = LmHead.Logprobs(tensor(rows.SelectMany(r => r).ToArray(), [rows.Length, v]), eye(v), tensor(labels),
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
        int v = 50_000, d = 8, r = 2 * LmHead.ChunkRows(v) + 3;
        var weight = new Parameter(randn(v, d));
        var hidden = randn(r, d).requires_grad_();
        var targets = randint(0, v, [r], int64);
        var coefficients = randn(r);

        // The reference in double precision.
        var (hidden64, weight64) = (hidden.detach().to(float64).requires_grad_(), weight.detach().to(float64).requires_grad_());
        var logprobs = nn.functional.log_softmax(hidden64.mm(weight64.t()), 1).gather(1, targets.unsqueeze(1)).squeeze(1);
        (logprobs * coefficients).sum().backward();

        var pass = LmHead.ForwardBackward(hidden, weight, targets, (start, chunk) => coefficients.narrow(0, start, chunk.shape[0]));
        Assert.InRange(Difference(logprobs, pass.Logprobs), 0, 1e-5);
        Assert.InRange(Difference(hidden64.grad!, pass.HiddenGradient), 0, 1e-5);
        Assert.InRange(Difference(weight64.grad!, weight.grad!), 0, 1e-5);

        // Largest difference over the largest value.
        static double Difference(Tensor expected, Tensor actual) =>
            ((expected - actual).abs().max() / expected.abs().max()).ToDouble();
    }

    [Fact]
    public void FullKlIsTheSumOverTheVocabulary()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(2);
        Tensor policy = randn(5, 7), reference = randn(5, 7), targets = randint(0, 7, [5], int64);
        var (kl, logprobs, refLogprobs) = LmHead.FullKl(policy, eye(7), reference, eye(7), targets);
        for (int row = 0; row < 5; row++)
        {
            double[] p = LogSoftmax(policy[row]), q = LogSoftmax(reference[row]);
            Assert.Equal(p.Zip(q, (a, b) => Math.Exp(a) * (a - b)).Sum(), kl[row].ToDouble(), 1e-5);
            int target = (int)targets[row].ToInt64();
            Assert.Equal(p[target], logprobs[row].ToDouble(), 1e-5);
            Assert.Equal(q[target], refLogprobs[row].ToDouble(), 1e-5);
        }
    }

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
