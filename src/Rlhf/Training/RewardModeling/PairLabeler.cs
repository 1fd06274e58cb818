using System.ComponentModel;
using Rlhf.Data;
using Rlhf.Rewards;
using Rlhf.Runtime;

namespace Rlhf.Training.RewardModeling;

/// <summary>Settings of <see cref="PairLabeler"/>: how sure of itself the labeler is.</summary>
public sealed record PairLabelingConfig
{
    /// <summary>Scores that differ by no more than this are a tie; 0: only equal scores.</summary>
    [Description("Scores that differ by no more than this are a tie, and the pair is left out.")]
    public double TieMargin { get; init; }

    /// <summary>Probability that the worse answer is chosen by mistake, however much worse it is.</summary>
    [Description("Share of labels to flip at random, as inattentive people do.")]
    public double Flip { get; init; }

    /// <summary>
    /// Choose answer a with probability σ((score_a - score_b) / temperature), as Bradley and Terry suppose people do; null
    /// chooses the higher score.
    /// </summary>
    [Description("Choose a with probability sigma((score_a - score_b) / this), as Bradley and Terry; default: the higher score.")]
    public double? LabelTemperature { get; init; }

    /// <summary>Seed of mistakes and of drawn choices.</summary>
    [Description("Seed of every random choice.")]
    public long Seed { get; init; }

    /// <summary>Every problem of these settings, one sentence each.</summary>
    public IEnumerable<string> Validate()
    {
        if (!(TieMargin >= 0)) yield return $"TieMargin is {TieMargin}; it must be 0 or more.";
        if (!(Flip is >= 0 and < 0.5))
            yield return $"Flip is {Flip}; it must be at least 0 and below 0.5, where labels would mean nothing.";
        if (LabelTemperature is { } t && !(t > 0))
            yield return $"LabelTemperature is {t}; it must be above 0, or left out.";
        if (LabelTemperature is not null && Flip > 0)
            yield return "Flip and LabelTemperature are two models of the same mistakes; choose one of them.";
    }
}

/// <summary>What labeling came to.</summary>
/// <param name="Pairs">The labeled pairs, in the order given; ties are not among them.</param>
/// <param name="Ties">Pairs left out because the scores were too close.</param>
public sealed record PairLabels(IReadOnlyList<LabeledPair> Pairs, int Ties)
{
    /// <summary>
    /// Share of labels that chose the higher score: what a reward model that knew the scorer perfectly would reach on them.
    /// </summary>
    public double Agreement => Share(Pairs, p => p.ScoreChosen > p.ScoreRejected);

    /// <summary>Share of labels that chose the first answer; far from a half, the order of the answers says something.</summary>
    public double ChoseFirst => Share(Pairs, p => p.Choice == PairChoice.A);

    /// <summary>Share of labels that chose the longer text, among answers of different length in characters.</summary>
    public double ChoseLonger =>
        Share(Pairs.Where(p => p.Chosen.Length != p.Rejected.Length), p => p.Chosen.Length > p.Rejected.Length);

    /// <summary>Mean distance of the two scores, in the scorer's units.</summary>
    public double MeanScoreDifference =>
        Pairs.Count == 0 ? double.NaN : Pairs.Average(p => Math.Abs(p.ScoreA!.Value - p.ScoreB!.Value));

    // A share of nothing is not a number.
    private static double Share(IEnumerable<LabeledPair> pairs, Func<LabeledPair, bool> counts) =>
        pairs.Select(p => counts(p) ? 1.0 : 0.0).DefaultIfEmpty(double.NaN).Average();
}

/// <summary>Labels pairs by a scorer, with ties and mistakes, so that a pipeline can be tried before people label.</summary>
public static class PairLabeler
{
    private const int PairsAtOnce = 256;

    /// <summary>Chooses one answer of each pair that is no tie.</summary>
    /// <param name="pairs">The pairs.</param>
    /// <param name="scorer">Scores prompt and answer; higher is better.</param>
    /// <param name="config">Ties and mistakes.</param>
    /// <param name="labeler">The scorer's name, noted in each label; null takes <see cref="IRewardFunction.Name"/>.</param>
    /// <param name="progress">Called with the number of pairs done.</param>
    /// <param name="cancellation">Stops between two batches.</param>
    /// <exception cref="ConfigurationException">Settings are impossible.</exception>
    /// <exception cref="RewardException">The scorer failed, or gave a score that is not finite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static PairLabels Label(
        IReadOnlyList<ResponsePair> pairs, IRewardFunction scorer, PairLabelingConfig config, string? labeler = null,
        Action<int>? progress = null, CancellationToken cancellation = default)
    {
        ConfigurationException.ThrowIfAny([.. config.Validate()]);
        var random = new RandomStream(config.Seed, "pairs/label");
        var labeled = new List<LabeledPair>();
        int ties = 0, done = 0;
        foreach (var chunk in Enumerable.Range(0, pairs.Count).Chunk(PairsAtOnce))
        {
            cancellation.ThrowIfCancellationRequested();
            var scores = scorer.ScoreChecked([.. chunk.SelectMany(i => (Completion[])
                [new(pairs[i].Prompt, pairs[i].ResponseA), new(pairs[i].Prompt, pairs[i].ResponseB)])]);
            for (int k = 0; k < chunk.Length; k++)
            {
                double a = scores[2 * k], b = scores[2 * k + 1];
                if (Math.Abs(a - b) <= config.TieMargin)
                    ties++;
                else
                    labeled.Add(new(
                        pairs[chunk[k]], Choose(a - b, config, random.Fork(chunk[k])), labeler ?? scorer.Name, a, b));
            }
            progress?.Invoke(done += chunk.Length);
        }
        return new(labeled, ties);
    }

    private static PairChoice Choose(double lead, PairLabelingConfig config, RandomStream random)
    {
        double chanceOfA = config.LabelTemperature is { } temperature ? 1 / (1 + Math.Exp(-lead / temperature))
            : lead > 0 ? 1 - config.Flip : config.Flip;
        return random.NextDouble() < chanceOfA ? PairChoice.A : PairChoice.B;
    }
}
