using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tests.Evaluation;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Tests.Training.RewardModeling;

public sealed class PairSamplerTests : IDisposable
{
    private static readonly Query[] Prompts =
        [.. Enumerable.Range(0, 300).Select(i => new Query([i % 500, 7], NumberTokenizer.Text([i % 500, 7])))];

    private readonly CausalLM model = AutoModelForCausalLM.FromPretrained(Fixtures.Path("gpt2-tiny"));

    public void Dispose() => model.Dispose();

    [Fact]
    public void Each_prompt_gets_two_different_answers_and_the_same_seed_the_same_pairs()
    {
        var sampled = Sampler(new()).Sample(Prompts);
        Assert.Equal(300, sampled.Pairs.Count + sampled.PromptsWithoutPair + sampled.Repeated);
        Assert.InRange(sampled.Pairs.Count, 290, 300);
        Assert.All(sampled.Pairs, p => Assert.NotEqual(p.ResponseA.Trim(), p.ResponseB.Trim()));
        Assert.Equal(sampled.Pairs.Count, sampled.Pairs.Select(p => p.Id).Distinct().Count());
        Assert.All(sampled.Pairs, p => Assert.Equal("tiny", p.Model));
        Assert.Equal(sampled.Pairs, Sampler(new()).Sample(Prompts).Pairs);
        Assert.NotEqual(sampled.Pairs, Sampler(new() { Seed = 1 }).Sample(Prompts).Pairs);
    }

    [Fact]
    public void A_prompt_gets_its_pair_whatever_prompts_come_after_it() =>
        Assert.Equal(Sampler(new()).Sample(Prompts).Pairs.Take(5), Sampler(new()).Sample(Prompts[..5]).Pairs);

    [Fact]
    public void Answers_of_a_prompt_have_one_length_limit()
    {
        var sampler = Sampler(new(), new LengthSampler(1, 9));
        Assert.All(sampler.Sample(Prompts[..50]).Pairs, p => Assert.Equal(Tokens(p.ResponseA), Tokens(p.ResponseB)));
    }

    [Fact]
    public void The_best_and_the_worst_answer_come_in_any_order()
    {
        var sampled = Sampler(new() { Samples = 5, Select = PairSelection.BestWorst }).Sample(Prompts).Pairs;
        var random = Sampler(new() { Samples = 5 }).Sample(Prompts).Pairs;
        double bestFirst = sampled.Average(p => First(p.ResponseA) > First(p.ResponseB) ? 1.0 : 0.0);
        Assert.InRange(bestFirst, 0.4, 0.6);
        // The expected range of five uniform numbers is (5 - 1) / (5 + 1) = 0.67, of two 0.33.
        Assert.InRange(sampled.Average(Distance) / random.Average(Distance), 1.5, 2.5);
    }

    [Fact]
    public void Greedy_answers_make_no_pair()
    {
        var greedy = new PairSampler(model, new NumberTokenizer(512), new()) { Generation = new() { DoSample = false } };
        var sampled = greedy.Sample(Prompts[..3]);
        Assert.Equal((0, 3), (sampled.Pairs.Count, sampled.PromptsWithoutPair));
    }

    [Fact]
    public void The_same_prompt_and_answers_come_once()
    {
        // One token of two: three prompts that are the same make one pair at most.
        var sampler = new PairSampler(model, new NumberTokenizer(512), new() { Samples = 8 })
        {
            Generation = new() { TopK = 2, MaxNewTokens = 1, EosTokenId = -1 },
        };
        var sampled = sampler.Sample([Prompts[3], Prompts[3], Prompts[3]]);
        Assert.Equal((1, 3), (sampled.Pairs.Count, sampled.Pairs.Count + sampled.PromptsWithoutPair + sampled.Repeated));
    }

    [Fact]
    public void Impossible_settings_are_refused()
    {
        Assert.Throws<ConfigurationException>(() => Sampler(new() { Samples = 1 }).Sample(Prompts));
        var noScorer = new PairSampler(model, new NumberTokenizer(512), new() { Select = PairSelection.BestWorst });
        Assert.Contains("scorer", Assert.Throws<ConfigurationException>(() => noScorer.Sample(Prompts)).Message);
    }

    private PairSampler Sampler(PairSamplingConfig config, LengthSampler? lengths = null) =>
        new(model, new NumberTokenizer(512), config)
        {
            Generation = new GenerationConfig { MaxNewTokens = 4, EosTokenId = -1 },
            ResponseLengths = lengths,
            Scorer = new DelegateReward("first", c => First(c.Response)),
            ModelName = "tiny",
        };

    private static int Tokens(string response) => response.Split(' ').Length;

    private static float First(string response) => float.Parse(response.Split(' ')[0]);

    private static double Distance(ResponsePair pair) => Math.Abs(First(pair.ResponseA) - First(pair.ResponseB));
}
