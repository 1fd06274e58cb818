namespace Rlhf.Evaluation;

/// <summary>One held-out query with the responses of both policies.</summary>
/// <param name="Query">Text of the query.</param>
/// <param name="ResponseBefore">Response of the policy before training.</param>
/// <param name="RewardBefore">Its reward.</param>
/// <param name="ResponseAfter">Response of the policy after training.</param>
/// <param name="RewardAfter">Its reward.</param>
public sealed record EvaluationRow(
    string Query, string ResponseBefore, double RewardBefore, string ResponseAfter, double RewardAfter);

/// <summary>One policy on the held-out queries.</summary>
/// <param name="Reward">Rewards of its responses.</param>
/// <param name="Judge">Scores of a judge that the training never saw; null without one.</param>
/// <param name="Kl">Divergence from the policy before training, in nats per response; 0 for that policy itself.</param>
/// <param name="Perplexity">Perplexity of its responses under the policy before training.</param>
/// <param name="Distinct2">Different over all bigrams of response token ids.</param>
/// <param name="Repetition2">Share of bigrams that repeat within their response.</param>
/// <param name="MeanLength">Mean response length in tokens.</param>
public sealed record PolicyEvaluation(
    SampleStatistics Reward, SampleStatistics? Judge, double Kl, double Perplexity, double Distinct2, double Repetition2,
    double MeanLength)
{
    /// <summary>Sums up samples.</summary>
    /// <param name="samples">What the policy wrote.</param>
    /// <param name="seed">Seed of the bootstrap intervals.</param>
    public static PolicyEvaluation Of(PolicySamples samples, long seed = 0) => new(
        Statistics(samples.Rewards, seed), samples.JudgeScores is { } scores ? Statistics(scores, seed) : null,
        samples.Kl, samples.RefPerplexity, samples.Distinct2, samples.Repetition2, samples.MeanLength);

    private static SampleStatistics Statistics(IReadOnlyList<float> scores, long seed) =>
        SampleStatistics.Of([.. scores.Select(s => (double)s)], seed);
}

/// <summary>
/// The same held-out queries before and after training. A reward that rose while perplexity exploded, distinct-2 fell or the
/// judge disagrees was hacked, not earned.
/// </summary>
/// <param name="Rows">One row per query.</param>
/// <param name="Before">The policy before training, which is also the reference.</param>
/// <param name="After">The policy after training.</param>
/// <param name="RewardGain">Reward after minus reward before, query by query: its interval says whether the gain is real.</param>
public sealed record EvaluationComparison(
    IReadOnlyList<EvaluationRow> Rows, PolicyEvaluation Before, PolicyEvaluation After, SampleStatistics RewardGain)
{
    /// <summary>The judge's score after minus its score before, query by query; null without a judge.</summary>
    public SampleStatistics? JudgeGain { get; init; }

    /// <summary>Compares samples of two policies.</summary>
    /// <param name="before">Samples before training.</param>
    /// <param name="after">Samples after training, for the same queries in the same order.</param>
    /// <param name="seed">Seed of the bootstrap intervals.</param>
    /// <exception cref="ArgumentException">The queries differ, or there is none.</exception>
    public static EvaluationComparison Of(PolicySamples before, PolicySamples after, long seed = 0)
    {
        if (before.Count == 0 || !before.Completions.Select(c => c.Query).SequenceEqual(after.Completions.Select(c => c.Query)))
            throw new ArgumentException("A comparison needs the same queries before and after, at least one.");
        var rows = before.Completions.Select((c, i) =>
            new EvaluationRow(c.Query, c.Response, before.Rewards[i], after.Completions[i].Response, after.Rewards[i])).ToArray();
        return new(rows, PolicyEvaluation.Of(before, seed), PolicyEvaluation.Of(after, seed),
            SampleStatistics.Of([.. rows.Select(r => r.RewardAfter - r.RewardBefore)], seed))
        {
            JudgeGain = before.JudgeScores is { } judgedBefore && after.JudgeScores is { } judgedAfter
                ? SampleStatistics.Of([.. judgedAfter.Zip(judgedBefore, (a, b) => (double)a - b)], seed) : null,
        };
    }
}
