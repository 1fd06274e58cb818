using Rlhf.Training.Loop;
using static TorchSharp.torch;

namespace Rlhf.Training.Groups;

/// <summary>Advantages of a step's answers.</summary>
/// <param name="Values">One per answer [B].</param>
/// <param name="Deviations">Standard deviation of the rewards that each answer is compared with [B].</param>
public sealed record GroupAdvantages(float[] Values, double[] Deviations);

/// <summary>The answers of one minibatch, token by token; what a loss is made of. All [r] unless said otherwise.</summary>
/// <param name="Rows">The b answers.</param>
/// <param name="Logprobs">Logprobs under the policy as it is; the loss is differentiated by them.</param>
/// <param name="OldLogprobs">Logprobs under the policy that answered.</param>
/// <param name="RefLogprobs">Logprobs under the reference; null without one.</param>
/// <param name="Entropies">Entropy of the policy's distribution at each token, nats.</param>
/// <param name="Advantages">Each answer's advantage at its tokens.</param>
/// <param name="Mask">1 on the tokens that count.</param>
internal sealed record MiniBatchTokens(
    SelectedRows Rows, Tensor Logprobs, Tensor OldLogprobs, Tensor? RefLogprobs, Tensor Entropies, Tensor Advantages, Tensor Mask)
{
    /// <summary>Counted tokens of each answer [b], at least 1.</summary>
    public Tensor Lengths => Rows.SumPerRow(Mask).clamp(min: 1);

    /// <summary>Mean over the counted tokens of all answers.</summary>
    public Tensor Mean(Tensor perToken) => (perToken * Mask).sum() / Mask.sum().clamp(min: 1);

    /// <summary>Mean over the counted tokens of each answer [b].</summary>
    public Tensor MeanPerRow(Tensor perToken) => Rows.SumPerRow(perToken * Mask) / Lengths;
}

/// <summary>What an optimizer step is taken over.</summary>
/// <param name="Rows">Answers.</param>
/// <param name="Tokens">Counted tokens.</param>
/// <param name="MiniBatches">Minibatches whose gradients are added.</param>
internal sealed record UpdateSize(int Rows, double Tokens, int MiniBatches);

/// <summary>A minibatch's part of the loss of its update.</summary>
/// <param name="Loss">A scalar; the parts of an update add up to its loss.</param>
/// <param name="Metrics">Single numbers under TRL's names, as scalars.</param>
internal sealed record MiniBatchLoss(Tensor Loss, IReadOnlyDictionary<string, Tensor> Metrics)
{
    /// <summary>TRL's clip_ratio metrics: shares of what was clipped, of tokens or of whole answers.</summary>
    /// <param name="tokens">The minibatch.</param>
    /// <param name="ratio">Ratios of tokens [r], or of answers at their tokens.</param>
    /// <param name="config">Where they are clipped.</param>
    /// <param name="wholeAnswers">An answer's ratio is the same at all of its tokens, and counts once.</param>
    public static Dictionary<string, Tensor> ClipRatios(MiniBatchTokens tokens, Tensor ratio, GroupConfig config, bool wholeAnswers)
    {
        var low = ratio.lt(config.LowerClip).logical_and(tokens.Advantages.lt(0)).to(float32);
        var high = ratio.gt(config.UpperClip).logical_and(tokens.Advantages.gt(0)).to(float32);
        Tensor lowOfRows = tokens.MeanPerRow(low), highOfRows = tokens.MeanPerRow(high);
        Tensor Mean(Tensor perToken, Tensor ofRows) => wholeAnswers ? ofRows.mean() : tokens.Mean(perToken);
        Tensor lowMean = Mean(low, lowOfRows), highMean = Mean(high, highOfRows);
        return new()
        {
            ["clip_ratio/low_mean"] = lowMean,
            ["clip_ratio/low_min"] = lowOfRows.min(),
            ["clip_ratio/high_mean"] = highMean,
            ["clip_ratio/high_max"] = highOfRows.max(),
            ["clip_ratio/region_mean"] = lowMean + highMean,
        };
    }
}

/// <summary>Numbers [R] that a step begins with.</summary>
/// <param name="Logprobs">Logprobs under the policy that answered.</param>
/// <param name="RefLogprobs">Logprobs under the reference; null without one.</param>
/// <param name="Kls">Divergence of each token from the reference, logprob - ref logprob; empty without one.</param>
internal sealed record AnswerLogprobs(float[] Logprobs, float[]? RefLogprobs, float[] Kls);
