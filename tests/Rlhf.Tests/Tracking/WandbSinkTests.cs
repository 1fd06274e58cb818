using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Rlhf.Tracking;
using Rlhf.Tracking.Wandb;

namespace Rlhf.Tests.Tracking;

public sealed class WandbSinkTests : IDisposable
{
    private const int History = 2, Summary = 3, Config = 5, Files = 6, Run = 17, Exit = 18;
    private static readonly DateTimeOffset Time = DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_250);
    private static readonly WandbRun Example = new("films", "a run")
    {
        Config = new Dictionary<string, object?>
        {
            ["learning_rate"] = 1.41e-5,
            ["model"] = "caf\u00e9: \"x\"",
            ["steps"] = 20L,
            ["adaptive"] = true,
            ["target_kl"] = null,
        },
        Command = "rlhf ppo --steps 20",
    };

    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private sealed class StoppedClock(double seconds = 0) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => Time.AddSeconds(seconds);
    }

    private WandbSink New(long? resumeAfterStep = null, double seconds = 0) =>
        new(folder.Path, Example, resumeAfterStep, new StoppedClock(seconds));

    private static MetricRecord Record(long step, double value, float[]? distribution = null, double seconds = 0) =>
        new(step, Time.AddSeconds(seconds), new Dictionary<string, double> { ["objective/kl"] = value },
            distribution is null ? null : new Dictionary<string, float[]> { ["env/reward_dist"] = distribution });

    private static SampleTable Table(long step, string query = "This film") =>
        new("game_log", step, ["query", "response", "reward"], [[query, " is <b>good</b>", 1.25], ["\ud800", "", double.NaN]]);

    // The customary check value.
    [Fact]
    public void TheReadersChecksumIsCrc32() => Assert.Equal(0xcbf43926, WandbReader.Crc32(Encoding.ASCII.GetBytes("123456789")));

    [Fact]
    public void TheFolderAndTheFirstRecordsAreAsSyncWantsThem()
    {
        using var sink = New();
        Assert.Matches(@"^offline-run-\d{8}_\d{6}-[a-z0-9]{8}$", Path.GetFileName(sink.Folder));
        Assert.EndsWith("-" + sink.RunId, sink.Folder);
        Assert.Equal($"run-{sink.RunId}.wandb", Path.GetFileName(Assert.Single(Directory.GetFiles(sink.Folder))));
        var records = WandbReader.Read(sink.FilePath);
        var run = records[0].Nested(Run);
        Assert.Equal((sink.RunId, "films", "a run"), (run.Text(1), run.Text(3), run.Text(8)));
        Assert.Equal((1_700_000_000ul, 250_000_000ul), (run.Nested(17).Varint(1), run.Nested(17).Varint(2)));
        foreach (var config in new[] { run.Nested(4), records[1].Nested(Config) })
        {
            var items = WandbReader.Items(config);
            Assert.Equal(["1.41E-05", "\"café: \\\"x\\\"\"", "20", "true", "null"],
                ((string[])["learning_rate", "model", "steps", "adaptive", "target_kl"]).Select(k => items[k]));
        }
        string files = Path.Combine(sink.Folder, "files");
        string yaml = File.ReadAllText(Path.Combine(files, "config.yaml"));
        Assert.StartsWith("wandb_version: 1\n", yaml);
        Assert.Contains("\n\"steps\":\n    desc: null\n    value: 20\n", yaml);
        using var metadata = JsonDocument.Parse(File.ReadAllText(Path.Combine(files, "wandb-metadata.json")));
        Assert.Equal("rlhf ppo --steps 20", metadata.RootElement.GetProperty("args").GetString());
    }

    [Fact]
    public void RecordsAreNumberedFromOneAndEndWithTheExit()
    {
        string path;
        using (var sink = New())
        {
            path = sink.FilePath;
            for (int step = 1; step <= 3; step++)
                sink.Write(Record(step, step));
            sink.Complete();
        }
        var records = WandbReader.Read(path);
        Assert.Equal(Enumerable.Range(1, records.Count).Select(n => (ulong)n), records.Select(r => r.Varint(1)));
        Assert.Equal(0ul, records[^1].Nested(Exit).Varint(1));
        Assert.All(records, r => Assert.Single((int[])[History, Summary, Config, Files, Run, Exit], r.Has));
        using var summary = JsonDocument.Parse(File.ReadAllText(Path.Combine(Path.GetDirectoryName(path)!, "files", "wandb-summary.json")));
        Assert.Equal(3, summary.RootElement.GetProperty("objective/kl").GetDouble());
    }

    [Fact]
    public void ARunThatWasNotCompletedFailed()
    {
        string path;
        using (var sink = New())
            path = sink.FilePath;
        Assert.Equal(1ul, WandbReader.Read(path)[^1].Nested(Exit).Varint(1));
    }

    [Fact]
    public void ARowHasWhatSyncDoesNotAddAndTheSummaryFollows()
    {
        using var sink = New();
        sink.Write(Record(7, 0.1, seconds: 2.5));
        sink.Write(Record(8, double.NaN, [float.NaN], seconds: 3));
        sink.Write(Record(9, double.NegativeInfinity, seconds: 4));
        var records = WandbReader.Read(sink.FilePath)[3..];
        var row = records[0].Nested(History);
        Assert.Equal(7ul, row.Nested(2).Varint(1));
        var items = WandbReader.Items(row);
        Assert.Equal(("0.1", "7"), (items["objective/kl"], items["_step"]));
        Assert.Equal(1_700_000_002.75, double.Parse(items["_timestamp"], System.Globalization.CultureInfo.InvariantCulture));
        Assert.Equal(2.5, double.Parse(items["_runtime"], System.Globalization.CultureInfo.InvariantCulture));
        var summary = WandbReader.Items(records[1].Nested(Summary));
        Assert.Equal(("0.1", "7", "{\"runtime\":2}"), (summary["objective/kl"], summary["_step"], summary["_wandb"]));
        Assert.Equal("NaN", WandbReader.Items(records[2].Nested(History))["objective/kl"]);
        Assert.DoesNotContain("env/reward_dist", WandbReader.Items(records[2].Nested(History)).Keys);
        Assert.Equal("-Infinity", WandbReader.Items(records[4].Nested(History))["objective/kl"]);
    }

    [Fact]
    public void DistributionsAreHistograms()
    {
        using var sink = New();
        sink.Write(Record(1, 0, [-1, 0, 0.5f, 3, float.NaN]));
        sink.Write(Record(2, 0, [2, 2, 2]));
        var records = WandbReader.Read(sink.FilePath);
        using var several = JsonDocument.Parse(WandbReader.Items(records[3].Nested(History))["env/reward_dist"]);
        using var same = JsonDocument.Parse(WandbReader.Items(records[5].Nested(History))["env/reward_dist"]);
        Assert.Equal("histogram", several.RootElement.GetProperty("_type").GetString());
        (double[] Bins, int[] Counts) Of(JsonDocument json) => (
            [.. json.RootElement.GetProperty("bins").EnumerateArray().Select(b => b.GetDouble())],
            [.. json.RootElement.GetProperty("values").EnumerateArray().Select(b => b.GetInt32())]);
        var (bins, counts) = Of(several);
        Assert.Equal((counts.Length + 1, -1, 3, 4), (bins.Length, bins[0], bins[^1], counts.Sum()));
        Assert.Equal(bins.Order(), bins);
        Assert.Equal((1, 1), (counts[0], counts[^1]));
        Assert.Equal(3, Of(same).Counts.Sum());
        Assert.True(Of(same).Bins[0] < 2 && Of(same).Bins[^1] > 2);
    }

    [Fact]
    public void ATableIsAMediaFileInTheStepsRow()
    {
        using var sink = New();
        sink.Write(Table(4));
        sink.Write(Record(4, 1));
        var records = WandbReader.Read(sink.FilePath)[3..];
        Assert.Equal(3, records.Count);
        using var value = JsonDocument.Parse(WandbReader.Items(records[0].Nested(History))["game_log"]);
        string path = value.RootElement.GetProperty("path").GetString()!;
        var content = File.ReadAllBytes(Path.Combine(sink.Folder, "files", path));
        string hash = Convert.ToHexStringLower(SHA256.HashData(content));
        Assert.Equal($"media/table/game_log_4_{hash[..20]}.table.json", path);
        Assert.Equal(("table-file", hash, content.Length, 3, 2, "IMMUTABLE"), (value.RootElement.GetProperty("_type").GetString(),
            value.RootElement.GetProperty("sha256").GetString(), value.RootElement.GetProperty("size").GetInt32(),
            value.RootElement.GetProperty("ncols").GetInt32(), value.RootElement.GetProperty("nrows").GetInt32(),
            value.RootElement.GetProperty("log_mode").GetString()));
        using var table = JsonDocument.Parse(content);
        Assert.Equal("""["query","response","reward"]""", table.RootElement.GetProperty("columns").GetRawText());
        Assert.Equal("[[\"This film\",\" is <b>good</b>\",1.25],[\"\ufffd\",\"\",null]]",
            table.RootElement.GetProperty("data").GetRawText());
        var file = records[2].Nested(Files).Nested(1);
        Assert.Equal((path, 0ul, 2ul), (file.Text(1), file.Varint(2), file.Varint(3)));
    }

    [Fact]
    public void ATableThatComesLateHasARowOfItsOwn()
    {
        string path;
        using (var sink = New())
        {
            path = sink.FilePath;
            sink.Write(Record(1, 1));
            sink.Write(Table(1));
            sink.Write(Record(2, 2));
            sink.Write(Table(2));
        }
        var rows = WandbReader.Read(path).Where(r => r.Has(History)).Select(r => r.Nested(History)).ToArray();
        Assert.Equal([1ul, 1ul, 2ul, 2ul], rows.Select(r => r.Nested(2).Varint(1)));
        Assert.Equal([false, true, false, true], rows.Select(r => WandbReader.Items(r).ContainsKey("game_log")));
    }

    [Fact]
    public void LongRecordsAreSplitOverBlocksWhereverTheyBegin()
    {
        string path;
        using (var sink = New())
        {
            path = sink.FilePath;
            for (int step = 1; step <= 400; step++) // so many that blocks end at all kinds of places
                sink.Write(new MetricRecord(step, Time, new Dictionary<string, double> { [new string('x', step * 37 % 1500 + 1)] = step }));
            sink.Write(new MetricRecord(401, Time, new Dictionary<string, double> { [new string('y', 100_000)] = 5 }));
        }
        var rows = WandbReader.Read(path).Where(r => r.Has(History)).Select(r => WandbReader.Items(r.Nested(History))).ToArray();
        Assert.Equal(Enumerable.Range(1, 401).Select(n => $"{n}"), rows.Select(r => r["_step"]));
        Assert.Equal("5", rows[^1][new string('y', 100_000)]);
    }

    [Fact]
    public void ARunThatGoesOnStaysOneRun()
    {
        string path;
        using (var first = New())
        {
            path = first.FilePath;
            for (int step = 1; step <= 5; step++)
            {
                first.Write(Table(step));
                first.Write(Record(step, step, seconds: step));
            }
        }
        File.WriteAllText(path + ".synced", "");
        using (var second = New(resumeAfterStep: 3, seconds: 1000))
        {
            Assert.Equal(path, second.FilePath);
            second.Write(Record(4, 40, seconds: 1001.5));
            second.Complete();
        }
        Assert.False(File.Exists(path + ".synced"));
        Assert.Single(Directory.GetDirectories(folder.Path));
        var records = WandbReader.Read(path);
        Assert.Equal(Enumerable.Range(1, records.Count).Select(n => (ulong)n), records.Select(r => r.Varint(1)));
        Assert.Single(records, r => r.Has(Run));
        Assert.Equal(0ul, Assert.Single(records, r => r.Has(Exit)).Nested(Exit).Varint(1));
        var rows = records.Where(r => r.Has(History)).Select(r => WandbReader.Items(r.Nested(History))).ToArray();
        Assert.Equal([("1", "1"), ("2", "2"), ("3", "3"), ("4", "40")], rows.Select(r => (r["_step"], r["objective/kl"])));
        Assert.Equal(["1", "2", "3", "4.5"], rows.Select(r => r["_runtime"])); // not the time in between
        Assert.Equal(3, records.Count(r =>
            r.Has(Files) && r.Nested(Files).AllNested(1)[0].Text(1).StartsWith("media", StringComparison.Ordinal)));
    }

    [Fact]
    public void ARunCutOffAnywhereOpensUpToItsLastWholeRecordAndGoesOn()
    {
        string path;
        using (var sink = New())
        {
            path = sink.FilePath;
            sink.Write(new MetricRecord(1, Time, new Dictionary<string, double> { [new string('x', 15_700)] = 1 }));
            // About the end of a block.
            sink.Write(new MetricRecord(1, Time, new Dictionary<string, double> { [new string('z', 100)] = 1 }));
            sink.Write(Record(2, 2));
            sink.Write(Record(3, 3, [1, 2, 3]));
        }
        byte[] whole = File.ReadAllBytes(path);
        var all = WandbReader.Payloads(whole);
        int seen = 0, tail = whole.Length - all.TakeLast(5).Sum(r => r.Length + 7) - 20;
        for (int length = 0; length <= whole.Length; length++)
        {
            if (length > 60 && length < tail && length % 4999 != 0)
                continue;
            var read = WandbReader.Payloads(whole[..length]);
            seen = read.Count;
            Assert.Equal(all[..seen], read);
            if (length % 31 != 0)
                continue;
            File.WriteAllBytes(path, whole[..length]);
            using (var resumed = New(resumeAfterStep: 2))
                resumed.Write(Record(3, 30));
            var after = WandbReader.Read(path);
            Assert.True(after[0].Has(Run));
            Assert.True(after[^1].Has(Exit));
            Assert.Equal("30", WandbReader.Items(after.Last(r => r.Has(History)).Nested(History))["objective/kl"]);
            Assert.Equal(Enumerable.Range(1, after.Count).Select(n => (ulong)n), after.Select(r => r.Varint(1)));
            Assert.Single(Directory.GetDirectories(folder.Path));
        }
        Assert.Equal(all.Count, seen);
    }

    [Fact]
    public void WithoutAnEarlierRunOneThatGoesOnIsNew()
    {
        Directory.CreateDirectory(Path.Combine(folder.Path, "offline-run-other"));
        using var sink = New(resumeAfterStep: 5);
        Assert.True(WandbReader.Read(sink.FilePath)[0].Has(Run));
    }
}
