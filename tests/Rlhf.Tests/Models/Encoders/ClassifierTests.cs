using CsCheck;
using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models.Encoders;

/// <summary>What holds for every classifier, shown on random models of a few hundred weights.</summary>
public class ClassifierTests
{
    public static TheoryData<string> Kinds => ["distilbert", "bert", "roberta", "gpt2"];

    [Theory, MemberData(nameof(Kinds))]
    public void A_row_gives_the_same_logits_alone_and_packed_with_others(string kind)
    {
        using var model = Tiny(kind);
        Gen.Int[3, 12].Array[1, 9].Array[1, 6].Sample(rows =>
        {
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            var together = Logits(model, rows);
            var alone = rows.SelectMany(row => Logits(model, [row])).ToArray();
            return together.Zip(alone).All(pair => Math.Abs(pair.First - pair.Second) < 1e-4f);
        }, iter: 30, threads: 1);
    }

    [Theory, MemberData(nameof(Kinds))]
    public void Gradients_of_all_parameters_equal_finite_differences(string kind)
    {
        using var scope = NewDisposeScope();
        using var model = Tiny(kind);
        using var batch = PackedBatch.FromRows([[3, 4, 5, 9], [6, 7], [8, 3, 4, 11, 5, 12]]);
        using var weights = tensor(new float[] { 1, -0.5f, 0.25f, 0.75f, -1, 0.5f }, [3, 2]);
        (model.Forward(batch) * weights).sum().backward();
        double Loss() => (model.Forward(batch) * weights).sum().to(float64).item<double>();

        using var generator = new Generator(7);
        foreach (var (name, parameter) in model.Parameters)
        {
            using var step = NewDisposeScope();
            using var noGrad = no_grad();
            var direction = empty(parameter.shape, float32).normal_(0, 1, generator);
            direction.div_(direction.norm());
            double analytic = parameter.grad is { } gradient ? (gradient * direction).sum().item<float>() : 0;
            const double Epsilon = 0.01;
            parameter.add_(direction, Epsilon);
            double above = Loss();
            parameter.add_(direction, -2 * Epsilon);
            double below = Loss();
            parameter.add_(direction, Epsilon);
            double numeric = (above - below) / (2 * Epsilon);
            Assert.True(Math.Abs(analytic - numeric) < 2e-3 + 0.02 * Math.Abs(numeric),
                $"{name}: gradient {analytic}, differences {numeric}");
        }
    }

    [Theory, MemberData(nameof(Kinds))]
    public void A_forward_pass_leaves_only_its_logits(string kind)
    {
        using var model = Tiny(kind);
        using var noGrad = no_grad();
        void Pass()
        {
            using var scope = NewDisposeScope();
            Logits(model, [[3, 4, 5], [6, 7]]);
        }
        Pass();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        long before = Tensor.TotalCount;
        for (int i = 0; i < 5; i++)
            Pass();
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Theory, MemberData(nameof(Kinds))]
    public void A_saved_model_opens_again_with_the_same_logits(string kind)
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = Tiny(kind);
        model.SavePretrained(folder.Path);
        using var loaded = AutoModelForSequenceClassification.FromPretrained(folder.Path);

