using System.Diagnostics;
using System.Globalization;
using Microsoft.Playwright;
using Rlhf.Runs;
using Rlhf.Studio.Runs;
using Rlhf.Tests.Cli;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>A real training, followed, stopped and resumed from the page.</summary>
[Collection("toy models")]
public sealed class LiveRunTests(Chromium chromium, ToyModels toys)
{
    [Fact]
    public async Task ARunIsFollowedStoppedAndResumed()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Runs are stopped on Linux only.");
        string runs = toys.PathOf("runs");
        using var training =
            RlhfCommand.Start(toys.Folder, "ppo", "--model", toys.PathOf("policy"), "--reward-model", toys.PathOf("classifier"),
            "--dataset", toys.PathOf("reviews.csv"), "--longer-than", "0", "--steps", "5000", "--batch-size", "8", "--mini-batch-size", "4",
            "--eval-queries", "6", "--save-every", "100000", "--threads", "1", "--output", Path.Combine(runs, "live"));
        await using var studio = await StudioServer.StartAsync(new()
        {
            RunsFolder = runs,
            Command = ["dotnet", Path.Combine(AppContext.BaseDirectory, "Rlhf.Cli.dll")],
        });
        List<string> errors = [];
        int? resumed = null;
        try
        {
            var page = await chromium.PageAsync(errors);
            await page.OpenAsync(studio.Address);
            var row = page.Locator("[data-run=live]");
            await Assertions.Expect(row.Locator("[data-state=running]")).ToBeVisibleAsync(new() { Timeout = 300_000 });
            long step = await Step(row, 0);
            await Step(row, step); // it grows

            await row.GetByRole(AriaRole.Button, new() { Name = "Stop" }).ClickAsync();
            await page.GetByRole(AriaRole.Button, new() { Name = "Cancel" }).ClickAsync();
            Assert.False(training.HasExited);
            await row.GetByRole(AriaRole.Button, new() { Name = "Stop" }).ClickAsync();
            await page.GetByRole(AriaRole.Button, new() { Name = "Stop the run" }).ClickAsync();
            await Assertions.Expect(row.Locator("[data-state=stopped]")).ToBeVisibleAsync(new() { Timeout = 300_000 });
            await training.WaitForExitAsync(TestContext.Current.CancellationToken);
            long stoppedAt = studio.Service<RunCatalog>().Find("live")!.Step;
            Assert.Equal(stoppedAt, studio.Service<RunCatalog>().Find("live")!.Checkpoint);

            await row.GetByRole(AriaRole.Button, new() { Name = "Resume" }).ClickAsync();
            await page.GetByRole(AriaRole.Button, new() { Name = "Resume the run" }).ClickAsync();
            await Assertions.Expect(row.Locator("[data-state=running]")).ToBeVisibleAsync(new() { Timeout = 300_000 });
            studio.Service<RunCatalog>().Refresh();
            resumed = studio.Service<RunCatalog>().Find("live")!.Holder!.ProcessId;
            Assert.NotEqual(training.Id, resumed);
            await Step(row, stoppedAt);
            Assert.Contains($"Resuming after step {stoppedAt.ToString("N0", CultureInfo.InvariantCulture)}",
                File.ReadAllText(Path.Combine(runs, "live", RunFiles.ResumeLog)), StringComparison.Ordinal);
            Assert.Empty(errors);
        }
        finally
        {
            End(training);
            if (resumed is { } id)
                try
                {
                    End(Process.GetProcessById(id));
                }
                catch (ArgumentException)
                {
                    // It has ended, as it should.
                }
        }
    }

    /// <summary>Waits until the row shows a later step, and returns it.</summary>
    private static async Task<long> Step(ILocator row, long after)
    {
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < TimeSpan.FromMinutes(5); await Task.Delay(100))
            if (long.TryParse((await row.Locator(".run-step").InnerTextAsync()).Split('/')[0].Trim(), NumberStyles.AllowThousands,
                CultureInfo.InvariantCulture, out long step) && step > after)
                return step;
        throw new TimeoutException($"The page still shows step {after}.");
    }

    private static void End(Process process)
    {
        if (!process.HasExited)
            process.Kill();
    }
}
