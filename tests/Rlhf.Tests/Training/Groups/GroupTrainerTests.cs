using System.Text.Json;
using Rlhf.Data;
using Rlhf.Faults;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tests.Evaluation;
using Rlhf.Training;
using Rlhf.Training.Groups;
using Rlhf.Training.Grpo;
using Rlhf.Training.Loop;
using Rlhf.Training.Rloo;
using TorchSharp;

namespace Rlhf.Tests.Training.Groups;

/// <summary>Steps and runs of GRPO and RLOO.</summary>
public sealed class GroupTrainerTests
{
    private static readonly GrpoConfig Config = new() { NumGenerations = 4, BatchSize = 8, MiniBatchSize = 4, LearningRate = 1e-3, Seed = 3, Beta = 0.1 };

    private static readonly Query[] Queries = [.. Enumerable.Range(0, 8).Select(i => new Query([i, i + 1], $"q{i} "))];

    [Theory]
    [InlineData(GrpoLossType.Grpo)]
    [InlineData(GrpoLossType.DrGrpo)]
    [InlineData(GrpoLossType.Dapo)]
    [InlineData(GrpoLossType.Sapo)]
    public void AnUpdateDoesNotDependOnHowItsAnswersAreDivided(GrpoLossType loss)
    {
        float[] Weights(int miniBatch)
        {
            using var policy = Policy();
            using var trainer = new GrpoTrainer(policy, Config with { MiniBatchSize = miniBatch, LossType = loss, LearningRate = 1e-2 });
            trainer.Step(Answers(), [0, 1, 2, 0, 1, 1, 0, 3]);
            return All(policy);
        }
        float[] whole = Weights(8), parts = Weights(2);
        Assert.All(whole.Zip(parts), w => Assert.InRange(w.First - w.Second, -2e-4, 2e-4));
        using var untrained = Policy();
        Assert.Contains(whole.Zip(All(untrained)), w => Math.Abs(w.First - w.Second) > 5e-3);
    }

    [Theory]
    [InlineData("grpo")]
    [InlineData("rloo")]
    public void WhatIsRewardedBecomesLikelier(string algorithm)
    {
        using var policy = Policy();
        using var trainer = Trainer(algorithm, policy);
        using var reward = new DelegateReward("threes", (Completion c) => c.Response.Split(' ').Count(w => w == "3"));
        List<double> rewards = [];
        Run(trainer, reward).Train(60, p => rewards.Add(p.Statistics.RewardMean));
        Assert.True(rewards.TakeLast(10).Average() > rewards.Take(10).Average() + 1, string.Join(' ', rewards));
    }

    [Theory]
    [InlineData("grpo")]
    [InlineData("rloo")]
    public void ARunThatResumesIsTheSameBitForBit(string algorithm)
    {
        float[] Weights(int stopAfter)
        {
            using var policy = Policy();
            using var trainer = Trainer(algorithm, policy);
            using var reward = new DelegateReward("length", (Completion c) => c.Response.Length);
            Run(trainer, reward).Train(stopAfter);
            if (stopAfter == 6)
                return All(policy);
            using var resumed = Trainer(algorithm, policy);
            foreach (var (to, from) in resumed.Files[1].Tensors.Zip(trainer.Files[1].Tensors))
                using (torch.no_grad())
                using (torch.NewDisposeScope())
                    to.Value.copy_(from.Value);
            resumed.RestoreState(JsonSerializer.SerializeToElement(trainer.CaptureState()));
            if (resumed.Reference is { } reference)
                using (torch.no_grad())
                    foreach (var (name, parameter) in reference.Model.Parameters)
                        using (torch.NewDisposeScope())
                            parameter.copy_(trainer.Reference!.Model.Parameters[name]);
            Run(resumed, reward).Train(6);
            Assert.Equal(6, resumed.StepCount);
            return All(policy);
        }
        Assert.Equal(Weights(6), Weights(3));
    }

    [Fact]
    public void TheNumberOfLiveTensorsStaysFlat()
    {
        using var policy = Policy();
        using var trainer = new GrpoTrainer(policy, Config with { NumIterations = 2, TopEntropyQuantile = 0.5 });
        using var reward = new DelegateReward("length", (Completion c) => c.Response.Length % 5);
        List<long> live = [];
        TestSetup.CollectGarbage();
        Run(trainer, reward).Train(30, _ => live.Add(torch.Tensor.TotalCount));
        Assert.Single(live.Skip(5).Distinct());
    }

