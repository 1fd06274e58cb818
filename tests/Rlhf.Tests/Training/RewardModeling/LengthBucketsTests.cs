using CsCheck;
using Rlhf.Data.Batching;
using Rlhf.Runtime;

namespace Rlhf.Tests.Training.RewardModeling;

public class LengthBucketsTests
{
    [Fact]
    public void Every_example_occurs_once_in_full_minibatches_but_one() =>
        Gen.Select(Gen.Int[1, 200].Array[1, 500], Gen.Int[1, 20], Gen.Long).Sample((lengths, batchSize, seed) =>
        {
            var minibatches = LengthBuckets.Minibatches(lengths, batchSize, new RandomStream(seed, "order"));
            Assert.Equal(Enumerable.Range(0, lengths.Length), minibatches.SelectMany(m => m).Order());
            Assert.Equal((lengths.Length + batchSize - 1) / batchSize, minibatches.Length);
            Assert.True(minibatches.Count(m => m.Length < batchSize) <= 1);
        }, iter: 200);

    [Fact]
    public void Lengths_within_a_minibatch_are_neighbours()
    {
        // One window: sorted lengths 0..399 in minibatches of 8 span 7 each.
        var minibatches = LengthBuckets.Minibatches([.. Enumerable.Range(0, 400)], 8, new RandomStream(1, "order"));
        Assert.All(minibatches, m => Assert.Equal(7, m.Max() - m.Min()));
        Assert.NotEqual(minibatches.Select(m => m.Min()), minibatches.Select(m => m.Min()).Order());
    }

    [Fact]
    public void The_same_stream_gives_the_same_order()
    {
        int[] lengths = [.. Enumerable.Range(0, 100).Select(i => i % 13)];
        var stream = new RandomStream(5, "order");
        int[] Order(long epoch) => [.. LengthBuckets.Minibatches(lengths, 4, stream.Fork(epoch)).SelectMany(m => m)];
        Assert.Equal(Order(0), Order(0));
        Assert.NotEqual(Order(0), Order(1));
    }
}
