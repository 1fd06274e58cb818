using static TorchSharp.torch;

namespace Rlhf.Training.Ppo;

/// <summary>The mathematics of PPO on a language model.</summary>
/// <remarks>
/// Notation: B rows, R response tokens of all rows, row b at [offsets[b], offsets[b + 1]); mask [R] is 1 on the tokens that
/// count. PPO: Schulman et al. 2017 (https://arxiv.org/abs/1707.06347); per-token KL reward: Ziegler et al. 2019
/// (https://arxiv.org/abs/1909.08593).
/// </remarks>
public static class PpoMath
{
    /// <summary>Added to a variance before its root, as TRL's masked_whiten does.</summary>
    public const double WhitenEpsilon = 1e-8;

    /// <summary>The divergence of one token by an estimator; <see cref="KlPenalty.Full"/> has no per-token form.</summary>
    public static float Kl(KlPenalty penalty, float logprob, float refLogprob)
    {
        float difference = logprob - refLogprob;
        return penalty switch
        {
            KlPenalty.Kl => difference,
            KlPenalty.Abs => Math.Abs(difference),
            KlPenalty.Mse => 0.5f * difference * difference,
            _ => throw new ArgumentOutOfRangeException(nameof(penalty),
                "The full divergence needs both distributions, not two logprobs."),
        };
    }

    /// <summary>Mean over the tokens that count; 0 where none does.</summary>
    public static double MaskedMean(ReadOnlySpan<float> values, ReadOnlySpan<float> mask)
    {
        double sum = 0, count = 0;
        for (int i = 0; i < values.Length; i++)
        {
            sum += (double)values[i] * mask[i];
            count += mask[i];
        }
        return count > 0 ? sum / count : 0;
    }

    /// <summary>Variance over the tokens that count, with Bessel's correction; 0 where fewer than two count.</summary>
    public static double MaskedVar(ReadOnlySpan<float> values, ReadOnlySpan<float> mask)
    {
        double mean = MaskedMean(values, mask), sum = 0, count = 0;
        for (int i = 0; i < values.Length; i++)
        {
            sum += (values[i] - mean) * (values[i] - mean) * mask[i];
            count += mask[i];
        }
        return count < 2 ? 0 : sum / (count - 1);
    }

    /// <summary>
    /// (values - mean) / std over the tokens that count; with <paramref name="shiftMean"/> off, the mean
    /// is added back. Fewer than two counted tokens have no variance and are returned as they are.
    /// </summary>
    public static float[] MaskedWhiten(ReadOnlySpan<float> values, ReadOnlySpan<float> mask, bool shiftMean = true)
    {
        var whitened = values.ToArray();
        if (CountAtMostOne(mask))
            return whitened;
        double mean = MaskedMean(values, mask), scale = 1 / Math.Sqrt(MaskedVar(values, mask) + WhitenEpsilon);
        for (int i = 0; i < whitened.Length; i++)
            whitened[i] = (float)((values[i] - mean) * scale + (shiftMean ? 0 : mean));
        return whitened;
    }

    /// <summary>Per-token rewards: -β · KL everywhere, plus each row's score on its last counted token, if it has one.</summary>
    public static (float[] NonScoreRewards, float[] Rewards) Rewards(
        ReadOnlySpan<float> kls, ReadOnlySpan<float> mask, int[] offsets, IReadOnlyList<float> scores, double klCoef)
    {
        var nonScoreRewards = new float[kls.Length];
        for (int i = 0; i < kls.Length; i++)
            nonScoreRewards[i] = (float)(-klCoef * kls[i]);
        var rewards = (float[])nonScoreRewards.Clone();
        for (int b = 0; b < scores.Count; b++)
            if (mask[offsets[b]..offsets[b + 1]].LastIndexOfAnyExcept(0f) is >= 0 and var last)
                rewards[offsets[b] + last] += scores[b];
        return (nonScoreRewards, rewards);
    }

