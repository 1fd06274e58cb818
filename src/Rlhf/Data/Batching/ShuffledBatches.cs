using Rlhf.Runtime;

namespace Rlhf.Data.Batching;

/// <summary>Where a <see cref="ShuffledBatches"/> stands; all that a checkpoint needs to continue it exactly.</summary>
/// <param name="Epoch">Passes completed.</param>
/// <param name="Position">Items of the current pass already given.</param>
public readonly record struct BatchPosition(long Epoch, int Position);

/// <summary>
/// Endless batches of item indices, each epoch in a new order. The order of an epoch is a pure function of the seed and the
/// epoch's number, so setting <see cref="State"/> continues exactly where another instance stopped. Not safe for several
/// threads at once.
/// </summary>
public sealed class ShuffledBatches
{
    private readonly RandomStream stream;
    private readonly bool dropLast, shuffle;
    private int[]? order;
    private BatchPosition state;

    /// <summary>Batches over the items 0..<paramref name="count"/>-1.</summary>
    /// <param name="count">Number of items, at least 1.</param>
    /// <param name="batchSize">Items in a batch, at least 1.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="dropLast">Leave out the last, smaller batch of an epoch; its items come back in the next epoch's
    /// order.</param>
    /// <param name="shuffle">False: every epoch in the order 0, 1, 2, ...</param>
    /// <exception cref="ArgumentOutOfRangeException">A count or batch size below 1.</exception>
    /// <exception cref="ArgumentException">Fewer items than one batch while the last batch is dropped: there would be no batch
    /// at all.</exception>
    public ShuffledBatches(int count, int batchSize, long seed, bool dropLast = true, bool shuffle = true)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        if (dropLast && count < batchSize)
            throw new ArgumentException(
                $"{count} items do not fill one batch of {batchSize}: take a smaller batch, more items, or keep the last batch.",
                nameof(batchSize));
        (Count, BatchSize, this.dropLast, this.shuffle) = (count, batchSize, dropLast, shuffle);
        stream = new RandomStream(seed, "data/shuffle");
    }

    /// <summary>Number of items.</summary>
    public int Count { get; }

    /// <summary>Items in a batch; the last one of an epoch may have fewer.</summary>
    public int BatchSize { get; }

    /// <summary>Batches in an epoch.</summary>
    public int BatchesPerEpoch => dropLast ? Count / BatchSize : (int)(((long)Count + BatchSize - 1) / BatchSize);

    /// <summary>Where the next batch begins. After an epoch's last batch it is the start of the next epoch.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A position that these items do not have, for example because the data
    /// changed.</exception>
    public BatchPosition State
    {
        get => state;
        set
        {
            if (value.Epoch < 0 || value.Position < 0 || value.Position > Count)
                throw new ArgumentOutOfRangeException(
                    nameof(value), value,
                    $"The position does not fit {Count} items: resume with the data that the run began with.");
            if (value.Epoch != state.Epoch)
                order = null;
            state = value;
            StartNextEpochIfDone();
        }
    }

    /// <summary>The next batch of item indices; continues into the next epoch by itself.</summary>
    public int[] Next()
    {
        order ??= EpochOrder(state.Epoch);
        int length = Math.Min(BatchSize, Count - state.Position);
        var batch = order.AsSpan(state.Position, length).ToArray();
        state = state with { Position = state.Position + length };
        StartNextEpochIfDone();
        return batch;
    }

    /// <summary>A batch by its number over all epochs, 0 being the first; <see cref="Next"/> then gives the one after it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A negative number.</exception>
    public int[] BatchAt(long number)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(number);
        var (epoch, batchOfEpoch) = Math.DivRem(number, (long)BatchesPerEpoch);
        State = new BatchPosition(epoch, (int)batchOfEpoch * BatchSize);
        return Next();
    }

    /// <summary>The batches that are left of the current epoch; all of them at its start.</summary>
    public IEnumerable<int[]> RestOfEpoch()
    {
        for (long epoch = state.Epoch; state.Epoch == epoch;)
            yield return Next();
    }

    /// <summary>The order of an epoch: a permutation of 0..<see cref="Count"/>-1.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A negative epoch.</exception>
    public int[] EpochOrder(long epoch)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(epoch);
        return shuffle ? stream.Fork(epoch).NextPermutation(Count) : [.. Enumerable.Range(0, Count)];
    }

    private void StartNextEpochIfDone()
    {
        if (Count - state.Position >= (dropLast ? BatchSize : 1))
            return;
        state = new BatchPosition(state.Epoch + 1, 0);
        order = null;
    }
}
