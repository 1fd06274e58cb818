using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// Rows of tokens as one packed batch, and where its counted tokens are: B rows, N tokens, r of which count.
/// </summary>
/// <remarks>Everything of shape [r] is in the order of the rows, and in each row in the order of its tokens.</remarks>
public sealed class ScoredRows : IDisposable
{
    private readonly Tensor positions, rowOf;

    private ScoredRows(PackedBatch batch, int[] offsets, long[] positions, long[] targets, long[] rowOf)
    {
        (Batch, Offsets) = (batch, offsets);
        this.positions = Copy(positions);
        this.rowOf = Copy(rowOf);
        Targets = Copy(targets);
        Tensor Copy(long[] values) => tensor(values, int64, batch.Device).DetachFromDisposeScope();
    }

    /// <summary>All tokens of the rows; disposed with this object.</summary>
    public PackedBatch Batch { get; }

    /// <summary>The counted tokens [r], int64.</summary>
    public Tensor Targets { get; }

    /// <summary>Start of each row's counted tokens among all r, and r at the end: B + 1 entries.</summary>
    public IReadOnlyList<int> Offsets { get; }

    /// <summary>r.</summary>
    public int Count => Offsets[^1];

    /// <summary>Packs rows.</summary>
    /// <param name="rows">The rows; none may be empty. A row may have no counted token.</param>
    /// <param name="device">Device of the tensors; null is the CPU.</param>
    /// <param name="positionOffsets">First position of each row, where it is not 0.</param>
    /// <exception cref="ArgumentException">There is no row, a row is empty, or its two arrays differ in length.</exception>
    public static ScoredRows Of(IReadOnlyList<TokenRow> rows, Device? device = null, IReadOnlyList<int>? positionOffsets = null)
    {
        var offsets = new int[rows.Count + 1];
        for (int b = 0; b < rows.Count; b++)
        {
            if (rows[b].Counts.Length != rows[b].Ids.Length)
                throw new ArgumentException($"Row {b} has {rows[b].Ids.Length} tokens, but says of {rows[b].Counts.Length} whether they count.");
            offsets[b + 1] = offsets[b] + rows[b].CountedTokens;
        }
        var batch = PackedBatch.FromRows([.. rows.Select(r => r.Ids)], device, positionOffsets);
        long[] positions = new long[offsets[^1]], targets = new long[offsets[^1]], rowOf = new long[offsets[^1]];
        for (int b = 0, at = 0; b < rows.Count; b++)
            for (int t = 1; t < rows[b].Ids.Length; t++)
                if (rows[b].Counts[t])
                {
                    // What the model says at a token is of the one after it.
                    positions[at] = batch.Offsets[b] + t - 1;
                    targets[at] = rows[b].Ids[t];
                    rowOf[at++] = b;
                }
        return new ScoredRows(batch, offsets, positions, targets, rowOf);
    }

    /// <summary>The hidden states [r, D] that predict the counted tokens, of those of all tokens [N, D]; differentiable.</summary>
    public Tensor Hidden(Tensor packed) => packed.index_select(0, positions);

    /// <summary>Sums [B] of a per-token tensor [r] over each row; 0 where a row has no counted token.</summary>
    public Tensor SumPerRow(Tensor perToken) =>
        zeros([Batch.RowCount], perToken.dtype, perToken.device).index_add_(0, rowOf, perToken, 1);

    /// <summary>Each row's value [B] at all of its counted tokens [r]: what <see cref="SumPerRow"/> is the gradient of.</summary>
    public Tensor Spread(Tensor perRow) => perRow.index_select(0, rowOf);

    /// <summary>One array per row of a per-token tensor [r], on the host.</summary>
    public float[][] PerRow(Tensor perToken)
    {
        using var host = perToken.to(float32).cpu();
        var values = host.data<float>().ToArray();
        return [.. Enumerable.Range(0, Batch.RowCount).Select(b => values[Offsets[b]..Offsets[b + 1]])];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Batch.Dispose();
        positions.Dispose();
        rowOf.Dispose();
        Targets.Dispose();
    }
}