    [Fact]
    public void MetricsBearTrlsNames()
    {
        using var policy = Policy();
        using var trainer = new GrpoTrainer(policy, Config with { NumIterations = 2 });
        using var reward = new WeightedReward(new WeightedComponent(new DelegateReward("length", (Completion c) => c.Response.Length), 1),
            new WeightedComponent(new DelegateReward("one", (Completion _) => 1), 0.5));
        RolloutProgress? last = null;
        Run(trainer, reward).Train(1, p => last = p);
        var scalars = last!.Metrics.Scalars;
        foreach (string name in (string[])["reward", "reward_std", "rewards/length/mean", "rewards/length/std", "rewards/one/mean", "frac_reward_zero_std",
            "kl", "entropy", "loss", "grad_norm", "learning_rate", "num_tokens", "clip_ratio/low_mean", "clip_ratio/low_min", "clip_ratio/high_mean",
            "clip_ratio/high_max", "clip_ratio/region_mean", "completions/mean_length", "completions/min_length", "completions/max_length",
            "completions/clipped_ratio", "time/generation", "time/reward", "time/step", "time/grpo/optimize/backward"])
            Assert.True(scalars.TryGetValue(name, out double value) && double.IsFinite(value), name);
        Assert.Equal(1, scalars["rewards/one/mean"]);
        Assert.Equal(scalars["rewards/length/mean"] + 0.5, scalars["reward"], 5);
        Assert.Equal(4, last.Statistics is GroupStatistics { MiniBatches.Count: var count } ? count : 0); // two of each pass
    }

    [Fact]
    public void GroupsWithoutSignalAreReplaced()
    {
        using var policy = Policy();
        using var trainer = new GrpoTrainer(policy, Config with { Beta = 0 });
        // Nothing can be learned from queries whose number is even.
        using var reward = new DelegateReward("odd", (Completion c) => int.Parse(c.Query.AsSpan(1)) % 2 * c.Response.Length);
        List<(double Signal, double Replaced, IReadOnlyList<Completion> Answers)> kept = [], replaced = [];
        Run(trainer, reward).Train(4, p => kept.Add(Numbers(p)));
        Assert.Contains(kept, k => k.Signal > 0);
        using var again = new GrpoTrainer(policy, Config with { Beta = 0 });
        Run(again, reward, rounds: 8).Train(4, p => replaced.Add(Numbers(p)));
        Assert.All(replaced, r => Assert.Equal(0, r.Signal));
        Assert.Contains(replaced, r => r.Replaced > 0);
        Assert.All(replaced.SelectMany(r => r.Answers), c => Assert.Equal(1, int.Parse(c.Query.AsSpan(1)) % 2));
        Assert.All(replaced, r => Assert.All(r.Answers.Chunk(4), group => Assert.Single(group.Select(c => c.Query).Distinct())));

        static (double, double, IReadOnlyList<Completion>) Numbers(RolloutProgress p) =>
            (p.Metrics.Scalars["frac_reward_zero_std"], p.Metrics.Scalars.GetValueOrDefault("resampled_groups"), p.Completions);
    }

    [Theory]
    [InlineData("nan-loss@2", "nonfinite_loss")]
    [InlineData("nan-gradient@2", "nonfinite_gradient")]
    [InlineData("nan-logit@2", "nonfinite_logits")]
    [InlineData("equal-rewards@2", "equal_rewards")]
    [InlineData("kl-explosion@2", "kl_limit")]
    [InlineData("entropy-collapse@2", "entropy_collapse")]
    public void ABadStepIsLeftOutAndCounted(string fault, string metric)
    {
        using var policy = Policy();
        using var trainer = new GrpoTrainer(policy, Config with
        {
            Divergence = new() { KlAction = GuardAction.Skip, EntropyAction = GuardAction.Skip, EqualRewardsAction = GuardAction.Skip },
        })
        { Hooks = new FaultyTraining(FaultPlan.Parse(fault)) };
        using var reward = new DelegateReward("length", (Completion c) => c.Response.Length);
        List<float[]> weights = [];
        List<RolloutProgress> progress = [];
        Run(trainer, reward).Train(3, p =>
        {
            weights.Add(All(policy));
            progress.Add(p);
        });
        Assert.Equal(weights[0], weights[1]);
        Assert.NotEqual(weights[1], weights[2]);
        Assert.Equal((0.0, 1.0, 0.0), (Count(0), Count(1), Count(2)));
        Assert.Contains(progress[1].Statistics.Warnings, w => w.Kind == metric);
        Assert.Equal((1, 0), (progress[1].BadStepsInARow, progress[2].BadStepsInARow));

        double Count(int step) => progress[step].Metrics.Scalars["guard/" + metric];
    }

