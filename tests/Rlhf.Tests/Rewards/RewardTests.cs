using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Rewards;
using Rlhf.Tests.Evaluation;
using Rlhf.Tests.Models.Encoders;
using Rlhf.Tokenizers;
using TorchSharp;

namespace Rlhf.Tests.Rewards;

/// <summary>Rewards from classifiers, functions and sums of them.</summary>
public class RewardTests
{
    private static readonly Completion[] Samples = [new("ab", "c"), new("b", "cdef"), new("", "x")];

    [Theory]
    [InlineData("toxic,insult,threat")]
    [InlineData("1 star,2 stars,3 stars,4 stars,5 stars")]
    [InlineData("LABEL_0,LABEL_1,LABEL_2")]
    [InlineData("very negative,negative,neutral,positive,very positive")]
    [InlineData("entailment,neutral,contradiction")]
    public void Where_no_label_is_clearly_the_good_one_the_labels_are_listed(string labels)
    {
        using var pipeline = Pipeline(labels.Split(','));
        string refused = Assert.Throws<ArgumentException>(() => new ClassifierReward(pipeline)).Message;
        Assert.Equal($"It is not clear which label of the classifier is the reward; name it with RewardLabel: {labels.Replace(",", ", ", StringComparison.Ordinal)}.",
            refused);
    }

    [Theory]
    [InlineData("NEGATIVE,POSITIVE", null, "POSITIVE")]
    [InlineData("positive,negative", null, "positive")]
    [InlineData("pos,neg", null, "pos")]
    [InlineData("Neutral,Positive,Negative", null, "Positive")]
    [InlineData("LABEL_0,LABEL_1", null, "LABEL_1")]
    [InlineData("sad,joyful", "Joyful", "joyful")]
    [InlineData("NEGATIVE,POSITIVE", "negative", "NEGATIVE")]
    [InlineData("NEGATIVE,POSITIVE", "0", "NEGATIVE")]
    public void The_classifier_reward_is_the_raw_logit_of_the_chosen_label(string labels, string? wanted, string chosen)
    {
        var names = labels.Split(',');
        using var pipeline = Pipeline(names);
        var reward = new ClassifierReward(pipeline, wanted);

        Assert.Equal(chosen, reward.Label);
        var logits = pipeline.Logits([.. Samples.Select(s => s.Query + s.Response)]);
        Assert.Equal(logits.Select(row => row[Array.IndexOf(names, chosen)]), reward.Score(Samples));
        Assert.Empty(reward.Score([]));
    }

    [Fact]
    public void A_label_that_the_classifier_lacks_is_refused_with_those_that_it_has()
    {
        using var pipeline = Pipeline(["sad", "joyful"]);
        Assert.Contains("sad, joyful", Assert.Throws<ArgumentException>(() => new ClassifierReward(pipeline, "POSITIVE")).Message);
        Assert.Throws<ArgumentException>(() => new ClassifierReward(pipeline, "2"));
    }

    [Theory]
    [InlineData("distilbert")]
    [InlineData("gpt2")]
    public void A_reward_model_has_one_score(string kind)
    {
        using var reward = new RewardModelReward(ClassifierTests.Tiny(kind, labels: ["LABEL_0"]), new FixtureTokenizer(13));
        Assert.Equal(3, reward.Score(Samples).Count);
        using var two = ClassifierTests.Tiny(kind);
        Assert.Contains("one score", Assert.Throws<ArgumentException>(() => new RewardModelReward(two, new FixtureTokenizer(13))).Message);
    }

    [Fact]
    public void Of_a_long_query_a_reward_model_reads_the_end_and_all_of_the_response()
    {
        // The model reads 12 tokens.
        using var reward = new RewardModelReward(ClassifierTests.Tiny("gpt2", labels: ["LABEL_0"]), new NumberTokenizer(13));
        const string start = "1 2 3 4 5 ", end = "6 7 8 9 10 11 12 1 2 ", more = "3 4 5 6 7 8 9 10 11 12 1 2";
        var scores = reward.Score([new(start + end, "7 7 3"), new(end, "7 7 3"), new(start + end, "7 7 4"), new(end, more + " 5 5"),
            new("", more)]);
        Assert.Equal(scores[1], scores[0]);
        Assert.NotEqual(scores[2], scores[0]);
        Assert.Equal(scores[4], scores[3]);
    }