        Assert.Equal(model.Architecture, loaded.Architecture);
        Assert.Equal(model.Labels, loaded.Labels);
        Assert.Equal(Logits(model, [[3, 4, 5], [6, 7]]), Logits(loaded, [[3, 4, 5], [6, 7]]));
    }

    [Theory, MemberData(nameof(Kinds))]
    public void A_new_scalar_head_goes_on_the_same_trunk(string kind)
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = Tiny(kind);
        model.SavePretrained(folder.Path);
        using var reward = AutoModelForSequenceClassification.FromPretrained(folder.Path, newHead: NewHead.Scalar(seed: 3));
        using var again = AutoModelForSequenceClassification.FromPretrained(folder.Path, newHead: NewHead.Scalar(seed: 3));
        using var other = AutoModelForSequenceClassification.FromPretrained(folder.Path, newHead: NewHead.Scalar(seed: 4));

        Assert.Equal(["LABEL_0"], reward.Labels);
        var logits = Logits(reward, [[3, 4, 5], [6, 7]]);
        Assert.Equal(2, logits.Length);
        Assert.Equal(logits, Logits(again, [[3, 4, 5], [6, 7]]));
        Assert.NotEqual(logits, Logits(other, [[3, 4, 5], [6, 7]]));
        var word = model.Parameters.First().Key;
        Assert.Equal(model.Parameters[word].data<float>().ToArray(), reward.Parameters[word].data<float>().ToArray());
    }

    [Theory, MemberData(nameof(Kinds))]
    public void Dropout_acts_in_training_only(string kind)
    {
        using var model = Tiny(kind);
        Assert.Equal(Logits(model, [[3, 4, 5, 6, 7]]), Logits(model, [[3, 4, 5, 6, 7]]));
        model.Training = true;
        Assert.NotEqual(Logits(model, [[3, 4, 5, 6, 7]]), Logits(model, [[3, 4, 5, 6, 7]]));
    }

    [Theory, MemberData(nameof(Kinds))]
    public void Initial_weights_depend_on_the_seed_alone(string kind)
    {
        using var first = Tiny(kind, seed: 5);
        using var second = Tiny(kind, seed: 5);
        using var other = Tiny(kind, seed: 6);
        int[][] rows = [[3, 4, 5], [6, 7]];
        Assert.Equal(Logits(first, rows), Logits(second, rows));
        Assert.NotEqual(Logits(first, rows), Logits(other, rows));
    }

    [Theory, MemberData(nameof(Kinds))]
    public void Tokens_outside_the_model_are_refused(string kind)
    {
        using var model = Tiny(kind);
        Assert.Contains("vocabulary", Assert.Throws<ArgumentOutOfRangeException>(() => Logits(model, [[3, 13]])).Message);
        Assert.Contains("at most",
            Assert.Throws<ArgumentException>(() => Logits(model, [[.. Enumerable.Repeat(3, model.MaxPositions + 1)]])).Message);
        Logits(model, [[.. Enumerable.Repeat(3, model.MaxPositions)]]);
    }

    [Fact]
    public void Gpt2_reads_the_last_token_that_is_not_padding()
    {
        using var model = Tiny("gpt2");
        Assert.Equal(Logits(model, [[3, 4]]), Logits(model, [[3, 4, 0, 0]]), (a, b) => Math.Abs(a - b) < 1e-5f);
    }

    [Fact]
    public void Gpt2_scores_the_last_hidden_state_of_the_language_model()
    {
        var expected = FixtureTensors.Load(Fixtures.Path("gpt2-tiny-expected.safetensors"));
        var config = Gpt2Config.Load(Fixtures.Path("gpt2-tiny"));
        using var model = SmallModels.Gpt2Classifier(config);
        int width = config.NEmbd;
        var score = Enumerable.Range(0, 2 * width).Select(i => (i % 7 - 3) / 10f).ToArray();
        model.LoadWeights(FixtureTensors.Load(Fixtures.Path("gpt2-tiny", "model.safetensors")).With("score.weight", [2, width], score));

        var logits = Logits(model, ClassifierParityTests.Attended(expected, "right"));

        var mask = expected.Rows("right.attention_mask");
        var shape = expected.Shape("right.hidden_states");
        var last = expected.Floats("right.hidden_states").AsSpan((int)((shape[0] - 1) * shape[1] * shape[2] * shape[3])).ToArray();
        for (int b = 0; b < mask.Length; b++)
            for (int label = 0; label < 2; label++)
            {
                int read = (int)((b * shape[2] + mask[b].Sum() - 1) * width);
                double sum = Enumerable.Range(0, width).Sum(d => (double)last[read + d] * score[label * width + d]);
                Assert.Equal(sum, logits[2 * b + label], 2e-4);
            }
    }

    [Fact]
    public void Initial_weights_are_normal_with_zero_biases_and_unit_gains()
    {
        using var scope = NewDisposeScope();
        using var model = new RobertaForSequenceClassification(new RobertaConfig
        {
            VocabSize = 500,
            MaxPositionEmbeddings = 40,
            HiddenSize = 64,
            NumHiddenLayers = 1,
            NumAttentionHeads = 4,
            IntermediateSize = 128,
        });
        model.Initialize(1);
        var words = model.Parameters["roberta.embeddings.word_embeddings.weight"];
        Assert.Equal(0.02, words.std().item<float>(), 0.001);
        Assert.Equal(0, words.mean().item<float>(), 0.001);
        Assert.All(words[1].data<float>().ToArray(), x => Assert.Equal(0, x));
        Assert.All(model.Parameters["roberta.embeddings.position_embeddings.weight"][1].data<float>().ToArray(), x => Assert.Equal(0, x));
        Assert.All(model.Parameters["roberta.encoder.layer.0.output.LayerNorm.weight"].data<float>().ToArray(), x => Assert.Equal(1, x));
        Assert.All(model.Parameters["classifier.dense.bias"].data<float>().ToArray(), x => Assert.Equal(0, x));
    }

    [Fact]
    public void Sinusoidal_positions_begin_as_sines_and_cosines()
    {
        using var scope = NewDisposeScope();
        using var model = new DistilBertForSequenceClassification(
            (DistilBertConfig)Small(new DistilBertConfig { SinusoidalPositions = true }));
        model.Initialize(1);
        var positions = model.Parameters["distilbert.embeddings.position_embeddings.weight"];
        Assert.Equal(Math.Sin(3), positions[3, 0].item<float>(), 1e-6);
        Assert.Equal(Math.Cos(3), positions[3, 1].item<float>(), 1e-6);
        Assert.Equal(Math.Cos(3 / Math.Pow(10000, 6 / 8.0)), positions[3, 7].item<float>(), 1e-6);
    }

    internal static SequenceClassifier Tiny(string kind, long seed = 1, IReadOnlyList<string>? labels = null)
    {
        labels ??= ["NEGATIVE", "POSITIVE"];
        var model = kind switch
        {
            "distilbert" => FromConfig(Small(new DistilBertConfig())),
            "bert" => FromConfig(Small(new BertConfig())),
            "roberta" => FromConfig(Small(new RobertaConfig())),
            _ => SmallModels.Gpt2Classifier(new Gpt2Config
            {
                VocabSize = 13,
                NPositions = 12,
                NEmbd = 8,
                NLayer = 2,
                NHead = 2,
                InitializerRange = 0.4,
                BosTokenId = 0,
                EosTokenId = 0,
            }, 0, labels),
        };
        model.Initialize(seed);
        return model;
        SequenceClassifier FromConfig(EncoderConfig config) =>
            AutoModelForSequenceClassification.FromConfig(config with { Labels = labels });
    }

    internal static float[] Logits(SequenceClassifier model, int[][] rows)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var batch = PackedBatch.FromRows(rows);
        return model.Forward(batch).data<float>().ToArray();
    }

    private static EncoderConfig Small(EncoderConfig config) => config with
    {
        VocabSize = 13,
        MaxPositionEmbeddings = 14,
        HiddenSize = 8,
        NumHiddenLayers = 2,
        NumAttentionHeads = 2,
        IntermediateSize = 12,
        InitializerRange = 0.4,
    };
}
