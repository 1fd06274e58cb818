using static TorchSharp.torch;

namespace Rlhf.Training.Groups;

/// <summary>Mathematics that algorithms over groups of answers share.</summary>
/// <remarks>
/// Notation: B answers, groups of G of them in a row (answers to one prompt); r counted tokens of b answers of a minibatch; m mask [r].
/// </remarks>
public static class GroupMath
{
    /// <summary>Added to a deviation before something is divided by it, as TRL does.</summary>
    public const double Epsilon = 1e-4;

    /// <summary>
    /// A log ratio beyond this, of either sign, is treated as this: a ratio that overflows would turn the loss to NaN.
    /// </summary>
    public const double MaxLogRatio = 20;

    /// <summary>Mean of each group.</summary>
    public static double[] Means(IReadOnlyList<double> values, int groupSize) =>
        [.. values.Chunk(groupSize).Select(group => group.Average())];

    /// <summary>Sample standard deviation (Bessel's correction); 0 for a single value.</summary>
    public static double Deviation(IReadOnlyCollection<double> values)
    {
        if (values.Count < 2)
            return 0;
        double mean = values.Average();
        return Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)) / (values.Count - 1));
    }

    /// <summary>
    /// Divergence of each token from the reference by the estimator k3 = exp(d) - d - 1 with d = ref - logprob: not negative, unbiased
    /// (Schulman, http://joschu.net/blog/kl-approx.html). Differentiable.
    /// </summary>
    /// <param name="logprobs">Logprobs under the policy.</param>
    /// <param name="refLogprobs">Logprobs under the reference.</param>
    public static Tensor Kl(Tensor logprobs, Tensor refLogprobs)
    {
        var difference = refLogprobs - logprobs;
        return difference.exp() - difference - 1;
    }

    /// <summary>PPO's clipped objective -min(ratio · A, clip(ratio) · A); differentiable.</summary>
    /// <param name="ratio">New over old probability, of tokens or answers.</param>
    /// <param name="advantages">Advantages A, of the same shape.</param>
    /// <param name="lower">Ratios below this are clipped.</param>
    /// <param name="upper">Ratios above this are clipped.</param>
    /// <param name="delta">Two-sided clipping: the ratio itself counts for at most this (https://arxiv.org/abs/2505.07291); null: no bound.</param>
    public static Tensor ClippedLoss(Tensor ratio, Tensor advantages, double lower, double upper, double? delta = null)
    {
        var clipped = ratio.clamp(lower, upper) * advantages;
        var bounded = delta is { } most ? ratio.clamp(max: most) : ratio;
        return -minimum(bounded * advantages, clipped);
    }

    /// <summary>exp of a log ratio that is kept within <see cref="MaxLogRatio"/>; differentiable.</summary>
    public static Tensor Ratio(Tensor logRatio) => logRatio.clamp(-MaxLogRatio, MaxLogRatio).exp();

    /// <summary>The p-th quantile of values by linear interpolation, as torch.quantile gives it.</summary>
    /// <param name="values">At least one value.</param>
    /// <param name="p">From 0 to 1.</param>
    public static float Quantile(IReadOnlyCollection<float> values, double p)
    {
        float[] sorted = [.. values.Order()];
        double rank = p * (sorted.Length - 1);
        int below = (int)Math.Floor(rank), above = (int)Math.Ceiling(rank);
        float weight = (float)(rank - below);
        // torch.lerp: from the nearer end.
        float difference = sorted[above] - sorted[below];
        return weight < 0.5f ? sorted[below] + weight * difference : sorted[above] - difference * (1 - weight);
    }
}
