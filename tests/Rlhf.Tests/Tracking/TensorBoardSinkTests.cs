using System.Text;
using Rlhf.Tracking;

namespace Rlhf.Tests.Tracking;

public sealed class TensorBoardSinkTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static readonly DateTimeOffset Time = DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_250);

    private sealed class StoppedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => Time;
    }

    private List<EventFileReader.Message> Write(Action<TensorBoardSink> write, long? resumeAfterStep = null)
    {
        using var sink = new TensorBoardSink(folder.Path, resumeAfterStep, new StoppedClock());
        write(sink);
        return EventFileReader.Read(sink.FilePath); // before the sink is closed: TensorBoard reads along
    }

    // RFC 3720, B.4, and the customary check value.
    [Theory]
    [InlineData("123456789", 0xe3069283)]
    [InlineData("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 0x8a9136aa)]
    public void TheReadersChecksumIsCrc32C(string text, uint crc) =>
        Assert.Equal(crc, EventFileReader.Crc32C(Encoding.ASCII.GetBytes(text)));

    [Fact]
    public void TheFileBeginsWithItsVersionAndHasTheUsualName()
    {
        var events = Write(sink => Assert.Matches(@"events\.out\.tfevents\.1700000000\..+\.\d+\.\d+$", sink.FilePath));
        Assert.Equal("brain.Event:2", Assert.Single(events).Text(3));
        Assert.Equal(1_700_000_000.25, events[0].Double(1));
        using var one = new TensorBoardSink(folder.Path, clock: new StoppedClock());
        using var two = new TensorBoardSink(folder.Path, clock: new StoppedClock());
        Assert.NotEqual(one.FilePath, two.FilePath);
    }

    [Fact]
    public void ScalarsAreSimpleValues()
    {
        var scalars = new Dictionary<string, double> { ["objective/kl"] = 0.1, ["caf\u00e9"] = double.NaN, ["zero"] = 0 };
        var record = Write(sink => sink.Write(new MetricRecord(300, Time.AddSeconds(1), scalars)))[1];
        Assert.Equal(1_700_000_001.25, record.Double(1));
        Assert.Equal(300ul, record.Varint(2));
        Assert.Equal([("objective/kl", 0.1f), ("caf\u00e9", float.NaN), ("zero", 0f)],
            record.Nested(5).AllNested(1).Select(v => (v.Text(1), v.Float(2))));
    }

    [Fact]
    public void DistributionsAreHistograms()
    {
        var distributions = new Dictionary<string, float[]>
        {
            ["a"] = [-1, 0, 0.5f, 3, float.NaN, float.PositiveInfinity],
            ["same"] = [2, 2, 2],
            ["none"] = [float.NaN],
        };
        var values = Write(sink => sink.Write(new MetricRecord(1, Time, new Dictionary<string, double>(), distributions)))[1]
            .Nested(5).AllNested(1);
        Assert.Equal(["a", "same"], values.Select(v => v.Text(1)));
        var histogram = values[0].Nested(5);
        Assert.Equal((-1, 3, 4, 2.5, 10.25),
            (histogram.Double(1), histogram.Double(2), histogram.Double(3), histogram.Double(4), histogram.Double(5)));
        double[] limits = histogram.PackedDoubles(6), counts = histogram.PackedDoubles(7);
        Assert.Equal(limits.Length, counts.Length);
        Assert.Equal(limits.Order(), limits);
        Assert.Equal(3, limits[^1]);
        foreach (double value in new[] { -1, 0, 0.5, 3 })
            Assert.InRange(counts[Array.FindIndex(limits, limit => value <= limit + 1e-12)..].Sum(), 1, 4);
        Assert.Equal(4, counts.Sum());
        var same = values[1].Nested(5);
        Assert.Equal([2.0], same.PackedDoubles(6));
        Assert.Equal([3.0], same.PackedDoubles(7));
    }

    [Fact]
    public void TablesAreTwoDimensionalTextTensors()
    {
        var table = new SampleTable("game_log", 7, ["query", "reward"], [["This *film*", 1.25], ["a <br />\nb", null]]);
        var record = Write(sink => sink.Write(table))[1];
        Assert.Equal(7ul, record.Varint(2));
        var value = Assert.Single(record.Nested(5).AllNested(1));
        Assert.Equal("game_log", value.Text(1));
        Assert.Equal("text", value.Nested(9).Nested(1).Text(1));
        var tensor = value.Nested(8);
        Assert.Equal(7ul, tensor.Varint(1)); // DT_STRING
        Assert.Equal([3ul, 2ul], tensor.Nested(2).AllNested(2).Select(dimension => dimension.Varint(1)));
        Assert.Equal(["**query**", "**reward**", @"This \*film\*", @"1\.25", "a &lt;br /&gt;  \nb", ""], tensor.AllTexts(8));
    }

    [Fact]
    public void AFileCutOffAnywhereOpensUpToItsLastWholeEvent()
    {
        string path = "";
        var whole = Write(sink =>
        {
            path = sink.FilePath;
            for (int step = 1; step <= 3; step++)
                sink.Write(new MetricRecord(step, Time, new Dictionary<string, double> { ["objective/kl"] = step },
                    new Dictionary<string, float[]> { ["a"] = [1, 2, 3] }));
            sink.Write(new SampleTable("game_log", 3, ["query"], [["x"]]));
        });
        byte[] data = File.ReadAllBytes(path);
        Assert.Equal(5, whole.Count);
        int seen = 0;
        for (int length = 0; length <= data.Length; length++)
        {
            var events = EventFileReader.Read(data[..length]);
            Assert.InRange(events.Count, seen, seen + 1);
            seen = events.Count;
        }
        Assert.Equal(5, seen);
    }

    [Fact]
    public void ResumingHidesLaterSteps()
    {
        var start = Write(_ => { }, resumeAfterStep: 40)[1];
        Assert.Equal(41ul, start.Varint(2));
        Assert.Equal(1ul, start.Nested(7).Varint(1));
    }
}
