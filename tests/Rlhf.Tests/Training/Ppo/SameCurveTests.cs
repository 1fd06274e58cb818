using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Runtime.Operators;
using Rlhf.Tests.Evaluation;
using Rlhf.Tests.Models;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;

namespace Rlhf.Tests.Training.Ppo;

/// <summary>All shortcuts together change no number but in its rounding.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class SameCurveTests
{
    private const int Steps = 20;

    // The differences are single precision's, 1.5e-6 at most and no larger at the end than at the beginning; the rest is for
    // other processors.
    private const double Tolerance = 5e-5;
    private static readonly NumberTokenizer Tokenizer = new(vocabSize: 61);
    private static readonly LengthSampler Lengths = new(2, 7);

    // Minibatches of different lengths, a clipped gradient, and a policy that moves: clipping of the ratio takes part.
    private static readonly PpoConfig Config = new()
    {
        BatchSize = 8,
        MiniBatchSize = 4,
        PpoEpochs = 2,
        LearningRate = 1e-3,
        MaxGradNorm = 1,
        Target = 0.5,
        Horizon = 100,
        Seed = 3,
    };

    [Fact]
    public void TwentyStepsWithAllShortcutsAreTwentyPlainSteps()
    {
        var (fast, plain) = (Fast(), Plain());
        Assert.True(plain[^5..].Average(p => p.Scores.Average()) > plain[..5].Average(p => p.Scores.Average()),
            "The policy learned nothing.");
        for (int step = 0; step < Steps; step++)
        {
            var (p, (statistics, responses)) = (plain[step], fast[step]);
            var numbers = statistics.Scalars();
            Assert.Equal(p.Responses.Select(NumberTokenizer.Text), responses);
            for (int b = 0; b < p.Scores.Length; b++)
                Close("score", p.Scores[b], statistics.Scores[b]);
            Close("kl", p.Kl, numbers["objective/kl"]);
            Close("kl_coef", p.KlCoef, numbers["objective/kl_coef"]);
            Close("objective entropy", p.ObjectiveEntropy, numbers["objective/entropy"]);
            Close("policy loss", p.PolicyLoss, numbers["ppo/loss/policy"]);
            Close("value loss", p.ValueLoss, numbers["ppo/loss/value"]);
            Close("entropy", p.Entropy, numbers["ppo/policy/entropy"]);
            Close("gradient norm", p.GradNorm, numbers["ppo/grad_norm"]);

            void Close(string what, double expected, double actual) =>
                Assert.True(Math.Abs(expected - actual) <= Tolerance * Math.Max(1, Math.Abs(expected)),
                    $"Step {step + 1}, {what}: {expected} without the shortcuts, {actual} with them.");
        }
    }

    private static List<(PpoStatistics Statistics, string[] Responses)> Fast()
    {
        using var shortcuts = new Shortcuts(fusedBlocks: true, Shortcuts.Libraries[^1]);
        using var policy = Policy();
        using var classifier = Classifier();
        using var trainer = new PpoTrainer(policy, Config);
        var run = PpoRuns.RunOf(trainer, Tokenizer, new ClassifierReward(classifier), Queries(), responseLengths: Lengths);
        List<(PpoStatistics, string[])> steps = [];
        run.Train(Steps, p => steps.Add((p.Ppo(), [.. p.Completions.Select(c => c.Response)])));
        return steps;
    }

    private static List<PlainStep> Plain()
    {
        using var shortcuts = new Shortcuts(fusedBlocks: false, MatrixLibrary.Default);
        using var policy = Policy();
        using var classifier = Classifier();
        using var ppo = new PlainPpo(Config, policy, Tokenizer, classifier, Queries(), Lengths);
        return [.. Enumerable.Range(1, Steps).Select(step => ppo.Step(step))];
    }

    private static Query[] Queries() => [.. Enumerable.Range(0, 30).Select(i =>
    {
        int[] ids = [.. Enumerable.Range(0, 2 + i % 4).Select(t => (i * 7 + t * 3) % Tokenizer.VocabSize)];
        // The response's text goes right behind the query's.
        return new Query(ids, NumberTokenizer.Text(ids) + " ");
    })];

    private static CausalLMWithValueHead Policy()
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config
        {
            VocabSize = Tokenizer.VocabSize,
            NPositions = 16,
            NEmbd = 24,
            NLayer = 3,
            NHead = 3,
            InitializerRange = 0.2,
            EosTokenId = null,
            BosTokenId = null,
        });
        model.Initialize(7);
        return CausalLMWithValueHead.FromModel(model, seed: 8);
    }

    private static TextClassificationPipeline Classifier()
    {
        var model = AutoModelForSequenceClassification.FromConfig(new DistilBertConfig
        {
            VocabSize = Tokenizer.VocabSize,
            MaxPositionEmbeddings = 64,
            HiddenSize = 16,
            NumHiddenLayers = 2,
            NumAttentionHeads = 2,
            IntermediateSize = 32,
            InitializerRange = 0.3,
        });
        model.Initialize(9);
        return new TextClassificationPipeline(model, Tokenizer);
    }
}
