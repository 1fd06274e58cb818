using System.Text.Json;
using Rlhf.Data.Batching;
using Rlhf.Runtime;

namespace Rlhf.Tests.Data;

public class LengthSamplerTests
{
    private static JsonElement Controllers() =>
        JsonDocument.Parse(File.ReadAllText(Fixtures.Path("controllers.json"))).RootElement;

    private static int[] Ints(JsonElement list) => [.. list.EnumerateArray().Select(e => e.GetInt32())];

    [Fact]
    public void ItDrawsTheValuesThatTrlLists()
    {
        var expected = Controllers().GetProperty("length_sampler");
        var sampler = new LengthSampler(
            expected.GetProperty("min_value").GetInt32(), expected.GetProperty("max_value").GetInt32());
        var drawn = sampler.Sample(new RandomStream(1, "test"), 2000).Distinct().Order();
        Assert.Equal(Ints(expected.GetProperty("values")), drawn);
    }

    [Fact]
    public void UnderNumpysGeneratorItDrawsWhatTrlDraws()
    {
        var expected = Controllers().GetProperty("numpy_legacy_rng_seed0");
        var numpy = new LegacyNumpy(0);
        Assert.Equal(Ints(expected.GetProperty("length_sampler_4_16_x20")), Draws(new LengthSampler(4, 16), numpy, 20));
        Assert.Equal(Ints(expected.GetProperty("then_permutation_8")), numpy.Permutation(8));
        Assert.Equal(Ints(expected.GetProperty("then_permutation_16")), numpy.Permutation(16));
        Assert.Equal(Ints(expected.GetProperty("then_length_sampler_2_8_x10")), Draws(new LengthSampler(2, 8), numpy, 10));
    }

    [Fact]
    public void TheSameStreamGivesTheSameLengths()
    {
        var sampler = new LengthSampler(2, 8);
        var stream = new RandomStream(5, "lengths");
        var all = sampler.Sample(stream, 10);
        Assert.Equal(10, stream.Position);
        stream.Position = 4;
        Assert.Equal(all[4..], Enumerable.Range(0, 6).Select(_ => sampler.Sample(stream)));
    }

    [Theory]
    [InlineData(8, 8)]
    [InlineData(8, 2)]
    [InlineData(-1, 2)]
    public void EmptyAndNegativeRangesAreRefused(int min, int max) =>
        Assert.ThrowsAny<ArgumentException>(() => new LengthSampler(min, max));

    private static int[] Draws(LengthSampler sampler, LegacyNumpy numpy, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => sampler.Sample(numpy.Choose))];
}
