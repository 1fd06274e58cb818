using System.Text.Json;
using CsCheck;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime;
using Rlhf.Training;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using Rlhf.Training.Sft;
using TorchSharp;

namespace Rlhf.Tests.Training.Sft;

public sealed class SftTrainerTests
{
    private static readonly Gpt2Config Tiny = new()
    {
        VocabSize = 17,
        NPositions = 16,
        NEmbd = 32,
        NLayer = 2,
        NHead = 2,
        ResidPdrop = 0,
        EmbdPdrop = 0,
        AttnPdrop = 0,
        EosTokenId = 16,
        BosTokenId = 16,
    };

    [Fact]
    public void ARepeatingPatternIsLearned()
    {
        using var model = Model();
        using var trainer = new SftTrainer(model, new SftConfig { LearningRate = 1e-2, BatchSize = 8, MaxSteps = 120, EvalSteps = 40 });
        var data = Enumerable.Range(0, 32).Select(i => new SftExample([.. Enumerable.Range(0, 12).Select(t => (i + t) % 16)])).ToArray();
        List<TrainProgress> progress = [];
        var end = trainer.Train(data, data[..8], progress.Add);
        Assert.Equal(120, end.Step);
        // Before: about ln 17 = 2.83. The next token is certain, so that the loss can reach 0.
        Assert.InRange(progress[0].Loss, 2.5, 3.2);
        Assert.InRange(end.Evaluation!.Loss, 0, 0.2);
        Assert.Equal([40L, 80L, 120L], progress.Where(p => p.Evaluation is not null).Select(p => p.Step));
    }

    [Fact]
    public void TheWarmUpIsRoundedUp()
    {
        using var model = Model();
        using var trainer = new SftTrainer(model, new SftConfig
        {
            LearningRate = 3,
            LearningRateSchedule = LearningRateSchedule.Constant,
            WarmupRatio = 0.12,
            MaxSteps = 10,
            MaxGradNorm = 1e-9,
        });
        List<double> rates = [];
        trainer.Train([new SftExample([1, 2, 3])], [], p => rates.Add(p.LearningRate));
        // 1.2 steps are 2: up by thirds.
        Assert.Equal([1, 2, 3, 3, 3, 3, 3, 3, 3, 3], rates.Select(r => Math.Round(r, 9)));
    }

    [Fact]
    public void TheRateOfTokensLeavesEvaluationsOut()
    {
        using var model = Model();
        using var trainer = new SftTrainer(model, new SftConfig { MaxSteps = 3, BatchSize = 2, EvalSteps = 1 });
        SftExample[] data = [new([1, 2, 3, 4]), new([5, 6, 7, 8, 9])];
        List<TrainProgress> progress = [];
        var end = trainer.Train(data, data, progress.Add);
        Assert.Equal([9L, 18, 27], progress.Select(p => p.Tokens));
        Assert.All(progress, p => Assert.True(p.TrainingTime > TimeSpan.Zero && p.TrainingTime < p.Elapsed));
        Assert.Equal(27 / end.TrainingTime.TotalSeconds, end.TokensPerSecond);
    }

    [Fact]
    public void AccumulatingGradientsEqualsOneLargerBatch()
    {
        var data = Enumerable.Range(0, 8)
            .Select(i => new SftExample([.. Enumerable.Range(0, 3 + i).Select(t => (i * 3 + t * 5) % 16)])).ToArray();
        double[] Weights(int batch, int accumulation)
        {
            using var model = Model();
            using var trainer = new SftTrainer(model,
                new SftConfig { BatchSize = batch, GradientAccumulationSteps = accumulation, MaxSteps = 3 });
            trainer.Train(data, []);
            using var scope = torch.NewDisposeScope();
            return [.. model.Parameters.Select(p => p.Value.detach().square().sum().ToDouble())];
        }
        foreach (var (whole, parts) in Weights(8, 1).Zip(Weights(2, 4)))
            Assert.Equal(whole, parts, 1e-4 * (1 + whole));
    }

