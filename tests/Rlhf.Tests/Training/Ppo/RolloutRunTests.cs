using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tests.Evaluation;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>The loop around a policy's trainer.</summary>
public sealed class RolloutRunTests
{
    private static readonly PpoConfig Config = new() { BatchSize = 4, MiniBatchSize = 2, PpoEpochs = 2, Seed = 4 };

    private static readonly Query[] Queries = [.. Enumerable.Range(0, 8).Select(i => new Query([i, i + 1], $"q{i} ")
    {
        Fields = new Dictionary<string, object?> { ["answer"] = (long)i },
    })];

    [Fact]
    public void AStopWhileTheRewardIsWaitedForGivesUpTheStepWhichIsTakenAgainLater()
    {
        List<string> whole = Train(3), interrupted = [];
        using var policy = Policy();
        using var trainer = new PpoTrainer(policy, Config);
        using var stop = new CancellationTokenSource();
        // The second batch is never answered: whoever waits is stopped.
        int batches = 0;
        using var reward = new DelegateReward("service", async (completions, cancellation) =>
        {
            if (++batches == 2)
            {
                stop.Cancel();
                await Task.Delay(Timeout.Infinite, cancellation);
            }
            return Lengths(completions);
        });
        var run = new RolloutRun(trainer, new TextGenerator(policy), new NumberTokenizer(17), reward, Queries);
        Assert.Equal(1, run.Train(3, p => interrupted.Add(Numbers(p)), stop.Token));
        Assert.True(trainer.IsBetweenSteps);
        Assert.Equal(3, run.Train(3, p => interrupted.Add(Numbers(p))));
        Assert.Equal(whole, interrupted);
    }

    [Fact]
    public void AStepThatIsCancelledBeforeItsFirstUpdateNeverWas()
    {
        using var policy = Policy();
        using var trainer = new PpoTrainer(policy, Config with { UseScoreScaling = true });
        var before = trainer.CaptureState().ToJsonString();
        int[][] queries = [[1], [2], [3], [4]], responses = [[5], [6], [7], [8]];
        Assert.Throws<OperationCanceledException>(() =>
            trainer.Step(new Rollout(queries, responses), [1, 2, 3, 4], cancellation: new CancellationToken(canceled: true)));
        Assert.Equal((before, true), (trainer.CaptureState().ToJsonString(), trainer.IsBetweenSteps));
    }

    [Fact]
    public void EachQueryIsAnsweredAsOftenAsThePlanSays()
    {
        using var policy = Policy();
        using var trainer = new PpoTrainer(policy, Config);
        List<Completion> seen = [];
        using var reward = new DelegateReward("seen", completions =>
        {
            seen.AddRange(completions);
            return Lengths(completions);
        });
        var run = new RolloutRun(trainer, new TextGenerator(policy), new NumberTokenizer(17), reward, Queries,
            new RolloutPlan(new GenerationConfig { MaxNewTokens = 4 }, AnswersPerQuery: 2));
        Assert.Equal(4, run.StepsPerEpoch); // 8 queries, two a step
        run.Train(4);
        Assert.Equal(16, seen.Count);
        Assert.All(seen.Chunk(2), pair => Assert.Equal(pair[0].Query, pair[1].Query));
        Assert.Equal(8, seen.Select(c => c.Query).Distinct().Count());
        Assert.Contains(seen.Chunk(2), pair => pair[0].Response != pair[1].Response);
        Assert.All(seen, c => Assert.Equal($"q{c.Fields["answer"]} ", c.Query));

        Assert.Contains("multiple of 3 answers", Assert.Throws<ArgumentException>(() => new RolloutRun(trainer, new TextGenerator(policy),
            new NumberTokenizer(17), reward, Queries, new RolloutPlan(AnswersPerQuery: 3))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1.0, true)]
    [InlineData(0.7, false)]
    public void OnlyLogprobsOfThePolicysOwnDistributionGoAlong(double temperature, bool own)
    {
        using var policy = Policy();
        int[][] queries = [[1], [2, 3]];
        var result = new TextGenerator(policy).Generate(
            queries, new GenerationConfig { Temperature = temperature, MaxNewTokens = 3 }, null, new RandomStream(1, "test"));
        var rollout = result.ToRollout(queries);
        Assert.Equal((own, own), (rollout.Logprobs is not null, rollout.Values is not null));
        Assert.Same(result.Responses, rollout.Responses);
        Assert.Throws<ArgumentException>(() => result.ToRollout([[1]]));
    }

    [Fact]
    public void AKlControllerOfOnesOwnIsUsed()
    {
        using var policy = Policy();
        var controller = new Rising();
        using var trainer = new PpoTrainer(policy, Config, klController: controller);
        using var reward = new DelegateReward("length", (Completion c) => c.Response.Length);
        List<double> used = [];
        new RolloutRun(trainer, new TextGenerator(policy), new NumberTokenizer(17), reward, Queries)
            .Train(3, p => used.Add(((PpoStatistics)p.Statistics).KlCoef));
        Assert.Equal([1, 2, 3], used);
        using var resumed = new PpoTrainer(policy, Config, klController: new Rising());
        resumed.RestoreState(System.Text.Json.JsonSerializer.SerializeToElement(trainer.CaptureState()));
        Assert.Equal(4, resumed.KlCoef);
    }

    private sealed class Rising : IKlController
    {
        public double Value { get; private set; } = 1;

        public void Update(double kl, int samples) => Value++;

        public void Restore(double value) => Value = value;
    }

    private static List<string> Train(int steps)
    {
        using var policy = Policy();
        using var trainer = new PpoTrainer(policy, Config);
        using var reward = new DelegateReward("length", completions => Lengths(completions));
        List<string> numbers = [];
        new RolloutRun(trainer, new TextGenerator(policy), new NumberTokenizer(17), reward, Queries).Train(steps, p => numbers.Add(Numbers(p)));
        return numbers;
    }

    private static float[] Lengths(IReadOnlyList<Completion> completions) => [.. completions.Select(c => (float)(c.Response.Length % 5))];

    private static string Numbers(RolloutProgress p) =>
        string.Join(' ', p.Completions.Select(c => c.Response).Append(p.Metrics.Scalars["ppo/loss/total"].ToString("R")));

    private static CausalLMWithValueHead Policy()
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config
        {
            VocabSize = 17,
            NPositions = 24,
            NEmbd = 8,
            NLayer = 1,
            NHead = 2,
            BosTokenId = null,
            EosTokenId = null,
        });
        model.Initialize(1);
        return CausalLMWithValueHead.FromModel(model, seed: 2);
    }
}
