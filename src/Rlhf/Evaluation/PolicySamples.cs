using Rlhf.Rewards;

namespace Rlhf.Evaluation;

/// <summary>
/// What a policy wrote to the held-out queries, and what was thought of it. Every list has one entry per query.
/// </summary>
/// <param name="Completions">Texts of query and response.</param>
/// <param name="Responses">Response token ids, the end token included when one was sampled.</param>
/// <param name="Rewards">The reward of each completion.</param>
/// <param name="JudgeScores">What a judge that the training never saw gives each completion; null without one.</param>
/// <param name="Logprobs">For each response token, its logprob under the policy, in nats.</param>
/// <param name="RefLogprobs">For each response token, its logprob under the reference, in nats.</param>
public sealed record PolicySamples(
    IReadOnlyList<Completion> Completions, IReadOnlyList<int[]> Responses, IReadOnlyList<float> Rewards,
    IReadOnlyList<float>? JudgeScores, IReadOnlyList<float[]> Logprobs, IReadOnlyList<float[]> RefLogprobs)
{
    /// <summary>Number of queries.</summary>
    public int Count => Completions.Count;

    /// <summary>Mean response length in tokens.</summary>
    public double MeanLength => Responses.Average(r => r.Length);

    /// <summary>
    /// Divergence from the reference in nats per response: the mean of Σ (logprob - refLogprob). An estimate of KL(policy ‖
    /// reference) when the responses were drawn from the policy's own distribution (temperature 1, nothing filtered).
    /// </summary>
    public double Kl => Logprobs.Zip(RefLogprobs, (policy, reference) => Sum(policy) - Sum(reference)).Average();

    /// <summary>
    /// Perplexity per response token under the reference, given the query: it rises when the text stops being like the
    /// reference's.
    /// </summary>
    public double RefPerplexity => Math.Exp(-RefLogprobs.Sum(Sum) / RefLogprobs.Sum(r => r.Length));

    /// <summary>distinct-2 of the responses' token ids; see <see cref="Diversity.Distinct"/>.</summary>
    public double Distinct2 => Diversity.Distinct(Responses, 2);

    /// <summary>Repeated bigrams within responses; see <see cref="Diversity.Repetition"/>.</summary>
    public double Repetition2 => Diversity.Repetition(Responses, 2);

    private static double Sum(float[] values) => values.Sum(v => (double)v);
}