    [Theory]
    [InlineData(10, 4, 1, 3, 9)] // 4, 4 and 2 sequences an epoch
    [InlineData(11, 2, 2, 2.5, 8)]
    [InlineData(3, 16, 1, 2, 2)] // fewer than a batch
    [InlineData(10, 4, 1, 0.1, 1)]
    public void AnEpochTakesEverySequenceOnceAndItsLastStepWhatIsLeft(int sequences, int batch, int accumulation, double epochs, long steps)
    {
        using var model = Model();
        var config = new SftConfig { BatchSize = batch, GradientAccumulationSteps = accumulation, NumTrainEpochs = epochs };
        using var trainer = new SftTrainer(model, config);
        Assert.Equal(steps, config.TotalSteps(sequences));
        Assert.Equal(steps, trainer.Train([.. Enumerable.Range(0, sequences).Select(i => new SftExample([i, i + 1, i + 2]))], []).Step);
        long wholeEpochs = Math.Max(1, (long)epochs);
        using var whole = new SftTrainer(model, config with { NumTrainEpochs = wholeEpochs });
        var end = whole.Train([.. Enumerable.Range(0, sequences).Select(i => new SftExample([i, i + 1, i + 2]))]);
        Assert.Equal((3 * sequences * wholeEpochs, (double)wholeEpochs), (end.Tokens, end.Epoch));
    }

    [Fact]
    public void TheSameSeedGivesTheSameLosses()
    {
        double[] Losses()
        {
            using var model = Model();
            using var trainer = new SftTrainer(model, new SftConfig { BatchSize = 2, MaxSteps = 5, Seed = 3 });
            List<double> losses = [];
            trainer.Train([.. Enumerable.Range(0, 10).Select(i => new SftExample([i, i + 1, i + 2]))], [], p => losses.Add(p.Loss));
            return [.. losses];
        }
        Assert.Equal(Losses(), Losses());
    }

    [Fact]
    public void NoTensorIsLeftBehind()
    {
        TestSetup.CollectGarbage();
        using var model = Model();
        using var trainer = new SftTrainer(model, new SftConfig { BatchSize = 2, GradientAccumulationSteps = 2, MaxSteps = 12 });
        List<long> live = [];
        trainer.Train([.. Enumerable.Range(0, 16).Select(i => new SftExample([.. Enumerable.Range(0, 2 + i % 9)]))], [], _ =>
            live.Add(torch.Tensor.TotalCount));
        Assert.Single(live.Skip(2).Distinct());
    }

    [Fact]
    public void DivergenceNamesTheStepAndKeepsTheWeights()
    {
        using var model = Model();
        using (torch.no_grad())
        using (torch.NewDisposeScope())
            model.Parameters["transformer.ln_f.weight"].fill_(float.NaN);
        using var trainer = new SftTrainer(model, new SftConfig { BatchSize = 1 });
        var error = Assert.Throws<TrainingDivergedException>(() => trainer.Train([new SftExample([1, 2, 3])], []));
        Assert.Equal(1, error.Step);
        Assert.Contains("LearningRate", error.Message, StringComparison.Ordinal);
        Assert.True(model.Parameters["transformer.wpe.weight"].isfinite().all().ToBoolean());
    }

    [Fact]
    public void CancellingStopsAfterTheStep()
    {
        using var model = Model();
        using var trainer = new SftTrainer(model, new SftConfig { BatchSize = 1, MaxSteps = 50 });
        using var cancel = new CancellationTokenSource();
        var end = trainer.Train([new SftExample([1, 2, 3])], [], p => { if (p.Step == 3) cancel.Cancel(); }, cancel.Token);
        Assert.Equal(3, end.Step);
    }

    [Fact]
    public void AnEvaluationCanBeStoppedAndIsMadeUpByTheResumedRun()
    {
        SftExample[] data = [.. Enumerable.Range(0, 6).Select(i => new SftExample([i, i + 1, i + 2]))];
        var config = new SftConfig { BatchSize = 2, MaxSteps = 4, EvalSteps = 2 };
        using var wholeModel = Model();
        using var whole = new SftTrainer(wholeModel, config);
        List<double?> expected = [], reported = [];
        whole.Train(data, data, p => expected.Add(p.Evaluation?.Loss));

        using var model = Model();
        using var trainer = new SftTrainer(model, config);
        using var cancel = new CancellationTokenSource();
        trainer.Hooks = new Stopping(cancel);
        var stopped = trainer.Train(data, data, p => reported.Add(p.Evaluation?.Loss), cancel.Token);
        Assert.Equal((2L, true, 1L), (stopped.Step, stopped.EvaluationIsDue, trainer.ReportedSteps));
        Assert.Throws<OperationCanceledException>(() => trainer.Evaluate(data, cancel.Token));

        using var resumed = new SftTrainer(model, config);
        resumed.RestoreState(JsonSerializer.SerializeToElement(trainer.CaptureState()));
        foreach (var (from, to) in trainer.Files[1].Tensors.Zip(resumed.Files[1].Tensors))
            to.Value.copy_(from.Value);
        resumed.Train(data, data, p => reported.Add(p.Evaluation?.Loss));
        Assert.Equal(expected, reported);
        Assert.Equal(2, expected.Count(loss => loss is not null));
    }

