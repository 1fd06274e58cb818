using Rlhf.Generation;
using Rlhf.Rewards;

namespace Rlhf.Training.Loop;

/// <summary>What the policy did: queries, the responses that it sampled, and its opinion of them while it sampled.</summary>
/// <remarks>
/// Logprobs belong here only where they are those of the distribution that drew the tokens: make a rollout of a generator's result by
/// <see cref="RolloutConversion.ToRollout"/>, which sees to it.
/// </remarks>
/// <param name="Queries">Token ids of each query.</param>
/// <param name="Responses">Token ids of each response, without its query.</param>
/// <param name="Logprobs">Per response token, the policy's logprob; null where a step must recompute them.</param>
/// <param name="Values">Per response token, the value of the state before it; null where a step must recompute them.</param>
public sealed record Rollout(
    IReadOnlyList<int[]> Queries, IReadOnlyList<int[]> Responses,
    IReadOnlyList<float[]>? Logprobs = null, IReadOnlyList<float[]>? Values = null)
{
    /// <summary>Rows in a row that answer the same query; 1 by default.</summary>
    public int GroupSize { get; init; } = 1;

    /// <summary>True where a response ends with an end token; null where that is not known.</summary>
    public IReadOnlyList<bool>? EndedByEos { get; init; }

    /// <summary>The rewards that the scores are the weighted sum of, where there are several; empty by default.</summary>
    public IReadOnlyList<ScoreComponent> Components { get; init; } = [];
}

/// <summary>From sampling to training.</summary>
public static class RolloutConversion
{
    /// <summary>
    /// The rollout of a generator's result. Its logprobs and values go along only where the tokens were drawn from the policy's own
    /// distribution; those of a warped one (temperature, top-k, top-p, minimum length) are not the policy's, and the step computes its own.
    /// </summary>
    /// <param name="result">What the generator returned.</param>
    /// <param name="queries">The queries that it was given.</param>
    /// <exception cref="ArgumentException">There is not one response per query.</exception>
    public static Rollout ToRollout(this GenerationResult result, IReadOnlyList<int[]> queries) =>
        queries.Count != result.Responses.Count
            ? throw new ArgumentException($"There are {queries.Count} queries but {result.Responses.Count} responses.", nameof(queries))
            : new(queries, result.Responses, result.FromPolicy ? result.Logprobs : null, result.FromPolicy ? result.Values : null)
            {
                EndedByEos = result.EndedByEos,
            };
}
