using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// Rows of tokens as one packed batch, and where its counted tokens are: B rows, N tokens, r of which count.
/// </summary>
/// <remarks>Everything of shape [r] is in the order of the rows, and in each row in the order of its tokens.</remarks>
public sealed class ScoredRows : IDisposable
{
    private readonly Tensor positions, rowOf;

    private ScoredRows(PackedBatch batch, int tokenCount, int[] offsets, long[] positions, long[] targets, long[] rowOf)
    {
        (Batch, TokenCount, Offsets) = (batch, tokenCount, offsets);
        this.positions = Copy(positions);
        this.rowOf = Copy(rowOf);
        Targets = Copy(targets);
        Tensor Copy(long[] values) => tensor(values, int64, batch.Device).DetachFromDisposeScope();
    }

    /// <summary>All tokens of the rows; disposed with this object.</summary>
    public PackedBatch Batch { get; }

    /// <summary>B.</summary>
    public int RowCount => Offsets.Count - 1;

    /// <summary>Tokens of all rows. <see cref="Batch"/> may hold fewer: what rows share is in it once.</summary>
    public int TokenCount { get; }

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
        for (int b = 0; b < rows.Count; b++)
            if (rows[b].Counts.Length != rows[b].Ids.Length)
                throw new ArgumentException($"Row {b} has {rows[b].Ids.Length} tokens, but says of {rows[b].Counts.Length} whether they count.");
        var batch = PackedBatch.FromRows([.. rows.Select(r => r.Ids)], device, positionOffsets);
        return Placed(rows, batch, (b, t) => batch.Offsets[b] + t);
    }

    /// <summary>Packs rows, several of which may be of the same prompt: it is in the batch once, if all models read it so.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="promptLengths">Tokens of each row's prompt: fewer than the row's.</param>
    /// <param name="models">What will read the rows.</param>
    internal static ScoredRows Of(IReadOnlyList<TokenRow> rows, IReadOnlyList<int> promptLengths, params IReadOnlyList<CausalLM> models)
    {
        List<List<int>> groups = [];
        for (int b = 0; b < rows.Count; b++)
        {
            var prompt = rows[b].Ids.AsSpan(0, promptLengths[b]);
            int at = 0;
            while (at < groups.Count && !prompt.SequenceEqual(rows[groups[at][0]].Ids.AsSpan(0, promptLengths[groups[at][0]])))
                at++;
            if (at == groups.Count)
                groups.Add([]);
            groups[at].Add(b);
        }
        if (groups.Count == rows.Count)
            return Of(rows, models[0].Device);
        var batch = PackedBatch.FromBranches([.. groups.Select(g => (rows[g[0]].Ids[..promptLengths[g[0]]],
            (IReadOnlyList<int[]>)[.. g.Select(b => rows[b].Ids[promptLengths[b]..])]))], models[0].Device);
        if (!models.All(m => m.ReadsBranches(batch)))
        {
            batch.Dispose();
            return Of(rows, models[0].Device);
        }
        // Where each row's prompt, and what follows it, are in the batch.
        var places = new (int Prompt, int After)[rows.Count];
        for (int g = 0; g < groups.Count; g++)
            for (int i = 0, at = batch.Offsets[g] + promptLengths[groups[g][0]]; i < groups[g].Count; i++)
            {
                int b = groups[g][i];
                places[b] = (batch.Offsets[g], at);
                at += rows[b].Ids.Length - promptLengths[b];
            }
        return Placed(rows, batch, (b, t) => t < promptLengths[b] ? places[b].Prompt + t : places[b].After + t - promptLengths[b]);
    }

    /// <param name="rows">The rows.</param>
    /// <param name="batch">Their tokens.</param>
    /// <param name="placeOf">Where a row's token is in the batch.</param>
    private static ScoredRows Placed(IReadOnlyList<TokenRow> rows, PackedBatch batch, Func<int, int, int> placeOf)
    {
        var offsets = new int[rows.Count + 1];
        for (int b = 0; b < rows.Count; b++)
            offsets[b + 1] = offsets[b] + rows[b].CountedTokens;
        long[] positions = new long[offsets[^1]], targets = new long[offsets[^1]], rowOf = new long[offsets[^1]];
        for (int b = 0, at = 0; b < rows.Count; b++)
            for (int t = 1; t < rows[b].Ids.Length; t++)
                if (rows[b].Counts[t])
                {
                    // What the model says at a token is of the one after it.
                    positions[at] = placeOf(b, t - 1);
                    targets[at] = rows[b].Ids[t];
                    rowOf[at++] = b;
                }
        return new ScoredRows(batch, rows.Sum(r => r.Ids.Length), offsets, positions, targets, rowOf);
    }

    /// <summary>The hidden states [r, D] that predict the counted tokens, of those of all tokens [N, D]; differentiable.</summary>
    public Tensor Hidden(Tensor packed) => packed.index_select(0, positions);

    /// <summary>Sums [B] of a per-token tensor [r] over each row; 0 where a row has no counted token.</summary>
    public Tensor SumPerRow(Tensor perToken) =>
        zeros([RowCount], perToken.dtype, perToken.device).index_add_(0, rowOf, perToken, 1);

    /// <summary>Each row's value [B] at all of its counted tokens [r]: what <see cref="SumPerRow"/> is the gradient of.</summary>
    public Tensor Spread(Tensor perRow) => perRow.index_select(0, rowOf);

    /// <summary>One array per row of a per-token tensor [r], on the host.</summary>
    public float[][] PerRow(Tensor perToken)
    {
        using var host = perToken.to(float32).cpu();
        var values = host.data<float>().ToArray();
        return [.. Enumerable.Range(0, RowCount).Select(b => values[Offsets[b]..Offsets[b + 1]])];
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
