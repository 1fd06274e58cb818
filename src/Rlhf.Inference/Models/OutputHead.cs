using Rlhf.Models.Layers;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// The output layer over the vocabulary, taken in chunks of rows, so that [R, V] logits never exist as
/// a whole: logprob, entropy and the gradient of a loss are taken from a chunk while it is there.
/// </summary>
/// <remarks>
/// R rows (the positions whose next token counts), V vocabulary, D width. Logits and everything computed from them are float32 whatever
/// the weights are. Logprobs and entropies are in nats.
/// </remarks>
/// <param name="layer">The layer; its weight is stored [V, D] and may be the input embedding's (tied).</param>
public sealed class OutputHead(Linear layer)
{
    // 96 MiB of float32 logits a chunk: rows enough for a fast matrix product. Up to three such tensors are alive at a time.
    private const int ChunkElements = 24 << 20;

    private const int WeightPartElements = 4 << 20;

    /// <summary>The layer: weight [V, D] and optional bias [V].</summary>
    public Linear Layer { get; } = layer.IsConv1D
        ? throw new ArgumentException("An output layer's weight is stored [vocabulary, width].", nameof(layer)) : layer;

    /// <summary>What logits are multiplied with.</summary>
    public double Scale { get; init; } = 1;

    /// <summary>c of the soft cap c · tanh(logit / c), applied after <see cref="Scale"/> (Gemma 2); null applies none.</summary>
    public double? Cap { get; init; }

    /// <summary>What logits are divided by in the end, as in sampling; see <see cref="AtTemperature"/>.</summary>
    public double Temperature { get; private init; } = 1;

    /// <summary>The same layer with its logits divided by a temperature: logprobs, entropies and gradients are those of the distribution that
    /// is sampled from at it.</summary>
    /// <param name="temperature">Above 0; 1 gives the layer as it is.</param>
    public OutputHead AtTemperature(double temperature) =>
        temperature == Temperature ? this : new(Layer) { Scale = Scale, Cap = Cap, Temperature = temperature };

    /// <summary>V.</summary>
    public int VocabSize => (int)Layer.Outputs;

    /// <summary>Rows of one chunk for a vocabulary.</summary>
    public static int ChunkRows(int vocabSize) => Math.Max(32, ChunkElements / vocabSize);

