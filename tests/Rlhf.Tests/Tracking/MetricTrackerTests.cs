using Rlhf.Tracking;

namespace Rlhf.Tests.Tracking;

public class MetricTrackerTests
{
    private sealed class FailingSink(params bool[] fails) : IMetricSink
    {
        public int Calls;
        public bool Closed;
        public string Name => "broken";

        public void Write(MetricRecord record)
        {
            if (fails[Calls++ % fails.Length])
                throw new IOException("The disk is full.");
        }

        public void Write(SampleTable table) => throw new IOException("The disk is full.");

        public void Dispose()
        {
            Closed = true;
            throw new IOException("The disk is full.");
        }
    }

    private static MetricRecord Record(long step) =>
        new(step, DateTimeOffset.UnixEpoch, new Dictionary<string, double> { ["objective/kl"] = step });

    [Fact]
    public void EverySinkGetsEverything()
    {
        var (first, second) = (new MemorySink(), new MemorySink());
        using var tracker = new MetricTracker([first, NullSink.Instance, second]);
        tracker.Write(Record(1));
        tracker.Write(new SampleTable("game_log", 1, ["query"], [["x"]]));
        Assert.Equal(1, Assert.Single(first.Records).Step);
        Assert.Equal("game_log", Assert.Single(second.Tables).Name);
        Assert.Equal(["memory", "nothing", "memory"], tracker.ActiveSinks);
    }

    [Fact]
    public void AFailingSinkIsReportedOnceAndThenDropped()
    {
        var failures = new List<SinkFailure>();
        var (broken, good) = (new FailingSink(true), new MemorySink());
        var tracker = new MetricTracker([broken, good], failures.Add);
        for (int step = 1; step <= 10; step++)
            tracker.Write(Record(step));
        Assert.Equal(10, good.Records.Count);
        Assert.Equal(MetricTracker.FailuresBeforeDrop, broken.Calls);
        Assert.True(broken.Closed);
        Assert.Equal([false, true], failures.Select(f => f.Dropped));
        Assert.Contains("broken: The disk is full.", failures[0].ToString());
        Assert.Equal(["memory"], tracker.ActiveSinks);
        tracker.Dispose();
    }

    [Fact]
    public void SuccessInBetweenKeepsASink()
    {
        var failures = new List<SinkFailure>();
        var shaky = new FailingSink(true, true, false);
        using var tracker = new MetricTracker([shaky], failures.Add);
        for (int step = 1; step <= 30; step++)
            tracker.Write(Record(step));
        Assert.Equal(30, shaky.Calls);
        Assert.False(Assert.Single(failures).Dropped);
    }

    [Fact]
    public void NothingStopsTraining()
    {
        var tracker = new MetricTracker(
            [new FailingSink(true)], _ => throw new InvalidOperationException("The log is broken too."));
        tracker.Write(Record(1));
        tracker.Write(new SampleTable("t", 1, [], []));
        tracker.Dispose();
    }
}
