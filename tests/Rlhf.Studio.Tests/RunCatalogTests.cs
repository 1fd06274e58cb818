using Rlhf.Runs;
using Rlhf.Studio.Pages.Runs;
using Rlhf.Studio.Runs;
using Rlhf.Tests;
using MetricCatalog = Rlhf.Runs.MetricCatalog;

namespace Rlhf.Studio.Tests;

public sealed class RunCatalogTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly RunCatalog catalog;

    public RunCatalogTests() => catalog = new(new() { RunsFolder = folder.Path });

    [Fact]
    public void RunsAreFoundUpToTwoFoldersDeepAndNothingElseIs()
    {
        StudioServer.MakeRun(folder.Path, "one");
        StudioServer.MakeRun(folder.Path, "sweep/two", verb: "sft");
        StudioServer.MakeRun(folder.Path, "a/b/too-deep");
        StudioServer.MakeRun(folder.Path, ".hidden");
        StudioServer.MakeRun(folder.Path, "one/checkpoints/inside-a-run");
        Directory.CreateDirectory(Path.Combine(folder.Path, "model-folder"));
        Assert.Equal(["one", "sweep/two"], catalog.List().Select(r => r.Id).Order());
    }

    [Fact]
    public void ARunsLastLineTellsHowItStands()
    {
        string run = StudioServer.MakeRun(folder.Path, "one", steps: 40, reward: 1);
        File.AppendAllText(Path.Combine(run, "metrics.jsonl"), """{"step":41,"time":"2026-01-02T0"""); // being written
        var info = catalog.Find("one")!;
        Assert.Equal(("ppo", 40L, 40L, RunState.Finished), (info.Verb, info.Step, info.TotalSteps, info.State));
        Assert.Equal(3.0, info.Value(MetricCatalog.Headlines.ToArray())!.Value.Value, 6);
        Assert.Equal(4.0, info.Value(MetricCatalog.Kl)!.Value.Value, 6);
        Assert.Equal(new DateTime(2026, 1, 2, 3, 4, 1, DateTimeKind.Utc), info.Started);
        Assert.Equal(new DateTime(2026, 1, 2, 3, 4, 40, DateTimeKind.Utc), info.Updated);
    }

    [Fact]
    public void ARunTookWhatItSaysItself()
    {
        string run = StudioServer.MakeRun(folder.Path, "one", steps: 40);
        Assert.Equal(TimeSpan.FromSeconds(39), catalog.Find("one")!.Took); // from the first step's end to the last's
        File.WriteAllText(Path.Combine(run, "run.json"),
            """
            {"verb":"sft","steps":160,"sessions":[
            {"command":"rlhf sft","started":"2026-01-02T05:03:30+02:00","version":"0.1.0","device":"cpu"},
            {"command":"rlhf sft","started":"2026-01-03T00:00:00Z","version":"0.1.0","device":"cpu"}]}
            """);
        Assert.Equal(160, catalog.Find("one")!.TotalSteps); // as counted from epochs, which config.yaml does not say
        Assert.Equal(new DateTime(2026, 1, 2, 3, 3, 30, DateTimeKind.Utc), catalog.Find("one")!.Started);
        Assert.Equal(TimeSpan.FromSeconds(70), catalog.Find("one")!.Took);
        File.WriteAllText(Path.Combine(run, "summary.json"), """{"seconds":81.5}""");
        Assert.Equal(TimeSpan.FromSeconds(81.5), catalog.Find("one")!.Took);
        File.Delete(Path.Combine(run, ".finished")); // resumed since, and killed: the summary is of before
        File.WriteAllText(Path.Combine(run, ".lock"), "");
        Assert.Equal((RunState.Killed, TimeSpan.FromSeconds(70)), (catalog.Find("one")!.State, catalog.Find("one")!.Took));
    }

    [Fact]
    public void ARunThatIsResumedTookWhatItTookBeforeAndSince()
    {
        string run = StudioServer.MakeRun(folder.Path, "one", steps: 40, finished: false); // its last step: 03:04:40
        File.WriteAllText(Path.Combine(run, "run.json"),
            """{"verb":"sft","steps":160,"sessions":[{"command":"rlhf sft","started":"2026-01-02T01:00:00Z","version":"0.1.0","device":"cpu"},"""
            + """{"command":"rlhf sft","started":"2026-01-02T03:04:20Z","version":"0.1.0","device":"cpu"}]}""");
        string summary = Path.Combine(run, "summary.json");
        File.WriteAllText(summary, """{"seconds":25}""");
        File.SetLastWriteTimeUtc(summary, new DateTime(2026, 1, 2, 2, 0, 0, DateTimeKind.Utc)); // stopped after 25 s of training, resumed an hour later
        Assert.Equal(TimeSpan.FromSeconds(25 + 20), catalog.Find("one")!.Took);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("""{"sessions":[],"seconds":-1}""")]
    [InlineData("""{"sessions":[7],"seconds":1e300}""")]
    [InlineData("""{"sessions":[{"started":"\\ud800"}],"seconds":"1"}""")]
    [InlineData("""{"sessions":{"started":1},"seconds":null}""")]
    public void TimesThatAreNoneArePassedOver(string json)
    {
        string run = StudioServer.MakeRun(folder.Path, "one", steps: 40);
        File.WriteAllText(Path.Combine(run, "run.json"), json);
        File.WriteAllText(Path.Combine(run, "summary.json"), json);
        Assert.Equal(TimeSpan.FromSeconds(39), catalog.Find("one")!.Took);
    }

    [Fact]
    public void ARunThatEndedEarlyIsStoppedOrKilledByItsLastCheckpoint()
    {
        string run = StudioServer.MakeRun(folder.Path, "one", steps: 12, finished: false);
        Assert.Equal(RunState.Killed, catalog.Find("one")!.State);
        Directory.CreateDirectory(Path.Combine(run, "checkpoints", "checkpoint-9"));
        Assert.Equal(RunState.Killed, catalog.Find("one")!.State);
        Directory.CreateDirectory(Path.Combine(run, "checkpoints", "checkpoint-12"));
        Directory.CreateDirectory(Path.Combine(run, "checkpoints", "checkpoint-99.damaged"));
        Assert.Equal((RunState.Stopped, 12L), (catalog.Find("one")!.State, catalog.Find("one")!.Checkpoint));
        Assert.True(catalog.Find("one")!.CanResume);
    }

    [Fact]
    public void RubbishIsPassedOver()
    {
        string run = StudioServer.MakeRun(folder.Path, "one", steps: 3);
        File.WriteAllText(Path.Combine(run, "metrics.jsonl"), """
            not json
            {"step":-4}
            {"step":"5"}
            [1]
            {"step":1,"a":"NaN","b":[1,{"c":2}],"env/reward_mean":1.5,"d":"text"}
            {"step":2,"a":7}{"step":3}
            {"step":2,"a":1e999,"env/reward_mean":2.5}

            """.ReplaceLineEndings("\n"));
        var data = new RunFeeds(catalog).Of("one");
        Assert.True(data.Update());
        Assert.False(data.Update());
        Assert.Equal([1L, 2], data.Series("env/reward_mean").Steps);
        Assert.Equal([1.5, 2.5], data.Series("env/reward_mean").Values);
        Assert.True(double.IsNaN(data.Series("a").Values[0]));
        Assert.Equal(2, catalog.Find("one")!.Step);
    }

    [Fact]
    public void SamplesAreThoseOfTheirStep()
    {
        string run = StudioServer.MakeRun(folder.Path, "one", steps: 5);
        File.AppendAllText(Path.Combine(run, "samples.jsonl"), """{"step":6,"table":"warnings","message":"KL is high"}""" + "\n");
        var data = new RunFeeds(catalog).Of("one");
        data.Update();
        Assert.Equal([1L, 2, 3, 4, 5], data.SampleSteps);
        Assert.Equal([new(4, "This film", " is text 0 of step 4", -1.5), new(4, "This film", " is text 1 of step 4", 0.5),
            new(4, "This film", " is text 2 of step 4", 1.5)],
            data.SamplesAt(4));
        Assert.Empty(data.SamplesAt(6));
    }

    [Fact]
    public void ALinkOutOfTheFolderIsNoRunAndNoFile()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need rights on Windows.");
        using var elsewhere = new Fixtures.TemporaryFolder();
        StudioServer.MakeRun(elsewhere.Path, "foreign");
        Directory.CreateSymbolicLink(Path.Combine(folder.Path, "foreign"), Path.Combine(elsewhere.Path, "foreign"));
        string run = StudioServer.MakeRun(folder.Path, "own");
        File.CreateSymbolicLink(Path.Combine(run, "report.html"), "/etc/passwd");
        Assert.Equal(["own"], catalog.List().Select(r => r.Id));
        Assert.Null(catalog.Find("foreign"));
        Assert.Null(catalog.FileOf("own", "report.html"));
        Assert.Null(catalog.FileOf("own", "../../../etc/passwd"));
        Assert.Null(catalog.Find("../" + Path.GetFileName(folder.Path) + "/own/../../x"));
    }

    [Fact]
    public void SettingsAreComparedByKey()
    {
        StudioServer.MakeRun(folder.Path, "one");
        StudioServer.MakeRun(folder.Path, "two", reward: 1);
        var rows = SettingsPanel.Rows([catalog.ConfigOf("one"), catalog.ConfigOf("two")]);
        Assert.Equal(["learning_rate"], rows.Where(r => r.Differs).Select(r => r.Key));
        Assert.Equal(("Models", "models/imdb-gpt2-tiny"), (rows[0].Section, rows[0].Values[0]));
    }

    [Theory]
    [InlineData("process 4711 on box since 2026-01-02 03:04:05\n", 4711, "box")]
    [InlineData("process 1 on box since now", null, null)] // never the first process
    [InlineData("process -5 on box since now", null, null)]
    [InlineData("process 99999999999999 on box since now", null, null)]
    [InlineData("kill -9 1", null, null)]
    [InlineData("", null, null)]
    public void TheHolderIsReadStrictly(string text, int? process, string? machine)
    {
        var holder = RunHolder.Parse(text);
        Assert.Equal((process, machine), (holder?.ProcessId, holder?.Machine));
    }

    [Fact]
    public void PhasesAddUpToTheStep()
    {
        StudioServer.MakeRun(folder.Path, "one");
        var data = new RunFeeds(catalog).Of("one");
        data.Update();
        var phases = Phases.Of(data);
        Assert.Equal(["Writing answers", "Scoring", "Training: backward", "Everything else"], phases.Select(p => p.Title));
        Assert.Equal(1.0, phases.Sum(p => p.Share), 6);
    }

    public void Dispose() => folder.Dispose();
}
