using CsCheck;
using Rlhf.Generation;
using Rlhf.Runtime;

namespace Rlhf.Tests.Generation;

public sealed class CategoricalTests
{
    private static readonly Gen<float[]> Row = Gen.Float[-30, 30].Array[1, 700];

    private static Categorical Distribution(float[] logits) => new(logits, new double[Categorical.BlockCount(logits.Length)]);

    [Fact]
    public void Log_probabilities_agree_with_double_precision_at_the_size_of_a_real_vocabulary()
    {
        var random = new RandomStream(3, "logits");
        var logits = Enumerable.Range(0, 50257).Select(_ => (float)(5 * random.NextGaussian() - 40)).ToArray();
        double max = logits.Max();
        double expected = max + Math.Log(logits.Sum(l => Math.Exp(l - max)));
        Assert.Equal(expected, Distribution(logits).LogSumExp, 2e-6);
    }

    [Fact]
    public void A_draw_inverts_the_cumulative_distribution() => Gen.Select(Row, Gen.Double.Unit).Sample((logits, uniform) =>
    {
        double max = logits.Max(), total = logits.Sum(l => Math.Exp(l - max));
        int token = Distribution(logits).Draw(uniform);
        double before = logits.Take(token).Sum(l => Math.Exp(l - max)) / total;
        double upTo = before + Math.Exp(logits[token] - max) / total;
        return before - 1e-5 <= uniform && uniform <= upTo + 1e-5;
    });

    [Fact]
    public void Impossible_tokens_are_never_drawn() =>
        Gen.Select(Row, Gen.OneOf(Gen.Const(0.0), Gen.Double.Unit, Gen.Const(1 - Math.Pow(2, -53))), Gen.Int[0, 699])
            .Sample((logits, uniform, possible) =>
            {
                for (int i = 0; i < logits.Length; i++)
                    if (i != possible % logits.Length && i % 3 != 0)
                        logits[i] = float.NegativeInfinity;
                return float.IsFinite(logits[Distribution(logits).Draw(uniform)]);
            });

    [Fact]
    public void Frequencies_pass_a_chi_square_test()
    {
        float[] logits = [0, 1, -1, 0.5f, float.NegativeInfinity, 2, -2, 0, 1.5f, -0.5f];
        const int draws = 50_000;
        var counts = new int[logits.Length];
        var random = new RandomStream(1, "chi-square");
        for (int i = 0; i < draws; i++)
            counts[Distribution(logits).Draw(random.Fork(i).NextDouble())]++;
        double total = logits.Sum(l => Math.Exp(l)), statistic = 0;
        for (int i = 0; i < logits.Length; i++)
            if (Math.Exp(logits[i]) * draws / total is > 0 and var expected)
                statistic += Math.Pow(counts[i] - expected, 2) / expected;
        Assert.Equal(0, counts[4]);
        // 8 degrees of freedom: a fair sampler exceeds 26.12 once in a thousand seeds.
        Assert.True(statistic < 26.12, $"chi-square is {statistic}");
    }

    [Fact]
    public void The_most_likely_token_is_the_first_of_equal_ones()
    {
        Assert.Equal(2, Categorical.ArgMax([0, -1, 5, 5, 1]));
        Assert.Equal(9, Categorical.ArgMax([0, -1, 2, 2, 1, 0, 0, 0, 0, 7, 7]));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void A_row_with_what_is_no_number_is_improper(float poison)
    {
        foreach (int at in new[] { 0, 3, 12, 255, 256, 299 })
        {
            var logits = new float[300];
            logits[at] = poison;
            Assert.False(Distribution(logits).IsProper);
        }
        Assert.False(Distribution([float.NegativeInfinity, float.NegativeInfinity]).IsProper);
    }
}