    [Fact]
    public void AnAnswerWithoutAFiniteRewardIsLeftOut()
    {
        float[] Weights(float odd, GuardAction action)
        {
            using var policy = Policy();
            using var trainer = new GrpoTrainer(policy, Config with { Divergence = new() { NonFiniteRewardAction = action } });
            var statistics = trainer.Step(Answers(), [0, 1, 2, odd, 1, 1, 0, 3]);
            Assert.Equal(float.IsFinite(odd) ? 0 : 1, statistics.Scalars()["guard/nonfinite_rewards"]);
            return All(policy);
        }
        Assert.Contains("row 3", Assert.Throws<ArgumentException>(() => Weights(float.NaN, GuardAction.Stop)).Message, StringComparison.Ordinal);
        Assert.All(Weights(float.NaN, GuardAction.Skip), w => Assert.True(float.IsFinite(w)));
        Assert.NotEqual(Weights(1, GuardAction.Skip), Weights(float.PositiveInfinity, GuardAction.Skip)); // 1 is the mean of the others
    }

    [Fact]
    public void AStepThatIsCancelledBeforeItsFirstUpdateNeverWas()
    {
        using var policy = Policy();
        using var trainer = new GrpoTrainer(policy, Config);
        string before = trainer.CaptureState().ToJsonString();
        Assert.Throws<OperationCanceledException>(() => trainer.Step(Answers(), [0, 1, 2, 0, 1, 1, 0, 3], new CancellationToken(canceled: true)));
        Assert.Equal((before, true), (trainer.CaptureState().ToJsonString(), trainer.IsBetweenSteps));
    }

    [Fact]
    public void SettingsThatContradictEachOtherAreRefused()
    {
        string Problems(GrpoConfig config) => string.Join(' ', config.Validate());
        Assert.Empty(Problems(new()));
        Assert.Empty(new RlooConfig().Validate());
        Assert.Contains("not a multiple of NumGenerations 3", Problems(new() { NumGenerations = 3 }));
        Assert.Contains("at least 2", Problems(new() { NumGenerations = 1 }));
        Assert.Contains("set it (5 is usual)", Problems(new() { LossType = GrpoLossType.Cispo }));
        Assert.Contains("must be above 1 + EpsilonHigh", Problems(new() { Delta = 1.1 }));
        Assert.Contains("UseBiasCorrectionKl has no effect", Problems(new() { UseBiasCorrectionKl = true }));
        Assert.Contains("KlLimit is 5, but with Beta 0", Problems(new() { Divergence = new() { KlLimit = 5 } }));
        using var policy = Policy();
        using var trainer = new GrpoTrainer(policy, Config);
        Assert.Contains("groups of 1", Assert.Throws<ArgumentException>(() =>
            trainer.Step(Answers() with { GroupSize = 1 }, [0, 1, 2, 0, 1, 1, 0, 3])).Message, StringComparison.Ordinal);
        Assert.Contains("EndedByEos", Assert.Throws<ArgumentException>(() => new GrpoTrainer(policy, Config with { MaskTruncatedCompletions = true })
            .Step(Answers(), [0, 1, 2, 0, 1, 1, 0, 3])).Message, StringComparison.Ordinal);
    }

    private static GroupTrainer Trainer(string algorithm, CausalLM policy) => algorithm == "rloo"
        ? new RlooTrainer(policy, new() { NumGenerations = 4, BatchSize = 8, MiniBatchSize = 4, LearningRate = 1e-2, Seed = 3, Beta = 0.01 })
        : new GrpoTrainer(policy, Config with { Beta = 0.01, LearningRate = 1e-2, NumIterations = 2 });

    private static RolloutRun Run(GroupTrainer trainer, IRewardFunction reward, int rounds = 0) => new(trainer, new TextGenerator(trainer.Policy),
        new NumberTokenizer(17), reward, Queries, new RolloutPlan(new GenerationConfig { MaxNewTokens = 5 }, AnswersPerQuery: 4) { ResampleRounds = rounds })
    { Hooks = trainer.Hooks };

    private static Rollout Answers() => new(
        [[1, 2], [1, 2], [1, 2], [1, 2], [3], [3], [3], [3]],
        [[4, 5], [6], [7, 8, 9], [1], [2, 2, 2, 2], [10, 11], [12], [13, 14, 15]])
    {
        GroupSize = 4,
    };

    private static float[] All(CausalLM policy) => [.. policy.Parameters.SelectMany(p =>
    {
        using var values = p.Value.detach();
        using var host = values.cpu();
        return host.data<float>().ToArray();
    })];

    private static Gpt2LMHeadModel Policy()
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config
        {
            VocabSize = 17,
            NPositions = 8,
            NEmbd = 8,
            NLayer = 1,
            NHead = 2,
            BosTokenId = null,
            EosTokenId = null,
            AttnPdrop = 0,
            EmbdPdrop = 0,
            ResidPdrop = 0,
        });
        model.Initialize(2);
        return model;
    }
}
