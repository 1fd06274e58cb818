using Rlhf.Runtime;

namespace Rlhf.Data.Batching;

/// <summary>
/// The order of one epoch in minibatches of similar length, so that attention, which pads, pads little: examples are shuffled,
/// sorted within windows of several minibatches, and the minibatches are shuffled again.
/// </summary>
internal static class LengthBuckets
{
    // Enough minibatches to find neighbors of equal length, few enough that every window still is a random sample.
    private const int MinibatchesPerWindow = 50;

    /// <summary>Minibatches of example indices; a function of the lengths and the stream alone.</summary>
    /// <param name="lengths">Tokens of each example.</param>
    /// <param name="batchSize">Examples per minibatch; one minibatch may have fewer.</param>
    /// <param name="random">A stream of its own for this epoch.</param>
    public static int[][] Minibatches(IReadOnlyList<int> lengths, int batchSize, RandomStream random)
    {
        var minibatches = random.NextPermutation(lengths.Count)
            .Chunk(batchSize * MinibatchesPerWindow)
            .SelectMany(window => window.OrderBy(i => lengths[i]))
            .Chunk(batchSize).ToArray();
        return [.. random.NextPermutation(minibatches.Length).Select(i => minibatches[i])];
    }
}
