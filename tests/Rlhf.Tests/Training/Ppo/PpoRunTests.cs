using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;
using TorchSharp;
using static Rlhf.Tests.Training.Ppo.PpoRuns;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>The whole loop on a model of two layers whose reward is easy to earn.</summary>
public sealed class PpoRunTests
{
    private static readonly PpoConfig Config =
        new() { BatchSize = 16, MiniBatchSize = 8, PpoEpochs = 2, LearningRate = 2e-3, InitKlCoef = 0.02, Seed = 5 };

    [Fact]
    public void TheRewardRises()
    {
        var rewards = Train(Config, 25).Select(p => p.Ppo().RewardMean).ToArray();
        Assert.True(rewards[^5..].Average() > rewards[..5].Average() + 0.2,
            $"From {rewards[..5].Average():F2} to {rewards[^5..].Average():F2}.");
    }

    [Fact]
    public void TheSameSeedGivesTheSameRun()
    {
        double[] Numbers() => [.. Train(Config, 3)
            .SelectMany(p => new[] { p.Ppo().RewardMean, p.Ppo().Kl, p.Ppo().Scalars()["ppo/loss/total"] })];
        Assert.Equal(Numbers(), Numbers());
    }

    [Fact]
    public void ReusingTheRolloutsLogprobsChangesNothingButRounding()
    {
        // A temperature of 1 written as a limit that keeps every token: not "unwarped" to the sampler, so that the trainer recomputes.
        double[] Numbers(double typicalP) =>
            [.. Train(Config, 4, new() { TypicalP = typicalP }).Select(p => p.Ppo().Scalars()["ppo/loss/total"])];
        foreach (var (reused, recomputed) in Numbers(1).Zip(Numbers(0.9999999999)))
            Assert.Equal(reused, recomputed, 1e-3);
    }

    [Fact]
    public void AnotherRunOfTheSameTrainerGoesOnWithTheNextBatch()
    {
        var interrupted = Train(Config, 2, thenSteps: 5).Select(p => string.Join(',', p.Ppo().KlDist));
        Assert.Equal(Train(Config, 5).Select(p => string.Join(',', p.Ppo().KlDist)), interrupted);
    }

    [Fact]
    public void AStepOfASingleTokenHasFiniteStatistics()
    {
        using var policy = Policy();
        using var trainer = new PpoTrainer(policy, new PpoConfig { BatchSize = 1, MiniBatchSize = 1 });
        var statistics = trainer.Step([[1, 2]], [[3]], [1f]);
        Assert.All(statistics.Scalars(), s => Assert.True(double.IsFinite(s.Value), s.Key));
        Assert.Contains(statistics.Warnings, w => w.Text.Contains("1 counted tokens", StringComparison.Ordinal));
    }

    [Fact]
    public void NoTensorIsLeftBehind()
    {
        TestSetup.CollectGarbage();
        List<long> live = [];
        Train(Config with { GradientAccumulationSteps = 2 }, 10, progress: _ => live.Add(torch.Tensor.TotalCount));
        Assert.Single(live.Skip(2).Distinct());
    }

    [Fact]
    public void MetricsHaveTrlsNamesAndAreFinite()
    {
        var progress = Train(Config, 1)[0];
        foreach (var name in (string[])["objective/kl", "objective/kl_coef", "objective/entropy", "ppo/loss/total",
            "ppo/policy/approxkl", "ppo/val/var_explained",
            "env/reward_mean", "env/reward_std", "tokens/responses_len_mean", "time/ppo/forward_pass", "time/ppo/optimize_step",
            "time/ppo/total"])
            Assert.True(progress.Metrics.Scalars.ContainsKey(name), name);
        Assert.All(progress.Metrics.Scalars, s => Assert.True(double.IsFinite(s.Value), s.Key));
        Assert.Equal(["query", "response", "reward"], progress.GameLog().Columns);
    }

