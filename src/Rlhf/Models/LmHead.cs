using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// The output layer over the vocabulary, taken in chunks of rows, so that [R, V] logits never exist as
/// a whole: logprob, entropy and the gradient of a loss are taken from a chunk while it is there.
/// </summary>
/// <remarks>R rows (the positions whose next token counts), V vocabulary, D width. Logprobs and entropies are in nats.</remarks>
public static class LmHead
{
    // 96 MiB of float32 logits a chunk: rows enough for a fast matrix product. Up to three such tensors are alive at a time.
    private const int ChunkElements = 24 << 20;

    private const int WeightPartElements = 4 << 20;

    /// <summary>Rows of one chunk for a vocabulary.</summary>
    public static int ChunkRows(int vocabSize) => Math.Max(32, ChunkElements / vocabSize);

    /// <summary>Logprobs [R] of the target tokens, without gradient.</summary>
    /// <param name="hidden">Hidden states [R, D].</param>
    /// <param name="weight">Output weight [V, D].</param>
    /// <param name="targets">Token ids [R], int64.</param>
    /// <param name="entropy">Receives the entropy [R] of each row's distribution, when asked for with
    /// <paramref name="withEntropy"/>.</param>
    /// <param name="withEntropy">Compute the entropy, too.</param>
    public static Tensor Logprobs(Tensor hidden, Tensor weight, Tensor targets, out Tensor? entropy, bool withEntropy = false)
    {
        using var noGrad = no_grad();
        long rows = hidden.shape[0];
        var logprobs = empty([rows], float32, hidden.device);
        entropy = withEntropy ? empty([rows], float32, hidden.device) : null;
        foreach (var (start, count) in Chunks(rows, (int)weight.shape[0]))
        {
            using var scope = NewDisposeScope();
            var logits = LogSoftmax(hidden.narrow(0, start, count), weight);
            logprobs.narrow(0, start, count).copy_(Pick(logits, targets.narrow(0, start, count)));
            entropy?.narrow(0, start, count).copy_(Entropy(logits));
        }
        return logprobs;
    }

    /// <summary>Logprobs [R] of the target tokens, without gradient.</summary>
    public static Tensor Logprobs(Tensor hidden, Tensor weight, Tensor targets) => Logprobs(hidden, weight, targets, out _);

    /// <summary>
    /// The exact divergence KL(policy ‖ reference) [R] at each row, summed over the vocabulary, without
    /// gradient, and the targets' logprobs under both.
    /// </summary>
    public static (Tensor Kl, Tensor Logprobs, Tensor RefLogprobs) FullKl(
        Tensor hidden, Tensor weight, Tensor refHidden, Tensor refWeight, Tensor targets)
    {
        using var noGrad = no_grad();
        long rows = hidden.shape[0];
        var kl = empty([rows], float32, hidden.device);
        var logprobs = empty([rows], float32, hidden.device);
        var refLogprobs = empty([rows], float32, hidden.device);
        foreach (var (start, count) in Chunks(rows, (int)weight.shape[0]))
        {
            using var scope = NewDisposeScope();
            var target = targets.narrow(0, start, count);
            var policy = LogSoftmax(hidden.narrow(0, start, count), weight);
            var reference = LogSoftmax(refHidden.narrow(0, start, count), refWeight);
            logprobs.narrow(0, start, count).copy_(Pick(policy, target));
            refLogprobs.narrow(0, start, count).copy_(Pick(reference, target));
            kl.narrow(0, start, count).copy_(reference.neg_().add_(policy).mul_(policy.exp()).sum(1));
        }
        return (kl, logprobs, refLogprobs);
    }

