using CsCheck;
using Rlhf.Data.Batching;

namespace Rlhf.Tests.Data;

public class ShuffledBatchesTests
{
    private static readonly Gen<(int Count, int Batch, long Seed, bool DropLast)> Cases =
        Gen.Select(Gen.Int[1, 60], Gen.Int[1, 20], Gen.Long, Gen.Bool)
            .Where((count, batch, _, dropLast) => !dropLast || count >= batch);

    [Fact]
    public void EveryEpochIsAPermutation() => Cases.Sample(c =>
    {
        var batches = new ShuffledBatches(c.Count, c.Batch, c.Seed, c.DropLast);
        for (int epoch = 0; epoch < 3; epoch++)
        {
            Assert.Equal(new BatchPosition(epoch, 0), batches.State);
            var items = batches.RestOfEpoch().ToArray();
            Assert.Equal(batches.BatchesPerEpoch, items.Length);
            var seen = items.SelectMany(b => b).ToArray();
            Assert.Equal(c.DropLast ? c.Count / c.Batch * c.Batch : c.Count, seen.Length);
            Assert.Equal(seen.Length, seen.Distinct().Count());
            Assert.All(seen, i => Assert.InRange(i, 0, c.Count - 1));
            Assert.Equal(Enumerable.Range(0, c.Count), batches.EpochOrder(epoch).Order());
        }
    }, iter: 300);

    [Fact]
    public void ResumingAnywhereEqualsAnUninterruptedRun() =>
        Gen.Select(Cases, Gen.Int[0, 40]).Sample((c, stop) =>
        {
            var whole = new ShuffledBatches(c.Count, c.Batch, c.Seed, c.DropLast);
            for (int i = 0; i < stop; i++)
                whole.Next();
            var resumed = new ShuffledBatches(c.Count, c.Batch, c.Seed, c.DropLast) { State = whole.State };
            for (int i = 0; i < 20; i++)
                Assert.Equal(whole.Next(), resumed.Next());
            Assert.Equal(whole.State, resumed.State);
        }, iter: 300);

    [Fact]
    public void EpochsAndSeedsDiffer()
    {
        var batches = new ShuffledBatches(100, 10, seed: 7);
        Assert.NotEqual(batches.EpochOrder(0), batches.EpochOrder(1));
        Assert.NotEqual(batches.EpochOrder(0), new ShuffledBatches(100, 10, seed: 8).EpochOrder(0));
        Assert.Equal(batches.EpochOrder(5), new ShuffledBatches(100, 3, seed: 7).EpochOrder(5));
    }

    [Fact]
    public void WithoutShuffleTheOrderIsTheItems()
    {
        var batches = new ShuffledBatches(5, 2, seed: 1, dropLast: false, shuffle: false);
        Assert.Equal([[0, 1], [2, 3], [4]], batches.RestOfEpoch());
        Assert.Equal([0, 1], batches.Next());
    }

    [Fact]
    public void EveryItemComesFirstAboutEquallyOften()
    {
        var batches = new ShuffledBatches(8, 1, seed: 3);
        var counts = new int[8];
        for (int epoch = 0; epoch < 8000; epoch++)
            counts[batches.EpochOrder(epoch)[0]]++;
        // 1,000 expected each; the standard deviation is 30.
        Assert.All(counts, count => Assert.InRange(count, 850, 1150));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AnyBatchIsFoundByItsNumber(bool dropLast)
    {
        var inOrder = new ShuffledBatches(7, 3, seed: 5, dropLast);
        int[][] batches = [.. Enumerable.Range(0, 12).Select(_ => inOrder.Next())];
        var byNumber = new ShuffledBatches(7, 3, seed: 5, dropLast);
        foreach (int number in (int[])[11, 0, 4, 5, 2, 10])
            Assert.Equal(batches[number], byNumber.BatchAt(number));
        Assert.Equal(batches[11], byNumber.Next()); // the one after 10
        Assert.Throws<ArgumentOutOfRangeException>(() => byNumber.BatchAt(-1));
    }

    [Fact]
    public void MisuseIsRefused()
    {
        Assert.Throws<ArgumentException>(() => new ShuffledBatches(3, 4, seed: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ShuffledBatches(0, 1, seed: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ShuffledBatches(3, 0, seed: 1));
        var batches = new ShuffledBatches(4, 2, seed: 1);
        Assert.Throws<ArgumentOutOfRangeException>(() => batches.State = new BatchPosition(0, 5));
        Assert.Throws<ArgumentOutOfRangeException>(() => batches.State = new BatchPosition(-1, 0));
    }
}
