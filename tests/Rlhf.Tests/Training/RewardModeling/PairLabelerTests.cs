using Rlhf.Data;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Tests.Training.RewardModeling;

public class PairLabelerTests
{
    private static readonly DelegateReward Length = new("length", c => c.Response.Length);

    [Fact]
    public void The_higher_score_wins_and_ties_are_left_out()
    {
        ResponsePair[] pairs = [Pair("a", "bbb"), Pair("cc", "dd"), Pair("eeeee", "ff"), Pair("g", "hh")];
        var labels = PairLabeler.Label(pairs, Length, new() { TieMargin = 1 }, "somebody");
        Assert.Equal(2, labels.Ties);
        Assert.Equal([new LabeledPair(pairs[0], PairChoice.B, "somebody", 1, 3), new(pairs[2], PairChoice.A, "somebody", 5, 2)],
            labels.Pairs);
        Assert.Equal(("bbb", "a", 3.0, 1.0), (labels.Pairs[0].Chosen, labels.Pairs[0].Rejected, labels.Pairs[0].ScoreChosen,
            labels.Pairs[0].ScoreRejected));
        Assert.Equal((1.0, 0.5, 1.0, 2.5),
            (labels.Agreement, labels.ChoseFirst, labels.ChoseLonger, labels.MeanScoreDifference));
    }

    [Fact]
    public void Flipping_turns_its_share_of_labels_round()
    {
        var labels = Many(new() { Flip = 0.2 });
        Assert.InRange(labels.Agreement, 0.77, 0.83); // 2,000 draws: ± 3 standard errors of 0.009
        Assert.Equal(labels.Pairs, Many(new() { Flip = 0.2 }).Pairs);
        Assert.NotEqual(labels.Pairs, Many(new() { Flip = 0.2, Seed = 1 }).Pairs);
        Assert.Equal(1, Many(new()).Agreement);
    }

    [Fact]
    public void Choices_of_Bradley_and_Terry_follow_the_sigmoid_of_the_score_difference()
    {
        // The difference is 1: σ(1 / 0.5) = 0.881, σ(1 / 5) = 0.550.
        Assert.InRange(Many(new() { LabelTemperature = 0.5 }).Agreement, 0.859, 0.903);
        Assert.InRange(Many(new() { LabelTemperature = 5 }).Agreement, 0.516, 0.584);
    }

    [Fact]
    public void Impossible_settings_are_refused_together()
    {
        var config = new PairLabelingConfig { TieMargin = -1, Flip = 0.5, LabelTemperature = 0 };
        var error = Assert.Throws<ConfigurationException>(() => PairLabeler.Label([], Length, config));
        Assert.Equal(4, error.Problems.Count);
    }

    [Fact]
    public void A_score_that_is_no_number_stops_the_labelling() =>
        Assert.Throws<RewardException>(
            () => PairLabeler.Label([Pair("a", "b")], new DelegateReward("bad", _ => float.NaN), new()));

    private static PairLabels Many(PairLabelingConfig config) =>
        PairLabeler.Label(
            [.. Enumerable.Range(0, 2000).Select(i => i % 2 == 0 ? Pair("a", "bb") : Pair("cc", "d"))], Length, config);

    private static ResponsePair Pair(string a, string b) => new(a + b, "prompt", a, b);
}