    /// <summary>
    /// Forward and backward through the head for a loss that depends on it by the targets' logprobs
    /// alone. Adds the gradient of the weight to
    /// <c>weight.grad</c> and returns that of the hidden states.
    /// </summary>
    /// <param name="hidden">Hidden states [R, D]; taken as constants.</param>
    /// <param name="weight">Output weight [V, D]; its gradient is left alone when it does not require one.</param>
    /// <param name="targets">Token ids [R], int64.</param>
    /// <param name="gradient">Given the first row of a chunk and its logprobs [r], the loss's derivative
    /// [r] by each of them.</param>
    /// <param name="withEntropy">Compute the entropy, too.</param>
    public static HeadPass ForwardBackward(
        Tensor hidden, Tensor weight, Tensor targets, Func<long, Tensor, Tensor> gradient, bool withEntropy = false)
    {
        using var noGrad = no_grad();
        long rows = hidden.shape[0];
        var pass = new HeadPass(empty([rows], float32, hidden.device), withEntropy ? empty([rows], float32, hidden.device) : null,
            empty_like(hidden));
        var constant = hidden.detach();
        foreach (var (start, count) in Chunks(rows, (int)weight.shape[0]))
        {
            using var scope = NewDisposeScope();
            var input = constant.narrow(0, start, count);
            var target = targets.narrow(0, start, count);
            var logSoftmax = LogSoftmax(input, weight);
            var logprobs = Pick(logSoftmax, target);
            pass.Logprobs.narrow(0, start, count).copy_(logprobs);
            var probabilities = logSoftmax.exp();
            pass.Entropy?.narrow(0, start, count).copy_(logSoftmax.mul_(probabilities).sum(1).neg_());
            logSoftmax.Dispose();
            // d logprob / d logits = onehot(target) - softmax
            var g = gradient(start, logprobs).unsqueeze(1);
            var dLogits = probabilities.mul_(-g).scatter_add_(1, target.unsqueeze(1), g);
            pass.HiddenGradient.narrow(0, start, count).copy_(MatrixProduct.Of(dLogits, weight));
            if (weight.requires_grad)
                AddWeightGradient(weight, dLogits, input);
        }
        return pass;
    }

    /// <summary>log softmax(hidden · weightᵀ) [r, V].</summary>
    private static Tensor LogSoftmax(Tensor hidden, Tensor weight)
    {
        using var logits = MatrixProduct.Of(hidden, weight.t(), exact: true);
        return nn.functional.log_softmax(logits, 1);
    }

    /// <summary>weight.grad [V, D] += dLogitsᵀ · hidden, a part of the vocabulary at a time, so that no second [V, D] is needed.</summary>
    private static void AddWeightGradient(Tensor weight, Tensor dLogits, Tensor hidden)
    {
        var gradient = weight.grad ?? (weight.grad = zeros_like(weight));
        foreach (var (start, count) in EqualParts(weight.shape[0], weight.numel() / WeightPartElements))
        {
            using var part = MatrixProduct.Of(dLogits.narrow(1, start, count).t(), hidden);
            gradient!.narrow(0, start, count).add_(part);
        }
    }

    private static Tensor Pick(Tensor logSoftmax, Tensor targets) => logSoftmax.gather(1, targets.unsqueeze(1)).squeeze(1);

    private static Tensor Entropy(Tensor logSoftmax) => logSoftmax.exp().mul_(logSoftmax).sum(1).neg_();

    private static IEnumerable<(long Start, long Count)> Chunks(long rows, int vocabSize) =>
        EqualParts(rows, (rows + ChunkRows(vocabSize) - 1) / ChunkRows(vocabSize));

    /// <summary>Parts of equal size but for one, so that no product is left with a few rows; at least one.</summary>
    private static IEnumerable<(long Start, long Count)> EqualParts(long total, long parts)
    {
        parts = Math.Max(1, parts);
        for (long i = 0, start = 0; i < parts; i++)
        {
            long end = total * (i + 1) / parts;
            yield return (start, end - start);
            start = end;
        }
    }
}

/// <summary>What a pass through the head gives for R rows.</summary>
/// <param name="Logprobs">Logprobs [R] of the targets.</param>
/// <param name="Entropy">Entropies [R], when asked for.</param>
/// <param name="HiddenGradient">Gradient of the loss by the hidden states [R, D].</param>
public sealed record HeadPass(Tensor Logprobs, Tensor? Entropy, Tensor HiddenGradient);
