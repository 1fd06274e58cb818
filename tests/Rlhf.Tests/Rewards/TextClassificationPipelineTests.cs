using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Rewards;
using Rlhf.Tests.Models.Encoders;
using TorchSharp;

namespace Rlhf.Tests.Rewards;

/// <summary>The pipeline gives what transformers' pipeline gives for the fixtures' rows.</summary>
public class TextClassificationPipelineTests
{
    public static TheoryData<string> Folders => [.. ClassifierFixtures.Folders()];

    [Theory, MemberData(nameof(Folders))]
    public void All_labels_with_raw_logits_highest_first(string folder)
    {
        using var pipeline = Pipeline(folder, out var texts, out var expected);
        var results = pipeline.Classify(texts, topK: null, functionToApply: FunctionToApply.None, batchSize: 2);

        Assert.Equal(texts.Length, results.Count);
        CloseTo(expected.Floats("right.logits"), pipeline, results);
        Assert.All(results, labels => Assert.Equal(labels.OrderByDescending(l => l.Score), labels));
    }

    [Theory, MemberData(nameof(Folders))]
    public void Softmax_and_sigmoid(string folder)
    {
        using var pipeline = Pipeline(folder, out var texts, out var expected);
        CloseTo(expected.Floats("right.softmax"), pipeline, pipeline.Classify(texts, functionToApply: FunctionToApply.Softmax));
        CloseTo(expected.Floats("right.sigmoid"), pipeline, pipeline.Classify(texts, functionToApply: FunctionToApply.Sigmoid));
    }

    [Theory]
    [InlineData(null, 1, FunctionToApply.Sigmoid)]
    [InlineData(null, 3, FunctionToApply.Softmax)]
    [InlineData(ProblemTypes.SingleLabel, 3, FunctionToApply.Softmax)]
    [InlineData(ProblemTypes.MultiLabel, 3, FunctionToApply.Sigmoid)]
    [InlineData(ProblemTypes.Regression, 1, FunctionToApply.None)]
    public void The_default_function_follows_the_problem_type(string? problemType, int labels, FunctionToApply same)
    {
        using var model = AutoModelForSequenceClassification.FromConfig(new DistilBertConfig
        {
            VocabSize = 13,
            HiddenSize = 8,
            NumHiddenLayers = 1,
            NumAttentionHeads = 2,
            IntermediateSize = 8,
            InitializerRange = 0.4,
            ProblemType = problemType,
            Labels = [.. Enumerable.Range(0, labels).Select(i => $"LABEL_{i}")],
        });
        model.Initialize(2);
        var pipeline = new TextClassificationPipeline(model, new FixtureTokenizer(13));
        Assert.Equal(pipeline.Classify(["ab"], functionToApply: same).Single(), pipeline.Classify(["ab"]).Single());
    }

    [Fact]
    public void Top_k_keeps_the_highest_labels()
    {
        using var pipeline =
            new TextClassificationPipeline(ClassifierTests.Tiny("bert", labels: ["a", "b", "c"]), new FixtureTokenizer(13));
        var all = pipeline.Classify(["xyz"]).Single();
        Assert.Equal(3, all.Count);
        Assert.Equal(all.Take(2), pipeline.Classify(["xyz"], topK: 2).Single());
        Assert.Throws<ArgumentOutOfRangeException>(() => pipeline.Classify(["xyz"], topK: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => pipeline.Classify(["xyz"], batchSize: 0));
        Assert.Empty(pipeline.Classify([]));
    }

    [Fact]
    public void Results_keep_the_order_of_the_texts_whatever_the_batch_size()
    {
        using var pipeline = new TextClassificationPipeline(ClassifierTests.Tiny("distilbert"), new FixtureTokenizer(13));
        string[] texts = ["a", "abcdefg", "abc", "abcdefghijk", "ab", "xyz"];
        var expected = texts.Select(text => pipeline.Logits([text]).Single()).ToArray();
        foreach (int batchSize in new[] { 1, 2, 4, 16 })
            foreach (var (one, other) in expected.Zip(pipeline.Logits(texts, batchSize)))
                Assert.Equal(one, other, (x, y) => Math.Abs(x - y) < 1e-4f);
    }

    [Fact]
    public void Long_texts_are_cut_at_the_shorter_limit_of_model_and_tokenizer()
    {
        var text = new string('a', 100);
        using var pipeline = new TextClassificationPipeline(ClassifierTests.Tiny("distilbert"), new FixtureTokenizer(13));
        Assert.Equal(14, pipeline.MaxLength);
        Assert.Equal(pipeline.Logits([new string('a', 12)]).Single(), pipeline.Logits([text]).Single());
        var shorter = new TextClassificationPipeline(pipeline.Model, new FixtureTokenizer(13) { ModelMaxLength = 6 });
        Assert.Equal(6, shorter.MaxLength);
        Assert.Equal(pipeline.Logits(["aaaa"]).Single(), shorter.Logits([text]).Single());
    }

    [Fact]
    public void It_evaluates_without_dropout_and_leaves_the_mode_and_no_tensors()
    {
        using var pipeline = new TextClassificationPipeline(ClassifierTests.Tiny("distilbert"), new FixtureTokenizer(13));
        pipeline.Model.Training = true;
        var logits = pipeline.Logits(["abc"]).Single();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        long before = torch.Tensor.TotalCount;
        Assert.Equal(logits, pipeline.Logits(["abc"]).Single());
        Assert.Equal(before, torch.Tensor.TotalCount);
        Assert.True(pipeline.Model.Training);
    }

    [Fact]
    public void A_text_without_tokens_is_named()
    {
        using var pipeline = new TextClassificationPipeline(ClassifierTests.Tiny("gpt2"), new FixtureTokenizer(13, Array.Empty<int>()));
        Assert.Contains("Text 1", Assert.Throws<ArgumentException>(() => pipeline.Logits(["a", "#0"])).Message);
    }

    private static TextClassificationPipeline Pipeline(string folder, out string[] texts, out FixtureTensors expected)
    {
        expected = ClassifierFixtures.Expected(folder);
        var rows = ClassifierParityTests.Attended(expected, "right");
        texts = [.. rows.Select((_, i) => $"#{i}")];
        return new TextClassificationPipeline(ClassifierFixtures.Load(folder), new FixtureTokenizer(int.MaxValue, rows));
    }

    private static void CloseTo(float[] expected, TextClassificationPipeline pipeline, IReadOnlyList<IReadOnlyList<LabelScore>> results)
    {
        var labels = pipeline.Model.Labels;
        Assert.Equal(expected.Length, results.Count * labels.Count);
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], results[i / labels.Count].Single(l => l.Label == labels[i % labels.Count]).Score, 1e-4f);
    }
}
