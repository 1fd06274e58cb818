using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using static TorchSharp.torch;

namespace Rlhf.Tests.Evaluation;

public class PolicySideBySideTests
{
    private static readonly int[][] Queries = [[5, 6], [7, 8, 9], [100], [42, 41]];
    private static readonly NamedScorer Letters = new("letters", new DelegateReward("", c => c.Response.Length));
    private static readonly NamedScorer Ones = new("ones", new DelegateReward("", c => c.Response.Count(x => x == '1')));

    [Fact]
    public void Every_policy_is_judged_by_every_scorer_and_set_against_the_first()
    {
        var results = SideBySide(Letters, Ones).Compare([("sft", Policy), ("twin", Policy), ("other", Sharper)]);
        Assert.Equal(["sft", "twin", "other"], results.Select(r => r.Policy));
        Assert.All(results, r => Assert.Equal(["letters", "ones"], r.Scores.Select(s => s.Scorer)));

        var (first, twin, other) = (results[0], results[1], results[2]);
        Assert.All(first.Scores, s => Assert.Equal((null, null), (s.Gain, s.WinRate)));
        Assert.All(twin.Scores, s => Assert.Equal((0, 0.5), (s.Gain!.Mean, s.WinRate)));
        Assert.Equal(first.Samples.Completions, twin.Samples.Completions);

        // Everything once more from the responses alone.
        double[] before = [.. first.Samples.Completions.Select(c => (double)c.Response.Length)];
        double[] after = [.. other.Samples.Completions.Select(c => (double)c.Response.Length)];
        Assert.NotEqual(before, after);
        Assert.Equal(after.Average(), other.Scores[0].Score.Mean, 9);
        Assert.Equal(after.Average() - before.Average(), other.Scores[0].Gain!.Mean, 9);
        double wins = before.Zip(after, (b, a) => a > b ? 1 : a == b ? 0.5 : 0).Sum();
        Assert.Equal(wins / Queries.Length, other.Scores[0].WinRate!.Value, 12);
        Assert.Equal(other.Samples.Completions.Average(c => c.Response.Count(x => x == '1')), other.Scores[1].Score.Mean, 9);
    }

    [Fact]
    public void The_numbers_are_those_of_a_comparison_of_two()
    {
        var other = SideBySide(Letters).Compare([("before", Policy), ("after", Sharper)])[1];
        using CausalLM before = Policy(), after = Sharper();
        var comparison = new PolicyEvaluator(new NumberTokenizer(512), Queries, Letters.Reward)
        {
            Generation = new GenerationConfig { EosTokenId = -1, MaxNewTokens = 6 },
            Seed = 5,
        }.Compare(before, after);
        Assert.Equal(comparison.RewardGain, other.Scores[0].Gain);
        Assert.Equal(comparison.After.Kl, other.Samples.Kl, 12);
        Assert.Equal(comparison.After.Reward, other.Scores[0].Score);
    }

    [Fact]
    public void The_best_of_several_answers_of_the_first_policy_comes_last()
    {
        var sides = SideBySide(Letters, Ones);
        var plain = sides.Compare([("sft", Policy), ("other", Sharper)]);
        var results = new PolicySideBySide(new NumberTokenizer(512), Queries, [Letters, Ones])
        {
            Generation = sides.Generation,
            ResponseLengths = [2, 6, 1, 4],
            BestOf = 40,
            Seed = 5,
        }.Compare([("sft", Policy), ("other", Sharper)]);
        Assert.Equal(["sft", "other", "best of 40"], results.Select(r => r.Policy));
        var best = results[^1];
        Assert.Equal([2, 6, 1, 4], best.Samples.Responses.Select(r => r.Length));
        Assert.Equal(Queries.Length, best.Samples.Count);
        Assert.Equal(best.Samples.Completions.Average(c => c.Response.Count(x => x == '1')), best.Scores[1].Score.Mean, 9);
        // Of forty answers the longest has three digits at nearly every place.
        Assert.True(best.Scores[0].Gain!.Mean >= 0);
        Assert.Equal(2.71388, best.Kl, 5); // ln 40 - 39/40
        Assert.Null(results[1].BestOf);
        Assert.Equal(results[1].Samples.Kl, results[1].Kl);
        Assert.Equal(2, plain.Count);
    }

    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 0.193147)]  // ln 2 - 1/2
    [InlineData(8, 1.204442)]  // ln 8 - 7/8
    public void Divergence_of_the_best_answer_is_bounded_as_in_the_paper(int answers, double bound) =>
        Assert.Equal(bound, BestOfN.KlBound(answers), 6);

    [Fact]
    public void What_cannot_be_compared_is_refused()
    {
        Assert.Contains("BestOf is 1", Assert.Throws<ArgumentException>(() =>
            new PolicySideBySide(new NumberTokenizer(512), Queries, [Letters]) { BestOf = 1 }.Compare([("sft", Policy)])).Message);
        Assert.Throws<ArgumentException>(() => SideBySide().Compare([("sft", Policy)]));
        Assert.Throws<ArgumentException>(() => SideBySide(Letters).Compare([]));
        var error = Assert.Throws<ArgumentException>(() => SideBySide(Letters).Compare([("sft", Policy), ("small", Small)]));
        Assert.Contains("small has 600 tokens and the first policy 512", error.Message);
    }

    private static PolicySideBySide SideBySide(params NamedScorer[] scorers) =>
        new(new NumberTokenizer(512), Queries, scorers)
        {
            Generation = new GenerationConfig { EosTokenId = -1, MaxNewTokens = 6 },
            Seed = 5,
        };

    private static CausalLM Policy() => AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));

    private static CausalLM Sharper()
    {
        var model = Policy();
        using var noGrad = no_grad();
        model.Parameters["transformer.ln_f.weight"].mul_(1.5);
        return model;
    }

    private static CausalLM Small()
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config { VocabSize = 600, NPositions = 16, NEmbd = 8, NLayer = 1, NHead = 1 });
        model.Initialize(1);
        return model;
    }
}