    [Theory]
    [InlineData(1, typeof(RewardModelReward))]
    [InlineData(2, typeof(ClassifierReward))]
    public void A_model_folder_with_its_tokenizer_is_a_reward(int labels, Type kind)
    {
        var tokenizer = AutoTokenizer.FromPretrained(Fixtures.Shared("tokenizers", "bert-base-uncased"));
        using var folder = new Fixtures.TemporaryFolder();
        using var model = AutoModelForSequenceClassification.FromConfig(new DistilBertConfig
        {
            HiddenSize = 8,
            NumHiddenLayers = 1,
            NumAttentionHeads = 2,
            IntermediateSize = 8,
            InitializerRange = 0.4,
            Labels = [.. Enumerable.Range(0, labels).Select(i => $"LABEL_{i}")],
        });
        model.Initialize(1);
        model.SavePretrained(folder.Path);
        tokenizer.SavePretrained(folder.Path);

        var reward = AutoReward.FromPretrained(folder.Path);
        using var disposed = Assert.IsAssignableFrom<IDisposable>(reward);
        Assert.IsType(kind, reward);
        // "[CLS] this movie was really good ! [SEP]" in BERT's vocabulary.
        int[] ids = [101, 2023, 3185, 2001, 2428, 2204, 999, 102];
        Assert.Equal([ClassifierTests.Logits(model, [ids])[^1]], reward.Score([new Completion("This movie was", " really good!")]));
    }

    [Fact]
    public void A_score_that_is_not_finite_is_reported_with_its_sample()
    {
        var model = ClassifierTests.Tiny("distilbert");
        using (torch.no_grad())
            model.Parameters["classifier.bias"].fill_(float.NaN);
        using var classifier = new ClassifierReward(new TextClassificationPipeline(model, new FixtureTokenizer(13)));
        Assert.Equal(Samples[0], Assert.Throws<RewardException>(() => classifier.Score(Samples)).Sample);

        var function = new DelegateReward("length", c => c.Query.Length == 1 ? float.PositiveInfinity : 1);
        var failure = Assert.Throws<RewardException>(() => function.Score(Samples));
        Assert.Equal(Samples[1], failure.Sample);
        Assert.Contains("'length'", failure.Message);
        Assert.Contains("sample 1", failure.Message);
        Assert.Contains("\"cdef\"", failure.Message);
    }

    [Fact]
    public void Any_reward_function_can_be_checked()
    {
        Assert.Contains("2 scores for 3", Assert.Throws<RewardException>(() => new Unchecked([1, 2]).ScoreChecked(Samples)).Message);
        Assert.Equal(Samples[2], Assert.Throws<RewardException>(() => new Unchecked([1, 2, float.NaN]).ScoreChecked(Samples)).Sample);
        Assert.Equal([1, 2, 3], new Unchecked([1, 2, 3]).ScoreChecked(Samples));
        Assert.Empty(new Unchecked([1]).ScoreChecked([]));
    }

    [Fact]
    public async Task A_weighted_reward_sums_and_shows_its_components()
    {
        var reward = new WeightedReward(
            new WeightedComponent(new DelegateReward("query", c => c.Query.Length), 2),
            new WeightedComponent(new DelegateReward("response", batch => [.. batch.Select(c => (float)c.Response.Length)]), -0.5));

        var scores = await reward.ScoreComponentsAsync(Samples);
        Assert.Equal([3.5f, 0, -0.5f], scores.Total);
        Assert.Equal(["query", "response"], scores.Components.Select(c => c.Name));
        Assert.Equal([2, 1, 0], scores.Components[0].Scores);
        Assert.Equal([1, 4, 1], scores.Components[1].Scores);
        Assert.Equal(scores.Total, reward.Score(Samples));
    }

    [Fact]
    public void A_weighted_reward_that_cannot_be_summed_is_refused()
    {
        var one = new DelegateReward("one", (Completion _) => 1f);
        Assert.Throws<ArgumentException>(() => new WeightedReward());
        Assert.Contains("'one'", Assert.Throws<ArgumentException>(() =>
            new WeightedReward(new WeightedComponent(one, 1), new WeightedComponent(one, 2))).Message);
        Assert.Contains("finite",
            Assert.Throws<ArgumentException>(() => new WeightedReward(new WeightedComponent(one, double.NaN))).Message);
        Assert.Throws<RewardException>(() => new WeightedReward(new WeightedComponent(new Unchecked([1]), 1)).Score(Samples));
    }

    private static TextClassificationPipeline Pipeline(string[] labels) =>
        new(ClassifierTests.Tiny("distilbert", labels: labels), new FixtureTokenizer(13));

    private sealed class Unchecked(float[] scores) : IRewardFunction
    {
        public string Name => "unchecked";

        public ValueTask<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation) =>
            new(scores);

        public void Dispose()
        {
        }
    }
}
