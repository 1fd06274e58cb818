using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Runtime;
using Rlhf.Training;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using Rlhf.Training.RewardModeling;
using static TorchSharp.torch;

namespace Rlhf.Tests.Training.RewardModeling;

public class RewardTrainerTests
{
    private static readonly string[] Filler = ["film", "plot", "actor", "scene", "music", "story"];
    private static readonly ToyTokenizer Tokenizer = new([.. Filler, "good", "bad"]);

    private static readonly RewardConfig Config = new()
    {
        LearningRate = 5e-3,
        BatchSize = 16,
        MaxSteps = 80,
        LearningRateSchedule = LearningRateSchedule.Cosine,
        Seed = 4,
    };

    [Fact]
    public void A_tiny_DistilBERT_learns_which_word_decides()
    {
        using var model = Model(2);
        using var trainer = new RewardTrainer(model, Tokenizer, Config with { EvalSteps = 40 });
        List<TrainProgress> progress = [];
        var end = trainer.Train(Reviews(320, seed: 1), Reviews(200, seed: 2), progress.Add);

        Assert.Equal((200, 80L), (end.Evaluation!.Examples, end.Step));
        Assert.InRange(end.Evaluation.Metrics["accuracy"], 0.95, 1);
        Assert.InRange(end.Evaluation.Loss, 0, 0.2);
        Assert.Equal(Enumerable.Range(1, 80).Select(i => (long)i), progress.Select(p => p.Step));
        Assert.Equal([40, 80], progress.Where(p => p.Evaluation is not null).Select(p => p.Step));
        Assert.Equal(4, end.Epoch, 12);
        Assert.False(model.Training);
    }

    [Fact]
    public void A_tiny_DistilBERT_learns_which_of_two_texts_was_chosen()
    {
        using var model = Model(1);
        using var trainer = new RewardTrainer(model, Tokenizer,
            Config with { CenterRewardsCoefficient = 0.01, GradientAccumulationSteps = 2, BatchSize = 8 });
        var end = trainer.Train(Pairs(320, seed: 1), Pairs(200, seed: 2));
        Assert.InRange(end.Evaluation!.Metrics["accuracy"], 0.95, 1);
        var again = trainer.Evaluate(Pairs(200, seed: 2));
        Assert.Equal((end.Evaluation.Loss, end.Evaluation.Metrics["accuracy"]), (again.Loss, again.Metrics["accuracy"]));
    }

    [Fact]
    public void The_same_seed_gives_the_same_weights_bit_for_bit()
    {
        float[] Trained(long seed)
        {
            using var model = Model(2);
            using var trainer = new RewardTrainer(model, Tokenizer,
                Config with { MaxSteps = 8, RandomCropProbability = 0.5, Seed = seed });
            trainer.Train(Reviews(40, seed: 1));
            return Weights(model);
        }
        var first = Trained(1);
        Assert.Equal(first, Trained(1));
        Assert.NotEqual(first, Trained(2));
    }

    [Fact]
    public void Accumulated_minibatches_are_one_large_minibatch()
    {
        float[] Trained(int batchSize, int accumulation)
        {
            using var model = Model(2, dropout: 0);
            var config = Config with { MaxSteps = 3, WarmupRatio = 0, LearningRate = 1e-3 };
            using var trainer = new RewardTrainer(model, Tokenizer,
                config with { BatchSize = batchSize, GradientAccumulationSteps = accumulation });
            trainer.Train(Reviews(10, seed: 1));
            return Weights(model);
        }
        // 10 texts are one minibatch of 10, or 4 + 4 + 2, whose shares differ. Adam turns rounding noise of tiny gradients into
        // steps: compare in the mean.
        double difference = Trained(10, 1).Zip(Trained(4, 3), (a, b) => (double)Math.Abs(a - b)).Average();
        Assert.InRange(difference, 0, 2e-5);
    }

    [Fact]
    public void The_number_of_live_tensors_stays_the_same()
    {
        using var model = Model(2);
        using var trainer = new RewardTrainer(model, Tokenizer,
            Config with { MaxSteps = 12, EvalSteps = 1, RandomCropProbability = 0.5 });
        TestSetup.CollectGarbage();
        List<long> live = [];
        trainer.Train(Reviews(64, seed: 1), Reviews(20, seed: 2), _ => live.Add(Tensor.TotalCount));
        Assert.Single(live.Skip(2).Distinct());
    }

    [Fact]
    public void Divergence_names_the_step_and_keeps_the_weights_of_the_step_before()
    {
        using var model = Model(2);
        using var trainer = new RewardTrainer(model, Tokenizer,
            Config with { LearningRate = 1e30, WarmupRatio = 0, MaxGradNorm = null, MaxBadSteps = 0 });
        float[] afterFirst = [];
        var e = Assert.Throws<TrainingDivergedException>(
            () => trainer.Train(Reviews(64, seed: 1), progress: _ => afterFirst = Weights(model)));
        Assert.Equal(2, e.Step);
        Assert.Contains("step 2", e.Message);
        Assert.Contains("LearningRate", e.Message);
        Assert.Equal(afterFirst, Weights(model));
    }

    [Fact]
    public void Prompts_longer_than_the_model_reads_leave_it_the_answers()
    {
        using var model = Model(1);
        using var trainer = new RewardTrainer(model, Tokenizer, Config with { MaxSteps = 40 });
        PreferencePair[] Long(long seed) =>
            [.. Pairs(160, seed).Select(p => p with { Prompt = string.Concat(Enumerable.Repeat("music story ", 50)) })];
        Assert.InRange(trainer.Train(Long(1), Long(2)).Evaluation!.Metrics["accuracy"], 0.95, 1);
    }

