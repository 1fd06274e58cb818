namespace Rlhf.Generation;

/// <summary>
/// What the generator returns for a batch of queries; every array has one entry per row. Responses only, never the query.
/// </summary>
/// <param name="Responses">Response token ids, the end token included when one was sampled.</param>
/// <param name="Logprobs">For each response token, its logprob under the policy itself (before any
/// warping): natural logarithm.</param>
/// <param name="Values">For each response token, the value head's estimate of the state before it; null
/// when the model has no value head.</param>
/// <param name="EndedByEos">True where the response ends with the end token.</param>
/// <param name="FromPolicy">True when the tokens were drawn from the very distribution that
/// <paramref name="Logprobs"/> describes.</param>
public sealed record GenerationResult(
    IReadOnlyList<int[]> Responses, IReadOnlyList<float[]> Logprobs, IReadOnlyList<float[]>? Values,
    IReadOnlyList<bool> EndedByEos, bool FromPolicy);
