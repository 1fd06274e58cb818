namespace Rlhf.Training.Ppo;

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

/// <summary>Numbers [R] that a step begins with.</summary>
/// <param name="Logprobs">Logprobs under the policy before the update.</param>
/// <param name="Values">Values before the update.</param>
/// <param name="RefLogprobs">Logprobs under the reference.</param>
/// <param name="Kls">Divergence from the reference at each token, by the penalty's estimator.</param>
internal sealed record BeforeUpdates(float[] Logprobs, float[] Values, float[] RefLogprobs, float[] Kls)
{
    public static BeforeUpdates Of(int tokens) => new(new float[tokens], new float[tokens], new float[tokens], new float[tokens]);
}

/// <summary>A step's scores as they were given, and after scaling, normalizing and clipping.</summary>
internal sealed record StepScores(IReadOnlyList<float> Given, IReadOnlyList<float> Used);

/// <summary>The minibatches that a step was updated by, and the epochs that ran.</summary>
internal sealed record Updates(IReadOnlyList<MiniBatchStatistics> MiniBatches, int Epochs)
{
    /// <summary>A guard left all of them out.</summary>
    public static Updates None { get; } = new([], 0);
}
