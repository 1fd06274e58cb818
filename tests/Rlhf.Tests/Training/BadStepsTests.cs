using Rlhf.Data;
using Rlhf.Faults;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Tests.Evaluation;
using Rlhf.Tests.Models;
using Rlhf.Training;
using Rlhf.Training.RewardModeling;
using Rlhf.Training.Sft;
using TorchSharp;

namespace Rlhf.Tests.Training;

/// <summary>Steps of supervised fine-tuning and reward modeling whose numbers are not finite.</summary>
public sealed class BadStepsTests
{
    [Theory]
    [InlineData("nan-loss@3")]
    [InlineData("nan-gradient@3")]
    [InlineData("nan-gradient@2-3")]
    public void ABadStepOfFineTuningChangesNoWeight(string fault)
    {
        using var model = LanguageModel();
        using var trainer = Sft(model, fault);
        List<float[]> weights = [];
        List<string?> warnings = [];
        trainer.Train(Texts, [], p =>
        {
            weights.Add(Numbers(model.Parameters.Tensors));
            warnings.Add(p.Warning?.Text);
        });
        Assert.Equal(weights[1], weights[2]);
        Assert.NotEqual(weights[2], weights[3]);
        Assert.Contains("Step 3 was left out", warnings[2], StringComparison.Ordinal);
        Assert.All([warnings[0], .. warnings[3..]], Assert.Null);
        Assert.All(weights[^1], w => Assert.True(float.IsFinite(w)));
    }

    [Theory]
    [InlineData("nan-loss@3-", 8, 9)] // five in a row are left out, the sixth stops
    [InlineData("nan-gradient@19-", 20, 20)] // the run would end with weights that nothing vouches for
    public void TooManyInARowStopTheRun(string fault, int stopsAt, int lastPossible)
    {
        using var model = LanguageModel();
        using var trainer = Sft(model, fault);
        long seen = 0;
        var error = Assert.Throws<TrainingDivergedException>(() => trainer.Train(Texts, [], p => seen = p.Step));
        Assert.InRange(error.Step, stopsAt, lastPossible);
        Assert.Equal(error.Step - 1, seen);
        Assert.Equal("LearningRate", error.Setting);
        Assert.Contains("bad steps in a row", error.Message, StringComparison.Ordinal);
        Assert.All(Numbers(model.Parameters.Tensors), w => Assert.True(float.IsFinite(w)));
    }

    [Theory]
    [InlineData("nan-loss@2-3", null)]
    [InlineData("nan-gradient@2-", 7L)]
    public void RewardModellingDoesTheSame(string fault, long? stops)
    {
        using var model = SmallModels.Gpt2Classifier(Tiny, pad: 0);
        model.Initialize(1);
        using var trainer = new RewardTrainer(model, new NumberTokenizer(17), new RewardConfig { BatchSize = 2, MaxSteps = 12 });
        trainer.Hooks = new FaultyTraining(FaultPlan.Parse(fault));
        Review[] reviews = [.. Enumerable.Range(0, 8).Select(i => new Review($"{i} {i + 1}", i % 2))];
        List<bool> skipped = [];
        var run = () => trainer.Train(reviews, progress: p => skipped.Add(p.Warning is not null));
        if (stops is { } step)
            Assert.Equal(step, Assert.Throws<TrainingDivergedException>(run).Step);
        else
        {
            run();
            Assert.Equal([false, true, true, false], skipped.Take(4));
        }
    }

    private static readonly SftExample[] Texts = [.. Enumerable.Range(0, 6).Select(i => new SftExample([i, i + 1, i + 2]))];

    private static readonly Gpt2Config Tiny =
        new() { VocabSize = 17, NPositions = 8, NEmbd = 8, NLayer = 1, NHead = 2, ResidPdrop = 0, EmbdPdrop = 0, AttnPdrop = 0 };

    private static Gpt2LMHeadModel LanguageModel()
    {
        var model = new Gpt2LMHeadModel(Tiny);
        model.Initialize(1);
        return model;
    }

    private static SftTrainer Sft(CausalLM model, string? fault, int steps = 20) =>
        new(model, new SftConfig { BatchSize = 2, MaxSteps = steps }) { Hooks = new FaultyTraining(FaultPlan.Parse(fault)) };

    private static float[] Numbers(IEnumerable<torch.Tensor> tensors) => [.. tensors.SelectMany(t => t.data<float>().ToArray())];
}
