using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tests.Evaluation;
using Rlhf.Training;
using Rlhf.Training.Ppo;
using TorchSharp;
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
        { "kl-explosion", "kl_limit", "over KlLimit (120)" },
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
        string warning = Assert.Single(progress[1].Statistics.Warnings, w => w.Contains(what, StringComparison.Ordinal));
        Assert.Contains("left out", warning, StringComparison.Ordinal);
        Assert.DoesNotContain(progress[2].Statistics.Warnings, w => w.Contains(what, StringComparison.Ordinal));
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
        using var run = new Run(fault + "@3", Stops, scalesScores: true);
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
        Assert.All(progress, p => Assert.NotEmpty(p.Statistics.Warnings));
    }

    [Theory]
    [InlineData("nan-gradient@3-", 2, 5)]
    [InlineData("nan-gradient@3-", 0, 3)]
    [InlineData("kl-explosion@2-3,nan-loss@4", 2, 4)]
    [InlineData("kl-explosion@2-3,nan-loss@5-6", 2, null)] // a good step between them
    [InlineData("kl-explosion@7-8", 5, 8)] // the run would end with them
    [InlineData("kl-explosion@8", 5, null)]
    public void TooManyBadStepsInARowStop(string fault, int most, int? stops)
    {
        using var run = new Run(fault, new() { MaxBadSteps = most });
        if (stops is null)
            run.Train(8);
        else
            Assert.Equal((long)stops, Assert.Throws<TrainingDivergedException>(() => run.Train(8)).Step);
    }

    [Fact]
    public void ASampleWithoutAFiniteRewardIsLeftOutOfItsStep()
    {
        using var run = new Run("nan-reward@2", Skips);
        var progress = run.Train(3);
        Assert.Equal(1, progress[1].Metrics.Scalars["ppo/guard/nonfinite_rewards"]);
        Assert.Contains("of sample 0", progress[1].Statistics.Warnings[0], StringComparison.Ordinal);
        Assert.All(progress[1].Metrics.Scalars, s => Assert.True(double.IsFinite(s.Value), s.Key));
        var batch = progress[1].Statistics.Batch;
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
            (ofReference ? run.Trainer.ReferenceModel : run.Trainer.Model.PretrainedModel).Parameters[parameter].fill_(float.NaN);
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
        var statistics = run.Train(2)[0].Statistics;
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
        run.Trainer.Faults = FaultPlan.None;
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
                NonFiniteRewardAction = GuardAction.Warn,
                KlLimit = 0,
                EntropyFloor = double.NaN,
                MaxBadSteps = -1,
            },
        }.ThrowIfInvalid()).Problems.Count);

    /// <summary>A run on a tiny model, with what was left after each step.</summary>
    private sealed class Run : IDisposable
    {
        private readonly AutoModelForCausalLMWithValueHead policy;
        private readonly PpoRun run;

        public Run(string? fault, DivergenceConfig divergence, bool scalesScores = false)
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
            policy = AutoModelForCausalLMWithValueHead.FromModel(model, seed: 2);
            Trainer = new PpoTrainer(new PpoConfig
            {
                BatchSize = 4,
                MiniBatchSize = 2,
                PpoEpochs = 2,
                Seed = 4,
                UseScoreScaling = scalesScores,
                Divergence = divergence,
            }, policy)
            {
                Faults = FaultPlan.Parse(fault),
            };
            Query[] queries = [.. Enumerable.Range(0, 16).Select(i => new Query([i % 17, (i + 3) % 17], "q "))];
            int calls = 0;
            run = new PpoRun(Trainer, new NumberTokenizer(17), new DelegateReward("count", (Completion _) => calls++ % 3),
                queries, responseLengths: new LengthSampler(2, 4));
        }

        public PpoTrainer Trainer { get; }

        public List<float[]> Weights { get; } = [];

        public List<float[]> Moments { get; } = [];

        public List<long> Live { get; } = [];

        public List<PpoProgress> Train(int steps)
        {
            List<PpoProgress> progress = [];
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
