using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using Rlhf.Rewards;
using Rlhf.Tests.Models;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Tests.Training.RewardModeling;

public class RewardCenteringTests
{
    private static readonly ToyTokenizer Tokenizer = new("film", "plot", "good", "bad", "actor", "scene", "music");

    private static readonly PreferencePair[] Pairs =
        [new("film ", "good music", "bad"), new("plot ", "good", "bad bad scene"), new("actor ", "good good", "film bad")];

    [Theory]
    [InlineData("distilbert")]
    [InlineData("bert")]
    [InlineData("roberta")]
    [InlineData("gpt2")]
    public void The_mean_reward_becomes_0_and_differences_stay(string kind)
    {
        using var model = Model(kind, "REWARD");
        model.Initialize(3);
        model.ShiftLogits(2.5);
        var before = Rewards(model);
        Assert.InRange(before.Average(), 1.5f, 3.5f);
        var moments = RewardCentering.Center(model, Tokenizer, Pairs);
        var after = Rewards(model);
        Assert.Equal(0, after.Average(), 1e-5f);
        Assert.Equal(before.Average(), moments.Mean, 1e-5);
        for (int i = 0; i < after.Length; i++)
            Assert.Equal(before[i] - moments.Mean, after[i], 1e-5);
        Assert.Equal(Math.Sqrt(after.Average(r => r * (double)r)), moments.StandardDeviation, 1e-5);
    }

    [Fact]
    public void What_cannot_be_centred_is_refused()
    {
        using var scorer = Model("distilbert", "REWARD");
        using var classifier = Model("gpt2", "NEGATIVE", "POSITIVE");
        classifier.Initialize(3);
        Assert.Throws<ArgumentException>(() => RewardCentering.Center(scorer, Tokenizer, []));
        Assert.Throws<ArgumentException>(() => RewardCentering.Center(classifier, Tokenizer, Pairs));
        Assert.Throws<NotSupportedException>(() => classifier.ShiftLogits(1));
    }

    private static float[] Rewards(SequenceClassifier model) => [.. new RewardModelReward(model, Tokenizer).Score(
        [.. Pairs.SelectMany(p => (Completion[])[new(p.Prompt, p.Chosen), new(p.Prompt, p.Rejected)])])];

    private static SequenceClassifier Model(string kind, params string[] labels) =>
        kind switch
        {
            "distilbert" => AutoModelForSequenceClassification.FromConfig(Sized(new DistilBertConfig { Labels = labels })),
            "bert" => AutoModelForSequenceClassification.FromConfig(Sized(new BertConfig { Labels = labels })),
            "roberta" => AutoModelForSequenceClassification.FromConfig(Sized(new RobertaConfig { Labels = labels })),
            _ => SmallModels.Gpt2Classifier(
                new Gpt2Config { VocabSize = 16, NPositions = 32, NEmbd = 16, NLayer = 1, NHead = 2, EosTokenId = 2 }, labels: labels),
        };

    private static T Sized<T>(T config) where T : EncoderConfig => config with
    {
        VocabSize = 16,
        MaxPositionEmbeddings = 32,
        HiddenSize = 16,
        NumHiddenLayers = 1,
        NumAttentionHeads = 2,
        IntermediateSize = 32,
    };
}
