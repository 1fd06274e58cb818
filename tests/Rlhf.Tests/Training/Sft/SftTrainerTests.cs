using CsCheck;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime;
using Rlhf.Training;
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
        List<SftProgress> progress = [];
        var end = trainer.Train(data, data[..8], progress.Add);
        Assert.Equal(120, end.Step);
        // Before: about ln 17 = 2.83. The next token is certain, so that the loss can reach 0.
        Assert.InRange(progress[0].Loss, 2.5, 3.2);
        Assert.InRange(end.EvalLoss!.Value, 0, 0.2);
        Assert.Equal([40L, 80L, 120L], progress.Where(p => p.EvalLoss is not null).Select(p => p.Step));
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
        List<SftProgress> progress = [];
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
    [InlineData(10, 4, 1, 3, 6)] // two whole batches an epoch
    [InlineData(11, 2, 2, 2.5, 5)]
    [InlineData(3, 16, 1, 2, 2)] // fewer than a batch
    [InlineData(10, 4, 1, 0.1, 1)]
    public void AnEpochHasWholeStepsOnly(int sequences, int batch, int accumulation, double epochs, long steps)
    {
        using var model = Model();
        var config = new SftConfig { BatchSize = batch, GradientAccumulationSteps = accumulation, NumTrainEpochs = epochs };
        using var trainer = new SftTrainer(model, config);
        Assert.Equal(steps, config.TotalSteps(sequences));
        Assert.Equal(steps, trainer.Train([.. Enumerable.Range(0, sequences).Select(i => new SftExample([i, i + 1, i + 2]))], []).Step);
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
