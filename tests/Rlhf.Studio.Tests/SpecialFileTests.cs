using System.Diagnostics;
using Rlhf.Studio.Labeling;
using Rlhf.Studio.Runs;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests;

/// <summary>Named pipes in place of the files that the studio reads: nothing waits for a writer.</summary>
public sealed class SpecialFileTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly string run;

    public SpecialFileTests()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows keeps pipes out of folders.");
        run = StudioServer.MakeRun(folder.Path, "one");
    }

    public void Dispose() => folder.Dispose();

    private static void MakePipe(string path)
    {
        File.Delete(path);
        using var make = Process.Start("mkfifo", [path]);
        make.WaitForExit();
        Assert.Equal(0, make.ExitCode);
    }

    private static Task<T> Within<T>(Func<T> read) => Task.Run(read).WaitAsync(TimeSpan.FromMinutes(5));

    [Theory]
    [InlineData("metrics.jsonl")]
    [InlineData("config.yaml")]
    [InlineData("samples.jsonl")]
    [InlineData(".lock")]
    [InlineData(".lock-owner")]
    [InlineData("report.html")]
    public async Task ARunIsListedWithoutThem(string name)
    {
        MakePipe(Path.Combine(run, name));
        var catalog = new RunCatalog(new() { RunsFolder = folder.Path });
        Assert.Equal("one", Assert.Single(await Within(catalog.List)).Id);
        Assert.Null(await Within(() => catalog.FileOf("one", name)));
        Assert.Null(await Within(() => name == ".lock-owner" ? RunHolder.Read(run) : null));
        await Within(() => new RunFeeds(catalog).Of("one").Update());
    }

    [Fact]
    public async Task PairsAndJournalsAreRefused()
    {
        var pairs = Path.Combine(folder.Path, "pairs.jsonl");
        MakePipe(pairs);
        Assert.Empty(await Within(new PairSources(new() { RunsFolder = folder.Path }).List));
        var journal = Path.Combine(folder.Path, "labels.journal.jsonl");
        MakePipe(journal);
        var error = await Within(() => Record.Exception(new LabelJournal(journal).Update));
        Assert.Contains($"{journal} is a named pipe", Assert.IsType<IOException>(error).Message);
    }
}