    /// <summary>
    /// Generalised advantage estimation (https://arxiv.org/abs/1506.02438) over each row, from its last
    /// token back. Values and rewards must be 0 where the mask is.
    /// </summary>
    /// <param name="values">Values [R].</param>
    /// <param name="rewards">Rewards [R].</param>
    /// <param name="offsets">Start of each row.</param>
    /// <param name="gamma">γ.</param>
    /// <param name="lam">λ.</param>
    /// <param name="tail">Advantage behind each row's end: 0 unless TRL's treatment of padding is asked for.</param>
    public static float[] Advantages(
        ReadOnlySpan<float> values, ReadOnlySpan<float> rewards, int[] offsets, double gamma, double lam,
        ReadOnlySpan<double> tail = default)
    {
        var advantages = new float[values.Length];
        for (int b = 0; b < offsets.Length - 1; b++)
        {
            double last = tail.IsEmpty ? 0 : tail[b], nextValue = 0;
            for (int t = offsets[b + 1] - 1; t >= offsets[b]; t--)
            {
                double delta = rewards[t] + gamma * nextValue - values[t];
                last = delta + gamma * lam * last;
                advantages[t] = (float)last;
                nextValue = values[t];
            }
        }
        return advantages;
    }

    /// <summary>The clipped policy objective of a minibatch, and its derivative by each logprob.</summary>
    /// <param name="logprobs">Logprobs [R] under the policy that is trained.</param>
    /// <param name="oldLogprobs">Logprobs [R] under the policy that sampled.</param>
    /// <param name="advantages">Advantages [R].</param>
    /// <param name="weight">mask / Σ mask [R], so that sums are masked means.</param>
    /// <param name="clipRange">ε.</param>
    public static PolicyLoss PolicyLoss(Tensor logprobs, Tensor oldLogprobs, Tensor advantages, Tensor weight, double clipRange)
    {
        var logRatio = logprobs - oldLogprobs;
        // One token whose ratio overflows must not turn the loss to NaN before the ratio guard sees it.
        var ratio = logRatio.clamp(-MaxLogRatio, MaxLogRatio).exp();
        var unclipped = -advantages * ratio;
        var clipped = -advantages * ratio.clamp(1 - clipRange, 1 + clipRange);
        var isClipped = clipped.gt(unclipped);
        var losses = maximum(unclipped, clipped);
        // Where the clipped term rules, the ratio is outside the range and the derivative is 0; elsewhere d ratio / d logprob = ratio.
        var gradient = unclipped.masked_fill(isClipped, 0) * weight;
        return new PolicyLoss(losses, gradient, ratio, logRatio, isClipped);
    }

    /// <summary>
    /// A log ratio beyond this is treated as this: the ratio is then 5e8, and the step's minibatch is skipped by the ratio guard.
    /// </summary>
    public const double MaxLogRatio = 20;

    /// <summary>The clipped value loss ½ mean(max((v - ret)², (clip(v) - ret)²)), and its derivative by each value.</summary>
    /// <param name="values">Values [R] of the model that is trained.</param>
    /// <param name="oldValues">Values [R] before the update.</param>
    /// <param name="returns">Returns [R].</param>
    /// <param name="weight">mask / Σ mask [R].</param>
    /// <param name="clipRange">Clip range of the value prediction.</param>
    public static ValueLoss ValueLoss(Tensor values, Tensor oldValues, Tensor returns, Tensor weight, double clipRange)
    {
        var clipped = minimum(maximum(values, oldValues - clipRange), oldValues + clipRange);
        var error = values - returns;
        var losses = error.square();
        var clippedLosses = (clipped - returns).square();
        var isClipped = clippedLosses.gt(losses);
        // As with the policy: where the clipped term rules strictly, the value is outside the range and the derivative is 0.
        return new ValueLoss(maximum(losses, clippedLosses) * 0.5, error.masked_fill(isClipped, 0) * weight, losses, isClipped);
    }

    private static bool CountAtMostOne(ReadOnlySpan<float> mask)
    {
        float count = 0;
        foreach (float m in mask)
            count += m;
        return count < 2;
    }
}

/// <summary>The policy's loss per token; all tensors are [R].</summary>
/// <param name="Losses">Loss of each token.</param>
/// <param name="Gradient">Derivative of the masked mean by each logprob.</param>
/// <param name="Ratio">exp(logprob - old logprob).</param>
/// <param name="LogRatio">logprob - old logprob.</param>
/// <param name="IsClipped">Where clipping took the gradient away.</param>
public sealed record PolicyLoss(Tensor Losses, Tensor Gradient, Tensor Ratio, Tensor LogRatio, Tensor IsClipped);

/// <summary>The value head's loss per token; all tensors are [R].</summary>
/// <param name="Losses">Loss of each token.</param>
/// <param name="Gradient">Derivative of the masked mean by each value.</param>
/// <param name="SquaredErrors">(value - return)², unclipped.</param>
/// <param name="IsClipped">Where the clipped term rules.</param>
public sealed record ValueLoss(Tensor Losses, Tensor Gradient, Tensor SquaredErrors, Tensor IsClipped);