    /// <summary>Logits [R, V] of hidden states [R, D], float32; without gradient.</summary>
    public Tensor Logits(Tensor hidden)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return Logits(hidden, out _).MoveToOuterDisposeScope();
    }

    /// <summary>Logprobs [R] of the target tokens, without gradient.</summary>
    /// <param name="hidden">Hidden states [R, D].</param>
    /// <param name="targets">Token ids [R], int64.</param>
    /// <param name="entropy">Receives the entropy [R] of each row's distribution, when asked for with
    /// <paramref name="withEntropy"/>.</param>
    /// <param name="withEntropy">Compute the entropy, too.</param>
    public Tensor Logprobs(Tensor hidden, Tensor targets, out Tensor? entropy, bool withEntropy = false)
    {
        using var noGrad = no_grad();
        long rows = hidden.shape[0];
        var logprobs = empty([rows], float32, hidden.device);
        entropy = withEntropy ? empty([rows], float32, hidden.device) : null;
        foreach (var (start, count) in Chunks(rows, VocabSize))
        {
            using var scope = NewDisposeScope();
            var logSoftmax = LogSoftmax(hidden.narrow(0, start, count), out _);
            logprobs.narrow(0, start, count).copy_(Pick(logSoftmax, targets.narrow(0, start, count)));
            entropy?.narrow(0, start, count).copy_(logSoftmax.exp().mul_(logSoftmax).sum(1).neg_());
        }
        return logprobs;
    }

    /// <summary>Logprobs [R] of the target tokens, without gradient.</summary>
    public Tensor Logprobs(Tensor hidden, Tensor targets) => Logprobs(hidden, targets, out _);

    /// <summary>
    /// The exact divergence KL(policy ‖ reference) [R] at each row, summed over the vocabulary, without
    /// gradient, and the targets' logprobs under both. This head is the policy's.
    /// </summary>
    public (Tensor Kl, Tensor Logprobs, Tensor RefLogprobs) FullKl(
        Tensor hidden, OutputHead reference, Tensor refHidden, Tensor targets)
    {
        using var noGrad = no_grad();
        long rows = hidden.shape[0];
        var kl = empty([rows], float32, hidden.device);
        var logprobs = empty([rows], float32, hidden.device);
        var refLogprobs = empty([rows], float32, hidden.device);
        foreach (var (start, count) in Chunks(rows, VocabSize))
        {
            using var scope = NewDisposeScope();
            var target = targets.narrow(0, start, count);
            var policy = LogSoftmax(hidden.narrow(0, start, count), out _);
            var other = reference.LogSoftmax(refHidden.narrow(0, start, count), out _);
            logprobs.narrow(0, start, count).copy_(Pick(policy, target));
            refLogprobs.narrow(0, start, count).copy_(Pick(other, target));
            kl.narrow(0, start, count).copy_(other.neg_().add_(policy).mul_(policy.exp()).sum(1));
        }
        return (kl, logprobs, refLogprobs);
    }

    /// <summary>
    /// Forward and backward for a loss that is a sum over single tokens (SFT, PPO): each chunk's gradient is taken while its logits are
    /// there. Adds the gradient of the layer's parameters to their <c>grad</c> and returns that of the hidden states.
    /// </summary>
    /// <param name="hidden">Hidden states [R, D]; taken as constants.</param>
    /// <param name="targets">Token ids [R], int64.</param>
    /// <param name="gradientOfChunk">Given the first row of a chunk and its logprobs [r], the loss's derivative
    /// [r] by each of them.</param>
    /// <param name="withEntropy">Compute the entropy, too.</param>
    public HeadPass ForwardBackward(
        Tensor hidden, Tensor targets, Func<long, Tensor, Tensor> gradientOfChunk, bool withEntropy = false)
    {
        using var noGrad = no_grad();
        var pass = NewPass(hidden, withEntropy);
        // Larger chunks pay where the layer's own gradient is formed, in which each is a product with few rows.
        long rows = hidden.shape[0], most = Layer.Weight.requires_grad ? ChunkRows(VocabSize) : Math.Max(32, ChunkElements / 2 / VocabSize);
        foreach (var (start, count) in EqualParts(rows, (rows + most - 1) / most))
            Chunk(hidden, targets, pass, start, count, logprobs => gradientOfChunk(start, logprobs));
        return pass;
    }

    /// <summary>
    /// Forward and backward for a loss of all logprobs together (sums of rows as in DPO, quantiles, a guard over the whole minibatch).
    /// Where the rows do not fit one chunk, the logits are computed twice: once for the logprobs, once for the gradient.
    /// </summary>
    /// <param name="hidden">Hidden states [R, D]; taken as constants.</param>
    /// <param name="targets">Token ids [R], int64.</param>
    /// <param name="gradientOfAll">Given all logprobs [R] (and entropies, where asked for), the loss's derivative [R] by each of the
    /// logprobs; null is a gradient of 0 and leaves the parameters' <c>grad</c> alone.</param>
    /// <param name="withEntropy">Compute the entropy, too.</param>
    public HeadPass ForwardBackward(
        Tensor hidden, Tensor targets, Func<HeadScores, Tensor?> gradientOfAll, bool withEntropy = false)
    {
        using var noGrad = no_grad();
        var chunks = Chunks(hidden.shape[0], VocabSize).ToArray();
        if (chunks is [var (start, count)])
        {
            var whole = NewPass(hidden, withEntropy);
            Chunk(hidden, targets, whole, start, count, _ => gradientOfAll(whole.Scores));
            return whole;
        }
        var logprobs = Logprobs(hidden, targets, out var entropy, withEntropy);
        var pass = new HeadPass(logprobs, entropy, zeros_like(hidden));
        if (gradientOfAll(pass.Scores) is { } gradient)
            foreach (var (first, rows) in chunks)
                Chunk(hidden, targets, pass with { Entropy = null }, first, rows, _ => gradient.narrow(0, first, rows));
        return pass;
    }

    private static HeadPass NewPass(Tensor hidden, bool withEntropy)
    {
        long rows = hidden.shape[0];
        return new HeadPass(empty([rows], float32, hidden.device), withEntropy ? empty([rows], float32, hidden.device) : null,
            empty_like(hidden));
    }

    /// <summary>Both passes over some rows.</summary>
    private void Chunk(
        Tensor hidden, Tensor targets, HeadPass pass, long start, long count, Func<Tensor, Tensor?> gradientOf)
    {
        using var scope = NewDisposeScope();
        var weight = Layer.Weight;
        var input = hidden.detach().narrow(0, start, count);
        var target = targets.narrow(0, start, count);
        var logSoftmax = LogSoftmax(input, out var slope);
        var logprobs = Pick(logSoftmax, target);
        pass.Logprobs.narrow(0, start, count).copy_(logprobs);
        // Two tensors of the chunk's size are alive at a time, three with entropies.
        var probabilities = pass.Entropy is null ? logSoftmax.exp_() : logSoftmax.exp();
        if (pass.Entropy is { } entropy)
        {
            entropy.narrow(0, start, count).copy_(logSoftmax.mul_(probabilities).sum(1).neg_());
            logSoftmax.Dispose();
        }
        if (gradientOf(logprobs) is not { } gradient)
        {
            pass.HiddenGradient.narrow(0, start, count).zero_();
            return;
        }
        // d logprob / d logits = onehot(target) - softmax
        var g = gradient.unsqueeze(1);
        var dLogits = probabilities.mul_(-g).scatter_add_(1, target.unsqueeze(1), g);
        if (slope is not null)
            dLogits = dLogits.mul_(slope);
        if (Scale / Temperature is not 1 and var factor)
            dLogits = dLogits.mul_(factor);
        if (Layer.Bias is { requires_grad: true } bias)
            AddBiasGradient(bias, dLogits);
        var throughAdapter = Layer.Adapter?.Backward(dLogits, input);
        bool narrow = NarrowMatrix.Is(weight, input);
        if (!narrow && dLogits.dtype != weight.dtype)
            dLogits = dLogits.to(weight.dtype);
        var dHidden = narrow ? NarrowMatrix.Through(dLogits, weight) : MatrixProduct.Of(dLogits, weight);
        pass.HiddenGradient.narrow(0, start, count).copy_(throughAdapter is null ? dHidden : dHidden + throughAdapter);
        if (weight.requires_grad)
            AddWeightGradient(weight, dLogits, input);
    }

    /// <summary>Logits [r, V], and the derivative of the soft cap at each of them where there is one.</summary>
    private Tensor Logits(Tensor hidden, out Tensor? slope)
    {
        slope = null;
        var logits = NarrowMatrix.Is(Layer.Weight, hidden) ? NarrowMatrix.Multiply(hidden, Layer.Weight, Layer.Bias, exact: true)
            : (Layer.Bias is null ? RowProduct.TryMultiply(hidden, Layer.Weight) : null)
            ?? MatrixProduct.Of(hidden, Layer.Weight.t(), Layer.Bias, exact: true);
        if (logits.dtype != ScalarType.Float32)
            logits = logits.to(float32);
        if (Layer.Adapter is { } adapter)
            logits = adapter.AddTo(logits, hidden);
        if (Scale != 1)
            logits = logits.mul_(Scale);
        if (Cap is { } cap)
        {
            logits = logits.div_(cap).tanh_();
            // d (c tanh(z / c)) / dz = 1 - tanh²(z / c)
            slope = logits.square().neg_().add_(1);
            logits = logits.mul_(cap);
        }
        if (Temperature != 1)
            logits = logits.div_(Temperature);
        return logits;
    }

    /// <summary>Log softmax of the logits [r, V].</summary>
    private Tensor LogSoftmax(Tensor hidden, out Tensor? slope)
    {
        using var logits = Logits(hidden, out slope);
        return nn.functional.log_softmax(logits, 1);
    }

    private static void AddBiasGradient(Tensor bias, Tensor dLogits)
    {
        var gradient = dLogits.sum([0L]).to(bias.dtype);
        bias.grad = bias.grad is { } sum ? sum.add_(gradient) : gradient;
    }

    /// <summary>weight.grad [V, D] += dLogitsᵀ · hidden, a part of the vocabulary at a time, so that no second [V, D] is needed.</summary>
    private static void AddWeightGradient(Tensor weight, Tensor dLogits, Tensor hidden)
    {
        var gradient = weight.grad ?? (weight.grad = zeros_like(weight));
        if (WeightGradient.TryAdd(gradient!, dLogits, hidden))
            return;
        foreach (var (start, count) in EqualParts(weight.shape[0], weight.numel() / WeightPartElements))
        {
            using var part = MatrixProduct.Of(dLogits.narrow(1, start, count).t(), hidden);
            gradient!.narrow(0, start, count).add_(part);
        }
    }

    private static Tensor Pick(Tensor logSoftmax, Tensor targets) => logSoftmax.gather(1, targets.unsqueeze(1)).squeeze(1);

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