    private sealed class Stopping(CancellationTokenSource cancel) : TrainingHooks
    {
        public override void BeforeEvaluation(long step, CancellationToken cancellation) => cancel.Cancel();
    }

    [Fact]
    public void AForwardPassThatThrowsLeavesTheModelInEvaluationMode()
    {
        using var model = Model();
        using var trainer = new SftTrainer(model, new SftConfig());
        Assert.ThrowsAny<Exception>(() => trainer.Train([new SftExample([1, 2, 99])]));
        Assert.False(model.Training);
    }

    [Fact]
    public void StepsOfOnesOwnAreThoseOfTheLoop()
    {
        SftExample[] data = [new([1, 2, 3, 4]), new([5, 6, 7, 8, 9])];
        double[] Losses(Func<SftTrainer, IEnumerable<TrainProgress>> steps)
        {
            using var model = Model();
            using var trainer = new SftTrainer(model, new SftConfig { MaxSteps = 3, BatchSize = 2 });
            return [.. steps(trainer).Select(p => p.Loss)];
        }
        List<TrainProgress> ofLoop = [];
        double[] losses = Losses(trainer =>
        {
            trainer.Train(data, [], ofLoop.Add);
            return ofLoop;
        });
        // The order within the one minibatch of an epoch changes the sum's rounding alone.
        foreach (var (a, b) in losses.Zip(Losses(trainer => Enumerable.Range(0, 3).Select(_ => trainer.Step(data, 3)).ToArray())))
            Assert.Equal(a, b, 1e-5);
    }

    [Fact]
    public void CheckpointsBeforeTheCommonLoopAreRead()
    {
        using var model = Model();
        using var trainer = new SftTrainer(model, new SftConfig());
        trainer.RestoreState(JsonSerializer.Deserialize<JsonElement>("""
            {"step": 7, "total_steps": 9, "loss": 2.5, "learning_rate": 0.001, "grad_norm": 1.5, "tokens": 700,
             "elapsed": "00:01:00", "eval_loss": 2.25, "bad_steps_in_a_row": 0, "training_time": "00:00:50",
             "tokens_per_second": 14, "warning": null, "eval_perplexity": 9.49}
            """));
        Assert.Equal(7, trainer.StepCount);
        var saved = trainer.CaptureState();
        Assert.Equal((2.25, 700L), (saved["evaluation"]!["loss"]!.GetValue<double>(), saved["tokens"]!.GetValue<long>()));
    }

    [Fact]
    public void ImpossibleSettingsAreListedTogether()
    {
        using var model = Model();
        var error = Assert.Throws<ConfigurationException>(() => new SftTrainer(model, new SftConfig { LearningRate = 0, BatchSize = 0 }));
        Assert.Equal(2, error.Problems.Count);
        Assert.Throws<ArgumentException>(() => new SftTrainer(model, new SftConfig()).Train([], []));
    }

    [Fact]
    public void PackingKeepsEveryTokenInOrder() => Gen.Int[0, 9].Array[0, 12].Array[0, 8].Select(Gen.Int[2, 9]).Sample((texts, length) =>
    {
        int[] stream = [.. texts.SelectMany(t => (int[])[.. t, 99])];
        var packed = SftExample.Pack(texts, 99, length);
        int[] joined = [.. packed.SelectMany(p => p.Ids)];
        // A last sequence of a single token has nothing to learn and is left out.
        Assert.Equal(stream.Length % length == 1 ? stream[..^1] : stream, joined);
        Assert.All(packed.SkipLast(1), p => Assert.Equal(length, p.Ids.Length));
    });

    [Theory]
    [InlineData(10, new[] { 1, 2, 3, 7, 8, 99 }, 3)]
    [InlineData(5, new[] { 2, 3, 7, 8, 99 }, 2)]
    [InlineData(3, new[] { 3, 7, 8 }, 1)]
    public void LongPromptsLoseTheirBeginning(int length, int[] ids, int lossStart)
    {
        var example = SftExample.FromCompletion([1, 2, 3], [7, 8], 99, length, completionOnly: true);
        Assert.Equal(ids, example.Ids);
        Assert.Equal(lossStart, example.LossStart);
    }

    private static Gpt2LMHeadModel Model()
    {
        var model = new Gpt2LMHeadModel(Tiny);
        model.Initialize(7);
        return model;
    }
}
