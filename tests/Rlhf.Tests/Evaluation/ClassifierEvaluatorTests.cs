using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Models;

namespace Rlhf.Tests.Evaluation;

public class ClassifierEvaluatorTests
{
    [Fact]
    public void Accuracy_loss_and_confusion_are_those_of_the_reference_logits()
    {
        using var model = AutoModelForSequenceClassification.FromPretrained(Fixtures.Path("distilbert-tiny"));
        using var expected = FixtureTensors.Load(Fixtures.Path("distilbert-tiny-expected.safetensors"));
        var (ids, mask) = (expected.Rows("right.input_ids"), expected.Rows("right.attention_mask"));
        var logits = expected.Floats("right.logits").Chunk(2).ToArray();
        var reviews = ids.Select((row, b) => new Review(NumberTokenizer.Text(row[..mask[b].Sum()]), b % 2)).ToArray();

        List<int> progress = [];
        var evaluator = new ClassifierEvaluator(model, new NumberTokenizer(VocabularyOf(model))) { BatchSize = 2 };
        var evaluation = evaluator.Evaluate(reviews, progress.Add);

        int right = logits.Where((row, b) => (row[1] > row[0] ? 1 : 0) == b % 2).Count();
        double loss = logits.Select((row, b) => Math.Log(Math.Exp(row[0]) + Math.Exp(row[1])) - row[b % 2]).Average();
        Assert.Equal(reviews.Length, evaluation.Examples);
        Assert.Equal((double)right / reviews.Length, evaluation.Accuracy, 12);
        Assert.Equal(loss, evaluation.Loss, 1e-4);
        Assert.Equal(logits.Count(row => row[1] > row[0]), evaluation.Confusion[0, 1] + evaluation.Confusion[1, 1]);
        Assert.Equal(logits.Average(row => 1 / (1 + Math.Exp(-Math.Abs(row[1] - row[0])))),
            evaluation.Calibration.Bins.Sum(b => b.Count * b.Confidence) / reviews.Length, 1e-5);
        Assert.Equal(reviews.Length, progress[^1]);
    }

    [Fact]
    public void Crops_are_seeded_stretches_and_texts_are_cut_at_the_models_limit()
    {
        using var model = AutoModelForSequenceClassification.FromPretrained(Fixtures.Path("distilbert-tiny"));
        Review[] reviews = [.. Enumerable.Range(0, 6)
            .Select(i => new Review(NumberTokenizer.Text(Enumerable.Range(5 + i, 200).Select(id => id % VocabularyOf(model))), i % 2))];
        double Loss(int? crop, long seed) =>
            new ClassifierEvaluator(model, new NumberTokenizer(VocabularyOf(model)))
            {
                CropTokens = crop,
                Seed = seed,
            }.Evaluate(reviews).Loss;
        Assert.Equal(Loss(8, 1), Loss(8, 1));
        Assert.NotEqual(Loss(8, 1), Loss(8, 2));
        Assert.NotEqual(Loss(null, 1), Loss(8, 1));
        // A crop of more tokens than the model reads is as long as the model allows.
        Assert.True(double.IsFinite(Loss(1000, 1)));
    }

    [Fact]
    public void Texts_without_a_usable_label_are_refused()
    {
        using var model = AutoModelForSequenceClassification.FromPretrained(Fixtures.Path("distilbert-tiny"));
        var evaluator = new ClassifierEvaluator(model, new NumberTokenizer(VocabularyOf(model)));
        string Refusal(params Review[] reviews) => Assert.Throws<ArgumentException>(() => evaluator.Evaluate(reviews)).Message;
        Assert.Contains("Review 1 has no label", Refusal(new("5", 0), new("6", null)));
        Assert.Contains("label 7", Refusal(new Review("5", 7)));
        Assert.Throws<ArgumentException>(() => evaluator.Evaluate([]));
    }

    private static int VocabularyOf(SequenceClassifier model) =>
        (int)model.Parameters.Single(p => p.Key.EndsWith("word_embeddings.weight", StringComparison.Ordinal)).Value.shape[0];
}