    [Fact]
    public void Pairs_whose_texts_are_the_same_where_they_are_read_are_no_part_of_training()
    {
        float[] Trained(params PreferencePair[] pairs)
        {
            using var model = Model(1);
            using var trainer = new RewardTrainer(model, Tokenizer, Config with { MaxSteps = 4, BatchSize = 8, MaxLength = 20 });
            Assert.Equal(16, trainer.Distinguishable(pairs).Count);
            trainer.Train(pairs);
            return Weights(model);
        }
        string same = string.Join(' ', Enumerable.Repeat("plot", 18));
        var telling = Pairs(16, seed: 1);
        Assert.Equal(Trained(telling), Trained([new("", "film", "film"), .. telling[..7], new("scene ", same + " good", same + " bad"),
            .. telling[7..]]));

        using var model = Model(1);
        using var trainer = new RewardTrainer(model, Tokenizer, Config with { MaxLength = 20 });
        Assert.Contains("2 pairs, both texts are the same in the 20 tokens", Assert.Throws<ArgumentException>(
            () => trainer.Train([new PreferencePair("", "film", "film"), new("", same + " good", same + " bad")])).Message);
    }

    [Fact]
    public void Cancellation_stops_between_steps()
    {
        using var model = Model(2);
        using var trainer = new RewardTrainer(model, Tokenizer, Config);
        using var cancellation = new CancellationTokenSource();
        List<long> steps = [];
        var end = trainer.Train(Reviews(64, seed: 1), cancellation: cancellation.Token, progress: p =>
        {
            steps.Add(p.Step);
            if (p.Step == 3)
                cancellation.Cancel();
        });
        Assert.Equal([1, 2, 3], steps);
        Assert.Equal(3, end.Step);
    }

    [Fact]
    public void The_learning_rate_warms_up_and_falls()
    {
        using var model = Model(2);
        var linear = Config with { LearningRateSchedule = LearningRateSchedule.Linear, LearningRate = 1e-3 };
        using var trainer = new RewardTrainer(model, Tokenizer, linear with { MaxSteps = 10, WarmupRatio = 0.3 });
        List<double> rates = [];
        trainer.Train(Reviews(32, seed: 1), progress: p => rates.Add(p.LearningRate));
        Assert.Equal(1e-3, rates.Max(), 12);
        Assert.Equal(1e-3, rates[3], 12);
        Assert.Equal(rates.Take(4).Order(), rates.Take(4));
        Assert.Equal(rates.Skip(3).OrderDescending(), rates.Skip(3));
    }

    [Fact]
    public void What_cannot_be_trained_is_refused_in_words()
    {
        using var classifier = Model(2);
        using var scorer = Model(1);
        using var trainer = new RewardTrainer(classifier, Tokenizer, Config);
        Assert.Contains("empty", Assert.Throws<ArgumentException>(() => trainer.Train(Array.Empty<Review>())).Message);
        string Refusal(params Review[] reviews) => Assert.Throws<ArgumentException>(() => trainer.Train(reviews)).Message;
        Assert.Contains("Review 1 has no label", Refusal(new("film", 0), new("plot", null)));
        Assert.Contains("label 2", Refusal(new Review("film", 2)));
        Assert.Contains("single", Assert.Throws<ArgumentException>(() => trainer.Train(Pairs(4, 1))).Message);
        using var pairs = new RewardTrainer(scorer, Tokenizer, Config with { RandomCropProbability = 0.5 });
        Assert.Contains("RandomCropProbability", Assert.Throws<ConfigurationException>(() => pairs.Train(Pairs(4, 1))).Message);
        Assert.Contains("at least two", Assert.Throws<ArgumentException>(() => pairs.Train(Reviews(4, 1))).Message);
        using var centered = new RewardTrainer(classifier, Tokenizer, Config with { CenterRewardsCoefficient = 0.1 });
        Assert.Contains("pairs", Assert.Throws<ConfigurationException>(() => centered.Train(Reviews(4, 1))).Message);
        var broken = Config with { MaxLength = 1000, BatchSize = 0 };
        var e = Assert.Throws<ConfigurationException>(() => new RewardTrainer(classifier, Tokenizer, broken));
        Assert.Equal(2, e.Problems.Count);
    }

    private static SequenceClassifier Model(int labels, double dropout = 0.1)
    {
        var model = new DistilBertForSequenceClassification(new DistilBertConfig
        {
            VocabSize = 16,
            MaxPositionEmbeddings = 32,
            HiddenSize = 32,
            NumHiddenLayers = 2,
            NumAttentionHeads = 2,
            IntermediateSize = 64,
            HiddenDropout = dropout,
            AttentionDropout = dropout,
            ClassifierDropout = dropout,
            Labels = labels == 1 ? ["REWARD"] : ["NEGATIVE", "POSITIVE"],
        });
        model.Initialize(11);
        return model;
    }

    private static string Text(RandomStream random, string word)
    {
        var words = Enumerable.Range(0, random.NextInt32(2, 14)).Select(_ => Filler[random.NextInt32(0, Filler.Length)]).ToList();
        words.Insert(random.NextInt32(0, words.Count + 1), word);
        return string.Join(' ', words);
    }

    private static Review[] Reviews(int count, long seed)
    {
        var random = new RandomStream(seed, "reviews");
        return [.. Enumerable.Range(0, count).Select(i => new Review(Text(random, i % 2 == 0 ? "bad" : "good"), i % 2))];
    }

    private static PreferencePair[] Pairs(int count, long seed)
    {
        var random = new RandomStream(seed, "pairs");
        return [.. Enumerable.Range(0, count)
            .Select(_ => new PreferencePair("film ", Text(random, "good"), Text(random, "bad")))];
    }

    private static float[] Weights(PretrainedModel model) =>
        [.. model.Parameters.Tensors.SelectMany(p => p.data<float>().ToArray())];
}
