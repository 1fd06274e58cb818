using System.Diagnostics;
using Rlhf.Runs;
using Rlhf.Studio.Runs;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests;

/// <summary>Nothing but the run itself is ever signalled. That a real run stops and goes on is shown in LiveRunTests.</summary>
public sealed class RunActionsTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly string run;
    private readonly RunCatalog catalog;
    private readonly RunActions actions;

    public RunActionsTests()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Runs are stopped on Linux only.");
        run = StudioServer.MakeRun(folder.Path, "one", finished: false);
        var options = new StudioOptions { RunsFolder = folder.Path, Command = ["/bin/false"] };
        catalog = new(options);
        actions = new(catalog, options);
    }

    [Fact]
    public void AProcessThatHasNoLockIsNotTheRun()
    {
        using var stranger = Process.Start("sleep", "60");
        try
        {
            Own(stranger.Id);
            File.WriteAllText(Path.Combine(run, ".lock"), "");
            Assert.Equal(RunState.Killed, catalog.Find("one")!.State);
            Assert.False(actions.Stop("one").Done);
            Assert.False(stranger.HasExited);
        }
        finally
        {
            stranger.Kill();
        }
    }

    [Fact]
    public void AProcessThatHasTheLockAndIsNoTrainingIsLeftAlone()
    {
        using var held = new FileStream(Path.Combine(run, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        Own(Environment.ProcessId); // this test's process: a signal would end it
        Assert.Equal(RunState.Running, catalog.Find("one")!.State);
        Assert.Equal(true, HolderCheck.HoldsLock(run, Environment.ProcessId));
        var result = actions.Stop("one");
        Assert.False(result.Done);
        Assert.Contains("nothing was done", result.Message, StringComparison.Ordinal);
        Assert.False(actions.IsStopping(catalog.Find("one")!));
    }

    [Fact]
    public void ATrainingThatHasTheLockOfAnotherRunIsLeftAlone()
    {
        string other = StudioServer.MakeRun(folder.Path, "other", finished: false);
        File.WriteAllText(Path.Combine(run, ".lock"), "");
        using var held = new FileStream(Path.Combine(other, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        Own(Environment.ProcessId);
        Assert.Equal(false, HolderCheck.HoldsLock(run, Environment.ProcessId));
        Assert.Equal(RunState.Killed, catalog.Find("one")!.State);
    }

    [Fact]
    public void ARunOnAnotherMachineIsStoppedThere()
    {
        using var held = new FileStream(Path.Combine(run, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        File.WriteAllText(Path.Combine(run, ".lock-owner"),
            $"process {Environment.ProcessId} on another-machine since 2026-01-02 03:04:05\n");
        Assert.Equal(RunState.Running, catalog.Find("one")!.State);
        Assert.Equal("It runs on another-machine; stop it there.", actions.Stop("one").Message);
    }

    [Fact]
    public async Task AResumeThatFailsSaysSoAndLeavesItsLog()
    {
        var result = await actions.ResumeAsync("one", TestContext.Current.CancellationToken);
        Assert.False(result.Done);
        Assert.StartsWith("It could not be resumed", result.Message, StringComparison.Ordinal);
        Assert.Contains("rlhf ended with 1", File.ReadAllText(Path.Combine(run, RunFiles.ResumeLog)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OnlyRunsOfTheFolderThatEndedEarlyAreResumed()
    {
        StudioServer.MakeRun(folder.Path, "done");
        Assert.Equal("It is finished.", (await actions.ResumeAsync("done")).Message);
        Assert.Equal("There is no such run.", (await actions.ResumeAsync("../x")).Message);
        File.CreateSymbolicLink(Path.Combine(run, RunFiles.ResumeLog), Path.Combine(folder.Path, "elsewhere"));
        Assert.Contains("is a link", (await actions.ResumeAsync("one")).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(folder.Path, "elsewhere")));
    }

    public void Dispose() => folder.Dispose();

    private void Own(int process) => File.WriteAllText(Path.Combine(run, ".lock-owner"),
        $"process {process} on {Environment.MachineName} since 2026-01-02 03:04:05\n");
}
