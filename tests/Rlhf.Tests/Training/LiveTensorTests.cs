using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime;
using Rlhf.Training.Ppo;
using Rlhf.Training.Preferences;
using Rlhf.Training.Sft;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training;

/// <summary>
/// The number of live tensors stays flat at a size that takes every path: an output layer whose gradient is kept between updates (from
/// 16 Mi weights on), and more rows than one chunk of it holds.
/// </summary>
public sealed class LiveTensorTests
{
    private const int Vocabulary = 1 << 18;

    // V · D is 16 Mi; a chunk holds 96 rows.
    private static readonly Gpt2Config Wide =
        new() { VocabSize = Vocabulary, NPositions = 128, NEmbd = 64, NLayer = 1, NHead = 2, AttnPdrop = 0, EmbdPdrop = 0, ResidPdrop = 0 };

    [Fact]
    public void SupervisedTrainingKeepsNone()
    {
        using var model = new Gpt2LMHeadModel(Wide);
        model.Initialize(1);
        Assert.True(model.Parameters["transformer.wte.weight"].numel() >= 16 << 20 && OutputHead.ChunkRows(Vocabulary) < 120);
        using var trainer = new SftTrainer(model, new SftConfig { BatchSize = 1, GradientAccumulationSteps = 2, MaxSteps = 4 });
        List<long> live = [];
        TestSetup.CollectGarbage();
        trainer.Train([.. Enumerable.Range(0, 4).Select(i => new SftExample([.. Enumerable.Range(i, 128)]))], [],
            _ => live.Add(Tensor.TotalCount));
        Assert.Equal(live[1], live[^1]);
    }

    [Theory]
    [InlineData(PreferenceLoss.Sigmoid)]
    [InlineData(PreferenceLoss.Orpo)]
    public void PreferencesKeepNone(PreferenceLoss loss)
    {
        using var model = Model();
        using var reference = Reference.CopyOf(model);
        PairExample[] pairs = [.. Enumerable.Range(0, 8).Select(i => new PairExample([1, 2], [.. Enumerable.Range(9, 70 + i)], [.. Enumerable.Range(500, 80)]))];
        using var trainer = new DpoTrainer(model, new DpoConfig { BatchSize = 1, GradientAccumulationSteps = 2, MaxSteps = 4, Loss = loss, EvalSteps = 1 }, reference);
        List<long> live = [];
        TestSetup.CollectGarbage();
        trainer.Train(pairs, pairs[..2], _ => live.Add(Tensor.TotalCount));
        trainer.Rewards(pairs);
        live.Add(Tensor.TotalCount);
        DpoTrainer.WithReference(pairs, reference, 2);
        live.Add(Tensor.TotalCount);
        Assert.All(live[2..], count => Assert.Equal(live[1], count));

        using var answers = new KtoTrainer(model, new KtoConfig { BatchSize = 2, MaxSteps = 4, EvalSteps = 1 }, reference);
        live = [];
        AnswerExample[] examples = [.. pairs.Select((p, i) => new AnswerExample(p.Prompt, p.Chosen, i % 2 == 0))];
        answers.Train(examples, examples[..2], _ => live.Add(Tensor.TotalCount));
        Assert.Equal(live[1], live[^1]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void PpoKeepsNone(int accumulation)
    {
        using var model = CausalLMWithValueHead.FromModel(Model());
        var config = new PpoConfig
        {
            BatchSize = 2,
            MiniBatchSize = 2 / accumulation,
            GradientAccumulationSteps = accumulation,
            PpoEpochs = 1,
        };
        using var trainer = new PpoTrainer(model, config);
        List<long> live = [];
        TestSetup.CollectGarbage();
        for (int step = 0; step < 3; step++)
        {
            trainer.Step([[1, 2], [3]], [[.. Enumerable.Range(9, 110)], [.. Enumerable.Range(500, 120)]], [1, -1]);
            live.Add(Tensor.TotalCount);
        }
        Assert.Equal(live[1], live[^1]);
    }

    /// <summary>Blocks composed of operators, with windows and a cache.</summary>
    [Fact]
    public void TodaysModelsKeepNone()
    {
        using var model = AutoModelForCausalLM.FromConfig(Path.Combine(Fixtures.Path("families", "gemma2")));
        model.Initialize(1);
        using var trainer = new SftTrainer(model, new SftConfig { BatchSize = 2, MaxSteps = 4 });
        List<long> live = [];
        TestSetup.CollectGarbage();
        trainer.Train([.. Enumerable.Range(0, 8).Select(i => new SftExample([.. Enumerable.Range(i, 20 + i)]))], [],
            _ => live.Add(Tensor.TotalCount));
        Assert.Equal(live[1], live[^1]);
        var generator = new TextGenerator(model);
        for (int i = 0; i < 3; i++)
        {
            generator.Generate([[1, 2, 3], [4]], new GenerationConfig { MaxNewTokens = 12, EosTokenId = -1 }, null, new RandomStream(i, "test"));
            live.Add(Tensor.TotalCount);
        }
        Assert.Equal(live[^2], live[^1]);
    }

    private static Gpt2LMHeadModel Model()
    {
        var model = new Gpt2LMHeadModel(Wide);
        model.Initialize(1);
        return model;
    }
}
