using System.Text.Json;
using Rlhf.Tracking;

namespace Rlhf.Tests.Tracking;

public sealed class JsonlSinkTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static MetricRecord Record(long step, params (string, double)[] scalars) =>
        new(step, new DateTimeOffset(2024, 2, 3, 5, 5, 6, 7, TimeSpan.FromHours(1)),
            scalars.ToDictionary(s => s.Item1, s => s.Item2));

    private string[] Lines(string name)
    {
        using var reader = new StreamReader(
            new FileStream(Path.Combine(folder.Path, name), FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return reader.ReadToEnd().Split('\n')[..^1];
    }

    [Fact]
    public void ScalarsAreFlatAndThereBeforeTheSinkIsClosed()
    {
        using var sink = new JsonlSink(folder.Path);
        sink.Write(Record(1, ("objective/kl", 0.25), ("env/reward_mean", -1e-7)));
        sink.Write(Record(2, ("a", double.NaN), ("b", double.PositiveInfinity), ("c", double.NegativeInfinity)));
        Assert.Equal(
            [
                """{"step":1,"time":"2024-02-03T04:05:06.007Z","objective/kl":0.25,"env/reward_mean":-1E-07}""",
                """{"step":2,"time":"2024-02-03T04:05:06.007Z","a":"NaN","b":"Infinity","c":"-Infinity"}""",
            ],
            Lines("metrics.jsonl"));
    }

    [Fact]
    public void TablesHaveALinePerRow()
    {
        using var sink = new JsonlSink(folder.Path);
        sink.Write(new SampleTable("game_log", 3, ["query", "reward", "n", "ok", "none"],
            [["caf\u00e9 <br />\n\"x\" \U0001F600", 1.5, 7L, true, null], ["\ud800", float.NaN, 1, false, ""]]));
        var lines = Lines("samples.jsonl");
        Assert.Equal("""{"step":3,"table":"game_log","query":"café <br />\n\"x\" 😀","reward":1.5,"n":7,"ok":true,"none":null}""",
            lines[0].Replace("\\uD83D\\uDE00", "\U0001F600"));
        using var second = JsonDocument.Parse(lines[1]);
        Assert.Equal("\ufffd", second.RootElement.GetProperty("query").GetString());
        Assert.Equal("NaN", second.RootElement.GetProperty("reward").GetString());
    }

    [Fact]
    public void ResumingRemovesLaterStepsAndTornLines()
    {
        using (var sink = new JsonlSink(folder.Path))
            for (int step = 1; step <= 5; step++)
            {
                sink.Write(Record(step, ("x", step)));
                sink.Write(new SampleTable("t", step, ["y"], [[step]]));
            }
        File.AppendAllText(Path.Combine(folder.Path, "metrics.jsonl"), "{\"step\":3,\"ti");
        using (var sink = new JsonlSink(folder.Path, resumeAfterStep: 3))
            sink.Write(Record(4, ("x", 40)));
        using (var sink = new JsonlSink(folder.Path))
            sink.Write(Record(5, ("x", 50)));
        Assert.Equal([(1, 1), (2, 2), (3, 3), (4, 40), (5, 50.0)], Lines("metrics.jsonl")
            .Select(line => JsonDocument.Parse(line).RootElement)
            .Select(e => (e.GetProperty("step").GetInt32(), e.GetProperty("x").GetDouble())));
        Assert.Equal(3, Lines("samples.jsonl").Length);
        Assert.Equal(2, Directory.GetFiles(folder.Path).Length);
    }

    [Fact]
    public void MisuseIsRefusedAndWritesNothing()
    {
        using var sink = new JsonlSink(folder.Path);
        Assert.Throws<ArgumentException>(() => sink.Write(Record(1, ("step", 1))));
        Assert.Throws<ArgumentException>(() => sink.Write(new SampleTable("t", 1, ["a", "b"], [["x"]])));
        Assert.Throws<ArgumentException>(() => sink.Write(new SampleTable("t", 1, ["table"], [["x"]])));
        Assert.Empty(Lines("metrics.jsonl"));
        Assert.Empty(Lines("samples.jsonl"));
    }
}
