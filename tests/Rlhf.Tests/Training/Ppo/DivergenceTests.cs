using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Faults;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tests.Evaluation;
using Rlhf.Training;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;
using TorchSharp;
using static Rlhf.Tests.Training.Ppo.PpoRuns;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>
/// Each kind of divergence through the real trainer: found at its step, counted, explained, and treated as the settings say.
/// </summary>
public sealed class DivergenceTests
{
    private static readonly DivergenceConfig Skips = new()
    {
        NonFiniteRewardAction = GuardAction.Skip,
        KlAction = GuardAction.Skip,
        NegativeKlAction = GuardAction.Skip,
        EntropyAction = GuardAction.Skip,
        EqualRewardsAction = GuardAction.Skip,
    };

    private static readonly DivergenceConfig Stops = new()
    {
        NonFiniteAction = GuardAction.Stop,
        KlAction = GuardAction.Stop,
        NegativeKlAction = GuardAction.Stop,
        EntropyAction = GuardAction.Stop,
        EqualRewardsAction = GuardAction.Stop,
    };

    private static readonly DivergenceConfig Warns = new() { KlAction = GuardAction.Warn };

    public static TheoryData<string, string, string> Kinds => new()
    {
        { "nan-loss", "nonfinite_loss", "The loss is NaN" },
        { "nan-gradient", "nonfinite_gradient", "The gradient norm is NaN" },
        { "nan-logit", "nonfinite_logits", "The logits hold NaN or infinity" },
        { "kl-explosion", "kl_limit", "over KlLimit (120)" }, // 20 times the target of 6
        { "negative-kl", "negative_kl", "objective/kl is -" },
        { "entropy-collapse", "entropy_collapse", "nats of entropy per token" },
        { "equal-rewards", "equal_rewards", "All 4 rewards are 1" },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void SkippingLeavesWeightsAndMomentsAsTheyWereAndGoesOn(string fault, string metric, string what)
    {
        using var run = new Run(fault + "@2", Skips);
        var progress = run.Train(3);
        Assert.Equal(run.Weights[0], run.Weights[1]);
        Assert.Equal(run.Moments[0], run.Moments[1]);
        Assert.NotEqual(run.Weights[1], run.Weights[2]);
        Assert.Equal([0d, 1, 0], progress.Select(p => Math.Min(1, p.Metrics.Scalars["ppo/guard/" + metric])));
        Assert.Equal([0d, 4, 0], progress.Select(p => p.Metrics.Scalars["ppo/guard/skipped_minibatches"]));
        Assert.Equal([0d, 1, 0], progress.Select(p => p.Metrics.Scalars["ppo/guard/bad_steps_in_a_row"]));
        string warning = Assert.Single(progress[1].Ppo().Warnings, w => w.Text.Contains(what, StringComparison.Ordinal)).Text;
        Assert.Contains("left out", warning, StringComparison.Ordinal);
        Assert.DoesNotContain(progress[2].Ppo().Warnings, w => w.Text.Contains(what, StringComparison.Ordinal));
        // What was left out has no numbers; what is left has finite ones.
        Assert.DoesNotContain("ppo/loss/total", progress[1].Metrics.Scalars.Keys);
        Assert.All(progress.SelectMany(p => p.Metrics.Scalars), s => Assert.True(double.IsFinite(s.Value), s.Key));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void StoppingNamesStepCauseAndSetting(string fault, string metric, string what)
    {
        using var run = new Run(fault + "@2", Stops);
        var error = Assert.Throws<TrainingDivergedException>(() => run.Train(3));
        Assert.Equal(2, error.Step);
        Assert.Contains(what, char.ToUpperInvariant(error.Metric[0]) + error.Metric[1..], StringComparison.OrdinalIgnoreCase);
        Assert.NotEmpty(error.Cause);
        Assert.True(typeof(PpoConfig).GetProperty(error.Setting!) is not null
            || typeof(DivergenceConfig).GetProperty(error.Setting!) is not null, metric);
        Assert.Contains(error.Setting!, error.Message, StringComparison.Ordinal);
        Assert.Equal(run.Weights[0], run.WeightsNow());
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void AStepThatStopsBeforeItsFirstUpdateNeverWas(string fault, string metric, string what)
    {
        using var run = new Run(fault + "@3", Stops, c => c with { UseScoreScaling = true });
        run.Train(2);
        string before = run.Trainer.CaptureState().ToJsonString();
        Assert.NotNull(Record.Exception(() => run.Train(3)));
        Assert.True(run.Trainer.IsBetweenSteps, metric + what);
        Assert.Equal(before, run.Trainer.CaptureState().ToJsonString());
        Assert.Equal(run.Weights[1], run.WeightsNow());
        Assert.Equal(run.Moments[1], run.MomentsNow());
    }

    [Fact]
    public void AStepThatStopsAfterAnUpdateIsNoPlaceToGoOnFrom()
    {
        using var run = new Run("late-nan-gradient@2", Stops);
        Assert.Throws<TrainingDivergedException>(() => run.Train(2));
        Assert.False(run.Trainer.IsBetweenSteps);
        Assert.NotEqual(run.Weights[0], run.WeightsNow());
        Assert.All(run.WeightsNow(), w => Assert.True(float.IsFinite(w)));
    }

    [Theory]
    [InlineData("kl-explosion", "kl_limit")]
    [InlineData("negative-kl", "negative_kl")]
    [InlineData("entropy-collapse", "entropy_collapse")]
    [InlineData("equal-rewards", "equal_rewards")]
    public void WarningGoesOnWithTheUpdate(string fault, string metric)
    {
        using var run = new Run(fault, Warns with { MaxBadSteps = 0 });
        var progress = run.Train(3);
        Assert.NotEqual(run.Weights[0], run.Weights[1]);
        Assert.All(progress, p => Assert.Equal(1, p.Metrics.Scalars["ppo/guard/" + metric]));
        Assert.All(progress, p => Assert.NotEmpty(p.Ppo().Warnings));
    }

    [Theory]
    [InlineData("nan-gradient@3-", 2, 5)]
    [InlineData("nan-gradient@3-", 0, 3)]
    [InlineData("kl-explosion@2-3,nan-loss@4", 2, 4)]
    [InlineData("kl-explosion@2-3,nan-loss@5-6", 2, null)] // a good step between them
    [InlineData("kl-explosion@7-8", 5, 8)] // the run would end with them
    [InlineData("kl-explosion@8", 5, null)]
    [InlineData("kl-explosion@1-5", 5, null)]
    [InlineData("kl-explosion@1-6", 5, 6)]
    public void TooManyBadStepsInARowStop(string fault, int most, int? stops)
    {
        using var run = new Run(fault, new() { MaxBadSteps = most });
        if (stops is null)
            run.Train(8);
        else
            Assert.Equal((long)stops, Assert.Throws<TrainingDivergedException>(() => run.Train(8)).Step);
    }

    [Theory]
    [InlineData("kl-explosion", "kl_limit")]
    [InlineData("negative-kl", "negative_kl")]
    [InlineData("entropy-collapse", "entropy_collapse")]
    [InlineData("equal-rewards", "equal_rewards")]
    public void ToleratingLearnsFromTheStepAndStopsWhenItGoesOn(string fault, string metric)
    {
        DivergenceConfig tolerates = new()
        {
            NegativeKlAction = GuardAction.Tolerate,
            EntropyAction = GuardAction.Tolerate,
            EqualRewardsAction = GuardAction.Tolerate,
            MaxBadSteps = 2,
        };
        using var run = new Run(fault + "@2-3", tolerates);
        var progress = run.Train(4);
        Assert.NotEqual(run.Weights[0], run.Weights[1]);
        Assert.Equal([0d, 1, 1, 0], progress.Select(p => p.Metrics.Scalars["ppo/guard/" + metric]));
        Assert.Equal([0d, 1, 2, 0], progress.Select(p => p.Metrics.Scalars["ppo/guard/bad_steps_in_a_row"]));
        Assert.All(progress, p => Assert.Equal(0, p.Metrics.Scalars["ppo/guard/skipped_minibatches"]));
        Assert.Contains("learnt from all the same; more than MaxBadSteps (2) such steps", progress[1].Ppo().Warnings[0].Text,
            StringComparison.Ordinal);
        using var longer = new Run(fault + "@2-", tolerates);
        Assert.Equal(4, Assert.Throws<TrainingDivergedException>(() => longer.Train(9)).Step);
    }

    [Fact]
    public void APolicyBeyondTheKlLimitIsPulledBackUnlessItsStepsAreLeftOut()
    {
        using var run = RunAway(GuardAction.Tolerate);
        double[] kls = [.. run.Train(12).Select(p => p.Ppo().Kl)];
        Assert.True(kls[0] > 2.2, $"{kls[0]}");
        Assert.InRange(kls[^6..].Average(), 0, 2);

        using var stuck = RunAway(GuardAction.Skip);
        var error = Assert.Throws<TrainingDivergedException>(() => stuck.Train(12));
        Assert.Equal(6, error.Step); // five are left out, and nothing changes by that
        Assert.Contains("over KlLimit (2.2) (6 bad steps in a row)", error.Message, StringComparison.Ordinal);

        static Run RunAway(GuardAction action)
        {
            var run = new Run(null, new() { KlLimit = 2.2, KlAction = action }, c => c with
            {
                BatchSize = 16,
                MiniBatchSize = 16,
                LearningRate = 0.003,
                InitKlCoef = 20,
                PpoEpochs = 8,
            });
            using var noGrad = no_grad();
            run.Trainer.Model.PretrainedModel.Parameters["transformer.ln_f.weight"].mul_(40); // sure of itself, unlike the reference
            return run;
        }
    }

    [Theory]
    [InlineData(10, 11.9, 119, false)] // 20 times the target of 6
    [InlineData(10, 12.1, 121, true)]
    [InlineData(10, -12.1, -121, true)]
    [InlineData(200, 0.9, 180, false)] // a nat a token
    [InlineData(200, 1.1, 220, true)]
    [InlineData(200, -1.1, -220, true)]
    [InlineData(10, 2.1, 21, true, 1.0)]
    [InlineData(10, 2.1, 21, false, 1.0, false)] // no target is steered to
    [InlineData(10, 12.1, 121, true, 50.0, false)]
    [InlineData(200, 0.3, 60, true, 6.0, true, 50.0)]
    public void TheKlLimitGrowsWithTheLengthOfTheResponses(
        int tokens, double perToken, double kl, bool strikes, double target = 6, bool adapts = true, double? limit = null)
    {
        var config = new PpoConfig
        {
            BatchSize = 2,
            MiniBatchSize = 2,
            Target = target,
            AdaptiveKlControl = adapts,
            Divergence = new() { KlLimit = limit },
        };
        // A short and a long response; the KL is a mean over both.
        int[][] responses = [new int[tokens / 2], new int[tokens + tokens / 2]];
        var rows = new StepRows(new Rollout([[1], [2]], responses), null, config.BatchSize, 1000);
        var guards = new PpoGuards(config);
        guards.Begin(1);
        float[] All(double value) => [.. Enumerable.Repeat((float)value, 2 * tokens)];
        bool trains = guards.CheckBeforeUpdates(rows, new(All(-2), All(0), All(-2), All(perToken)), [1, 2]);
        Assert.Equal(strikes ? 1 : 0, guards.Counts["ppo/guard/kl_limit"]);
        Assert.Equal(!strikes || kl > 0, trains); // a KL far below zero is no penalty and pulls nothing back
        if (strikes)
            Assert.Contains(FormattableString.Invariant($"objective/kl is {kl:F1}, "), guards.Warnings[0].Text, StringComparison.Ordinal);
    }

    [Fact]
    public void ASampleWithoutAFiniteRewardIsLeftOutOfItsStep()
    {
        using var run = new Run("nan-reward@2", Skips);
        var progress = run.Train(3);
        Assert.Equal(1, progress[1].Metrics.Scalars["ppo/guard/nonfinite_rewards"]);
        Assert.Contains("of sample 0", progress[1].Ppo().Warnings[0].Text, StringComparison.Ordinal);
        Assert.All(progress[1].Metrics.Scalars, s => Assert.True(double.IsFinite(s.Value), s.Key));
        var batch = progress[1].Ppo().Batch;
        Assert.All(batch.Row(batch.Mask, 0).ToArray(), m => Assert.Equal(0, m));
        Assert.All(batch.Mask.Skip(batch.Offsets[1]), m => Assert.Equal(1, m));
        Assert.NotEqual(run.Weights[0], run.Weights[1]); // of the other samples
    }

    [Fact]
    public void ARewardThatIsNotFiniteStopsByDefaultAndShowsItsSample()
    {
        using var run = new Run("nan-reward@2", new());
        Assert.Contains("gave NaN for sample 0: query", Assert.Throws<RewardException>(() => run.Train(3)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>Every statistic of a step with a sample that is left out is that of a step without the sample.</summary>
    [Fact]
    public void ASampleThatIsLeftOutIsInNoStatistic()
    {
        int[][] queries = [[1, 2], [2], [3], [4, 5]], responses = [[5, 6], [6, 7, 8], [7], [8, 9, 1]];
        float[][] logprobs = [[-2.7f, -2.9f], [-2f, -4f, -1f], [-2.5f], [-2.8f, -2.6f, -3.1f]];
        float[][] values = [[0.3f, 0.1f], [5f, 5f, 5f], [-0.2f], [0.1f, 0.4f, 0.2f]];
        float[] scores = [1, float.NaN, 3, 7];
        (PpoStatistics Statistics, RunningMoments Moments, double KlCoef, float[] Weights) Step(params int[] rows)
        {
            T[] Of<T>(T[] all) => [.. rows.Select(b => all[b])];
            using var run = new Run(null, Skips, c => c with
            {
                UseScoreScaling = true,
                BatchSize = rows.Length,
                MiniBatchSize = rows.Length,
            });
            var statistics = run.Trainer.Step(new Rollout(Of(queries), Of(responses), Of(logprobs), Of(values)), Of(scores));
            return (statistics, run.Trainer.ScoreMoments, run.Trainer.KlCoef, run.WeightsNow());
        }
        var (left, without) = (Step(0, 1, 2, 3), Step(0, 2, 3));
        Assert.Equal(without.KlCoef, left.KlCoef, 1e-9);
        Assert.Equal((without.Moments.Mean, without.Moments.Std, 3d), (left.Moments.Mean, left.Moments.Std, left.Moments.Count));
        var (expected, actual) = (without.Statistics.Scalars(), left.Statistics.Scalars());
        Assert.Equal(expected.Keys.Order(), actual.Keys.Order());
        foreach (var name in expected.Keys.Where(n => !n.StartsWith("time/") && !n.StartsWith("ppo/guard/")))
            Assert.Equal(expected[name], actual[name], 2e-5 * Math.Max(1, Math.Abs(expected[name])));
        foreach (var (name, distribution) in without.Statistics.Distributions())
            Assert.Equal(distribution.Order(), left.Statistics.Distributions()[name].Order(), (a, b) => Math.Abs(a - b) < 2e-5f);
        Assert.InRange(without.Weights.Zip(left.Weights, (a, b) => Math.Abs(a - b)).Average(), 0, 1e-6);
        // By hand: the mean of 1, 3 and 7 is 11 / 3, their deviation √((64 + 4 + 100) / 9 / 2) = √(28 / 3).
        Assert.Equal(11d / 3, actual["env/reward_mean"], 1e-6);
        Assert.Equal(Math.Sqrt(28d / 3), actual["env/reward_std"], 1e-6);
        Assert.Equal((2.7 + 2.9 + 2.5 + 2.8 + 2.6 + 3.1) / 3, actual["objective/entropy"], 1e-5);
        Assert.Equal(2, actual["tokens/responses_len_mean"], 1e-9);
    }

    [Fact]
    public void EqualRewardsAreThoseOfTheSamplesThatCount()
    {
        using var run = new Run(null, Skips with { EqualRewardsAction = GuardAction.Warn });
        int[][] rows = [[1], [2], [3], [4]];
        double Equal(params float[] scores) => run.Trainer.Step(rows, rows, scores).Guards["ppo/guard/equal_rewards"];
        Assert.Equal(1, Equal(2, float.NaN, 2, 2));
        Assert.Equal(0, Equal(2, float.NaN, float.NaN, float.NaN)); // a single one is equal to nothing
    }

    [Fact]
    public void WhenNoRewardIsFiniteTheRunStops()
    {
        using var run = new Run(null, Skips);
        var error = Assert.Throws<TrainingDivergedException>(() => run.Trainer.Step([[1], [2], [3], [4]], [[5], [6], [7], [8]],
            [float.NaN, float.NaN, float.PositiveInfinity, float.NaN]));
        Assert.Contains("4 of 4 rewards", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("transformer.ln_f.weight", false, "logits hold NaN")]
    [InlineData("transformer.ln_f.weight", true, "reference")]
    public void DamagedWeightsStopAtOnceWhateverTheSettings(string parameter, bool ofReference, string what)
    {
        using var run = new Run(null, Skips);
        using (no_grad())
            (ofReference ? run.Trainer.Reference.Model : run.Trainer.Model.PretrainedModel).Parameters[parameter].fill_(float.NaN);
        var error = Assert.Throws<TrainingDivergedException>(() => run.Train(1));
        Assert.Equal(1, error.Step);
        Assert.Contains(what, error.Message, StringComparison.Ordinal);
        Assert.Equal(!ofReference, error.WeightsAreDamaged);
    }

    [Fact]
    public void APolicyThatAlwaysSaysTheSameHasCollapsed()
    {
        using var run = new Run(null, new());
        using (no_grad())
        using (var scope = NewDisposeScope())
            run.Trainer.Model.PretrainedModel.Parameters["transformer.ln_f.weight"].mul_(5000);
        Assert.Equal(1, run.Train(1)[0].Metrics.Scalars["ppo/guard/entropy_collapse"]);
    }

    [Fact]
    public void TheRatioGuardNamesTheSample()
    {
        using var run = new Run(null, new());
        run.Trainer.AfterBackward = _ => { };
        // Logprobs that the policy never had for row 2.
        int[][] queries = [[1], [2], [3], [4]], responses = [[5, 6], [6, 7], [7, 8], [8, 9]];
        float[][] logprobs = [[-3, -3], [-3, -3], [-3, -30], [-3, -3]], values = [[0, 0], [0, 0], [0, 0], [0, 0]];
        var statistics = run.Trainer.Step(new Rollout(queries, responses, logprobs, values), [1, 2, 3, 4]);
        Assert.Equal(2, statistics.LargestRatioRow);
        Assert.True(statistics.Scalars()["ppo/ratio_guard_skipped"] > 0);
    }

    [Fact]
    public void TheRatioGuardNamesNoTokenThatIsMasked()
    {
        using var run = new Run(null, new());
        run.Trainer.DrawPermutation = _ => [0, 3, 1, 2]; // samples 1 and 2 are a minibatch
        int[][] queries = [[1], [2], [3], [4]], responses = [[5, 6], [6, 7], [7, 8], [8, 9]], masks = [[1, 1], [1, 1], [1, 0], [1, 1]];
        float[][] logprobs = [[-3, -3], [-12, -3], [-3, -30], [-3, -3]], values = [[0, 0], [0, 0], [0, 0], [0, 0]];
        var statistics = run.Trainer.Step(new Rollout(queries, responses, logprobs, values), [1, 2, 3, 4], masks);
        Assert.Equal(1, statistics.LargestRatioRow);
        Assert.Equal(2, statistics.MiniBatches.Count(m => m.SkippedByRatioThreshold));
        Assert.All(statistics.MiniBatches, m => Assert.Equal(m.SkippedByRatioThreshold ? 3 : 4, m.Ratios.Length));
        Assert.All(statistics.MiniBatches, m => Assert.Equal(m.Ratios.Length, m.Advantages.Length));
        Assert.All(statistics.MiniBatches, m => Assert.InRange(m.Ratios.Max(), 0, 1e5)); // e⁹ of sample 1; e²⁰ is the masked token's
        Assert.Equal([-3, -3, -12, -3, -3, -3, -3], statistics.Distributions()["objective/logprobs"]);
        Assert.Equal(7, statistics.Distributions()["objective/ref_logprobs"].Length);
    }

    [Fact]
    public void AnUpdateThatIsNotFiniteIsTheOnlyOneLeftOut()
    {
        using var run = new Run(null, new());
        int calls = 0;
        run.Trainer.AfterBackward = _ =>
        {
            using var noGrad = no_grad();
            if (calls++ == 1)
                run.Trainer.Model.ValueHead["v_head.summary.bias"].grad!.fill_(float.PositiveInfinity);
        };
        var statistics = run.Train(2)[0].Ppo();
        Assert.Equal(3, statistics.MiniBatches.Count);
        Assert.Equal((1d, 1d), (statistics.Guards["ppo/guard/nonfinite_gradient"], statistics.Guards["ppo/guard/skipped_minibatches"]));
        Assert.Equal(3 + 4, run.Trainer.Optimizer.States[0].Steps.ToDouble());
    }

    [Fact]
    public void AnExceptionInTheBackwardPassReachesTheCaller()
    {
        using var run = new Run("throwing-backward@2", new());
        Assert.Throws<InvalidOperationException>(() => run.Train(3));
        Assert.Equal(run.Weights[0], run.WeightsNow());
        run.Trainer.Hooks = run.Loop.Hooks = new TrainingHooks();
        run.Train(3);
    }

    [Fact]
    public void LeavingOutLeavesNoTensorBehind()
    {
        using var run = new Run("nan-logit@2,nan-gradient@4,kl-explosion@6,nan-loss@8", new());
        TestSetup.CollectGarbage();
        run.Train(10);
        Assert.Single(run.Live.Skip(1).Distinct());
    }

    [Fact]
    public void SettingsThatWouldDestroyTheWeightsAreRefused() =>
        Assert.Equal(5, Assert.Throws<ConfigurationException>(() => new PpoConfig
        {
            Divergence = new()
            {
                NonFiniteAction = GuardAction.Warn,
                NonFiniteRewardAction = GuardAction.Tolerate,
                KlLimit = 0,
                EntropyFloor = double.NaN,
                MaxBadSteps = -1,
            },
        }.ThrowIfInvalid()).Problems.Count);

    /// <summary>A run on a tiny model, with what was left after each step.</summary>
    private sealed class Run : IDisposable
    {
        private readonly CausalLMWithValueHead policy;
        private readonly RolloutRun run;

        public RolloutRun Loop => run;

        public Run(string? fault, DivergenceConfig divergence, Func<PpoConfig, PpoConfig>? with = null)
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
            });
            model.Initialize(1);
            policy = CausalLMWithValueHead.FromModel(model, seed: 2);
            var config = new PpoConfig { BatchSize = 4, MiniBatchSize = 2, PpoEpochs = 2, Seed = 4, Divergence = divergence };
            Trainer = new PpoTrainer(policy, with?.Invoke(config) ?? config)
            {
                Hooks = new FaultyTraining(FaultPlan.Parse(fault)),
            };
            Query[] queries = [.. Enumerable.Range(0, 16).Select(i => new Query([i % 17, (i + 3) % 17], "q "))];
            int calls = 0;
            run = RunOf(Trainer, new NumberTokenizer(17), new DelegateReward("count", (Completion _) => calls++ % 3),
                queries, responseLengths: new LengthSampler(2, 4));
        }

        public PpoTrainer Trainer { get; }

        public List<float[]> Weights { get; } = [];

        public List<float[]> Moments { get; } = [];

        public List<long> Live { get; } = [];

        public List<RolloutProgress> Train(int steps)
        {
            List<RolloutProgress> progress = [];
            run.Train(steps, p =>
            {
                progress.Add(p);
                Weights.Add(WeightsNow());
                Moments.Add(MomentsNow());
                Live.Add(Tensor.TotalCount);
            });
            return progress;
        }

        public float[] WeightsNow() => Numbers(policy.NamedParameters.Select(p => p.Value));

        public float[] MomentsNow() =>
            Numbers(Trainer.Optimizer.States.SelectMany(s => (Tensor[])[s.FirstMoment, s.SecondMoment, s.Steps]));

        public void Dispose()
        {
            Trainer.Dispose();
            policy.Dispose();
        }

        private static float[] Numbers(IEnumerable<Tensor> tensors) => [.. tensors.SelectMany(t => t.data<float>().ToArray())];
    }
}
