using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// Keys and values of all layers, allocated once. Rows have their own lengths; rows that are finished
/// leave the active part at the front.
/// </summary>
public sealed class KeyValueCache : IDisposable
{
    /// <summary>Allocates [layers][rows, maxLength, width] twice.</summary>
    public KeyValueCache(int layers, int rows, int maxLength, int width, ScalarType type, Device device)
    {
        MaxLength = maxLength;
        Lengths = new int[rows];
        Keys = Enumerable.Range(0, layers)
            .Select(_ => zeros([rows, maxLength, width], type, device).DetachFromDisposeScope()).ToArray();
        Values = Enumerable.Range(0, layers)
            .Select(_ => zeros([rows, maxLength, width], type, device).DetachFromDisposeScope()).ToArray();
        ActiveRows = rows;
    }

    /// <summary>Tokens that a row can hold.</summary>
    public int MaxLength { get; }

    /// <summary>Tokens that each row holds.</summary>
    public int[] Lengths { get; }

    /// <summary>Rows 0..ActiveRows-1 take part in the next decoding step.</summary>
    public int ActiveRows { get; private set; }

    /// <summary>Keys of each layer [rows, maxLength, width].</summary>
    public IReadOnlyList<Tensor> Keys { get; }

    /// <summary>Values of each layer [rows, maxLength, width].</summary>
    public IReadOnlyList<Tensor> Values { get; }

    /// <summary>
    /// Drops a row from the active part: the last active row takes its place (its keys and values are
    /// copied), which the caller must mirror.
    /// </summary>
    public void Remove(int row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, ActiveRows);
        int last = --ActiveRows;
        if (row == last)
            return;
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var cache in Keys.Concat(Values))
            cache.select(0, row).narrow(0, 0, Lengths[last]).copy_(cache.select(0, last).narrow(0, 0, Lengths[last]));
        Lengths[row] = Lengths[last];
    }

    /// <summary>Makes the active rows copies of another cache's: row b of its row rows[b].</summary>
    /// <param name="from">A cache of as many layers and the same width, whose tokens fit.</param>
    /// <param name="rows">A row of it for each active row.</param>
    public void CopyRows(KeyValueCache from, IReadOnlyList<int> rows)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(rows.Count, ActiveRows, nameof(rows));
        int longest = rows.Max(r => from.Lengths[r]);
        using var noGrad = no_grad();
        foreach (var (to, source) in Keys.Concat(Values).Zip(from.Keys.Concat(from.Values)))
        {
            using var scope = NewDisposeScope();
            var index = tensor([.. rows.Select(r => (long)r)], int64, source.device);
            to.narrow(0, 0, rows.Count).narrow(1, 0, longest).copy_(source.narrow(1, 0, longest).index_select(0, index));
        }
        for (int b = 0; b < rows.Count; b++)
            Lengths[b] = from.Lengths[rows[b]];
    }

    /// <summary>Copies rows of another cache behind the active ones, which they join.</summary>
    /// <param name="from">A cache of as many layers and the same width, whose tokens fit.</param>
    /// <param name="rows">The rows of it, in the order in which they join.</param>
    internal void Append(KeyValueCache from, IReadOnlyList<int> rows)
    {
        int first = ActiveRows;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first + rows.Count, Lengths.Length, nameof(rows));
        using var noGrad = no_grad();
        foreach (var (to, source) in Keys.Concat(Values).Zip(from.Keys.Concat(from.Values)))
        {
            using var scope = NewDisposeScope();
            for (int b = 0; b < rows.Count; b++)
                to.select(0, first + b).narrow(0, 0, from.Lengths[rows[b]]).copy_(source.select(0, rows[b]).narrow(0, 0, from.Lengths[rows[b]]));
        }
        for (int b = 0; b < rows.Count; b++)
            Lengths[first + b] = from.Lengths[rows[b]];
        ActiveRows += rows.Count;
    }

    /// <summary>Wipes a row: NaN in it would reach whoever takes its place, behind whatever mask.</summary>
    internal void Wipe(int row)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var cache in Keys.Concat(Values))
            cache.select(0, row).zero_();
    }

    /// <summary>Begins anew with so many rows, none of which holds a token that counts.</summary>
    internal void Restart(int rows)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, Lengths.Length);
        ActiveRows = rows;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in Keys.Concat(Values))
            tensor.Dispose();
    }
}