    [Fact]
    public void ABatchThatCannotBeMadeIsRefused()
    {
        using var policy = Policy();
        using var trainer = new PpoTrainer(policy, Config);
        var reward = new DelegateReward("none", (Completion _) => 0f);
        Assert.Contains("BatchSize", Assert.Throws<ArgumentException>(() =>
            RunOf(trainer, Tokenizer(), reward, Queries(3))).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() =>
            RunOf(trainer, Tokenizer(), reward, Queries(32), responseLengths: new LengthSampler(4, 99)));
    }

    [Fact]
    public void WrongRowsAreNamed()
    {
        using var policy = Policy();
        using var trainer = new PpoTrainer(policy, new PpoConfig { BatchSize = 2, MiniBatchSize = 2 });
        Assert.Contains("BatchSize = 2", Error([[1]], [[2]], [0]), StringComparison.Ordinal);
        Assert.Contains("Row 1 has an empty response", Error([[1], [2]], [[3], []], [0, 0]), StringComparison.Ordinal);
        Assert.Contains("row 1", Error([[1], [2]], [[3], [4]], [0, float.NaN]), StringComparison.Ordinal);
        Assert.Contains("scores", Error([[1], [2]], [[3], [4]], [0]), StringComparison.Ordinal);

        string Error(int[][] queries, int[][] responses, float[] scores) =>
            Assert.Throws<ArgumentException>(() => trainer.Step(queries, responses, scores)).Message;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ScoresAreScaledOnceTheyDiffer(bool norm)
    {
        using var policy = Policy();
        using var trainer = new PpoTrainer(
            policy, new PpoConfig { BatchSize = 2, MiniBatchSize = 2, UseScoreScaling = true, UseScoreNorm = norm });
        float[] Used(params float[] scores) => trainer.Step([[1], [2]], [[3, 4], [5]], scores).ScoresUsed;
        Assert.Equal(norm ? [0f, 0] : [0.9f, 0.9f], Used(0.9f, 0.9f));
        // 0.9, 0.9, 0.9 and 2.9: the mean is 1.4, the squared distances sum to 3, the deviation is √(3 / 3) = 1.
        float[] used = Used(0.9f, 2.9f);
        Assert.Equal(norm ? -0.5f : 0.9f, used[0], 1e-5f);
        Assert.Equal(norm ? 1.5f : 2.9f, used[1], 1e-5f);
    }

    [Fact]
    public void ImpossibleSettingsAreListedTogether()
    {
        var error = Assert.Throws<ConfigurationException>(() =>
            new PpoConfig { BatchSize = 10, MiniBatchSize = 4, ClipRange = 0, UseScoreNorm = true }.ThrowIfInvalid());
        Assert.Equal(3, error.Problems.Count);
    }

    private static List<RolloutProgress> Train(
        PpoConfig config, int steps, GenerationConfig? generation = null, Action<RolloutProgress>? progress = null, int? thenSteps = null)
    {
        using var policy = Policy();
        using var trainer = new PpoTrainer(policy, config);
        // The share of small letters in the response: a tenth of all bytes are.
        var reward = new DelegateReward("letters", (Completion c) =>
            c.Response.Length == 0 ? -1 : 3f * c.Response.Count(char.IsAsciiLetterLower) / c.Response.Length);
        List<RolloutProgress> all = [];
        foreach (int until in new[] { steps, thenSteps ?? steps })
            RunOf(trainer, Tokenizer(), reward, Queries(32), generation, new LengthSampler(3, 7)).Train(until, p =>
            {
                all.Add(p);
                progress?.Invoke(p);
            });
        return all;
    }

    private static Query[] Queries(int count) => [.. Enumerable.Range(0, count).Select(i => new Query([i % 26, (i * 7) % 26], "q"))];

    private static readonly ITokenizer Bytes = ByteLevelBpeTrainer.Train(["abc"], 257, ["<|endoftext|>"]);

    private static ITokenizer Tokenizer() => Bytes;

    private static CausalLMWithValueHead Policy()
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config
        {
            VocabSize = Tokenizer().VocabSize,
            NPositions = 32,
            NEmbd = 32,
            NLayer = 2,
            NHead = 2,
            EosTokenId = null,
            BosTokenId = null,
        });
        model.Initialize(11);
        return CausalLMWithValueHead.FromModel(model, seed: 12);
    }
}
