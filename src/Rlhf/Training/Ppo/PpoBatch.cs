namespace Rlhf.Training.Ppo;

/// <summary>What the policy did: queries, the responses that it sampled, and its opinion of them while it sampled.</summary>
/// <param name="Queries">Token ids of each query.</param>
/// <param name="Responses">Token ids of each response, without its query.</param>
/// <param name="Logprobs">Per response token, the policy's logprob; null where a step must recompute them.</param>
/// <param name="Values">Per response token, the value of the state before it; null where a step must recompute them.</param>
public sealed record Rollout(
    IReadOnlyList<int[]> Queries, IReadOnlyList<int[]> Responses,
    IReadOnlyList<float[]>? Logprobs = null, IReadOnlyList<float[]>? Values = null);

/// <summary>
/// A step's data per response token. All arrays have R entries, the response tokens of all rows one after another; row b is at
/// [Offsets[b], Offsets[b + 1]).
/// </summary>
/// <param name="Offsets">Start of each row, and R at the end.</param>
/// <param name="Mask">1 where a token counts, 0 where a response mask leaves it out.</param>
/// <param name="Logprobs">Logprobs under the policy before the update.</param>
/// <param name="RefLogprobs">Logprobs under the reference.</param>
/// <param name="Values">Values before the update, 0 where the mask is.</param>
/// <param name="Kls">Divergence from the reference at each token, by the penalty's estimator.</param>
/// <param name="NonScoreRewards">-β · Kls.</param>
/// <param name="Rewards">NonScoreRewards, and the row's score on its last counted token.</param>
/// <param name="Advantages">Whitened advantages.</param>
/// <param name="Returns">Advantages before whitening + Values: what the value head learns.</param>
public sealed record PpoBatch(
    int[] Offsets, float[] Mask, float[] Logprobs, float[] RefLogprobs, float[] Values, float[] Kls, float[] NonScoreRewards,
    float[] Rewards, float[] Advantages, float[] Returns)
{
    /// <summary>B.</summary>
    public int RowCount => Offsets.Length - 1;

    /// <summary>The entries of row <paramref name="row"/>.</summary>
    public ReadOnlySpan<float> Row(float[] perToken, int row) => perToken.AsSpan(Offsets[row]..Offsets[row + 1]);
}
