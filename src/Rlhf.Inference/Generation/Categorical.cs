using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Rlhf.Generation;

/// <summary>
/// The categorical distribution softmax(logits) of one row [V], made in two passes (maximum, sum of exponentials). The sum is
/// kept per block of tokens, so that a draw looks into one block only.
/// </summary>
/// <remarks>
/// Sums run over eight lanes within a block and in double precision over blocks, in the same order on every machine; a logprob is
/// exact to about 1e-6.
/// </remarks>
internal readonly ref struct Categorical
{
    private const int BlockSize = 256;
    private readonly ReadOnlySpan<float> logits;
    private readonly Span<double> blockSums;

    /// <param name="logits">One row; minus infinity is a token that cannot be drawn.</param>
    /// <param name="blockSums">Room for <see cref="BlockCount"/> numbers.</param>
    public Categorical(ReadOnlySpan<float> logits, Span<double> blockSums)
    {
        this.logits = logits;
        this.blockSums = blockSums;
        Max = MaxOf(logits);
        for (int block = 0; block < BlockCount(logits.Length); block++)
            Sum += blockSums[block] = SumExp(Block(block), Max);
        LogSumExp = Max + Math.Log(Sum);
    }

    /// <summary>The largest logit; NaN when there is one in the row.</summary>
    public float Max { get; }

    /// <summary>sum(exp(logits - Max)).</summary>
    public double Sum { get; }

    /// <summary>log(sum(exp(logits))).</summary>
    public double LogSumExp { get; }

    /// <summary>False when the row holds NaN or plus infinity, or nothing but minus infinity.</summary>
    public bool IsProper => double.IsFinite(LogSumExp);

    /// <summary>Blocks of a row of <paramref name="vocabSize"/> tokens.</summary>
    public static int BlockCount(int vocabSize) => (vocabSize + BlockSize - 1) / BlockSize;

    /// <summary>Natural logarithm of a token's probability.</summary>
    public double Logprob(int token) => logits[token] - LogSumExp;

    /// <summary>A token's probability.</summary>
    public double Probability(int token) => Math.Exp(Logprob(token));

    /// <summary>Fills in exp(logits - Max): probabilities times <see cref="Sum"/>.</summary>
    public void Weights(Span<float> weights) => Exp(logits, Max, weights);

    /// <summary>
    /// The token at <paramref name="uniform"/> (in [0, 1)) of the cumulative distribution. Never one of probability zero.
    /// </summary>
    public int Draw(double uniform)
    {
        double target = uniform * Sum;
        int block = 0, lastPossible = 0;
        for (; block < blockSums.Length; block++)
        {
            if (blockSums[block] <= 0)
                continue;
            lastPossible = block;
            if (target < blockSums[block])
                break;
            target -= blockSums[block];
        }
        // Rounding can leave a target at the very end of the last block; then its last possible token is meant.
        block = lastPossible;
        int chosen = -1;
        Span<float> weights = stackalloc float[BlockSize];
        var row = Block(block);
        Exp(row, Max, weights);
        for (int i = 0; i < row.Length; i++)
        {
            if (weights[i] <= 0)
                continue;
            chosen = i;
            target -= weights[i];
            if (target < 0)
                break;
        }
        return block * BlockSize + chosen;
    }

    /// <summary>The likeliest tokens with their logprobs, the likeliest first; of equally likely ones the first in the vocabulary.</summary>
    public (int Id, float Logprob)[] Likeliest(int count)
    {
        var best = new (int Id, float Logprob)[Math.Min(count, logits.Length)];
        int found = 0;
        for (int token = 0; token < logits.Length && best.Length > 0; token++)
        {
            float logit = logits[token];
            if (found == best.Length && logit <= best[^1].Logprob)
                continue;
            int at = found < best.Length ? found++ : found - 1;
            for (; at > 0 && logit > best[at - 1].Logprob; at--)
                best[at] = best[at - 1];
            best[at] = (token, logit);
        }
        for (int i = 0; i < best.Length; i++)
            best[i].Logprob = (float)(best[i].Logprob - LogSumExp);
        return best;
    }

    /// <summary>The largest value of a row, NaN when there is one.</summary>
    public static float MaxOf(ReadOnlySpan<float> row)
    {
        ref float start = ref MemoryMarshal.GetReference(row);
        var lanes = Vector256.Create(float.NegativeInfinity);
        int i = 0;
        for (; i + Vector256<float>.Count <= row.Length; i += Vector256<float>.Count)
            lanes = Vector256.Max(lanes, Vector256.LoadUnsafe(ref start, (nuint)i));
        float max = float.NegativeInfinity;
        for (int lane = 0; lane < Vector256<float>.Count; lane++)
            max = MathF.Max(max, lanes[lane]);
        for (; i < row.Length; i++)
            max = MathF.Max(max, row[i]);
        return max;
    }

    /// <summary>The most likely token; the first of equal ones.</summary>
    public static int ArgMax(ReadOnlySpan<float> row) => row.IndexOf(MaxOf(row));

    private ReadOnlySpan<float> Block(int block)
    {
        int start = block * BlockSize;
        return logits.Slice(start, Math.Min(BlockSize, logits.Length - start));
    }

    private static double SumExp(ReadOnlySpan<float> row, float max)
    {
        ref float start = ref MemoryMarshal.GetReference(row);
        var shift = Vector256.Create(max);
        var lanes = Vector256<float>.Zero;
        int i = 0;
        for (; i + Vector256<float>.Count <= row.Length; i += Vector256<float>.Count)
            lanes += Vector256.Exp(Vector256.LoadUnsafe(ref start, (nuint)i) - shift);
        if (i < row.Length)
            lanes += Vector256.Exp(Tail(row[i..]) - shift);
        double sum = 0;
        for (int lane = 0; lane < Vector256<float>.Count; lane++)
            sum += lanes[lane];
        return sum;
    }

    private static void Exp(ReadOnlySpan<float> row, float max, Span<float> result)
    {
        var shift = Vector256.Create(max);
        for (int i = 0; i < row.Length; i += Vector256<float>.Count)
        {
            var rest = row[i..];
            var lanes = rest.Length >= Vector256<float>.Count ? Vector256.Create(rest) : Tail(rest);
            var exps = Vector256.Exp(lanes - shift);
            if (rest.Length >= Vector256<float>.Count)
                exps.CopyTo(result[i..]);
            else
                for (int lane = 0; lane < rest.Length; lane++)
                    result[i + lane] = exps[lane];
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Vector256<float> Tail(ReadOnlySpan<float> rest)
    {
        Span<float> padded = stackalloc float[Vector256<float>.Count];
        padded.Fill(float.NegativeInfinity);
        rest.CopyTo(padded);
        return Vector256.Create<float>(padded);
    }
}
