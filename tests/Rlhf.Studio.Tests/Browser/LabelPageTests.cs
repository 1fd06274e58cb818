using Microsoft.Playwright;
using Rlhf.Data;
using Rlhf.Studio.Runs;
using Rlhf.Tests;
using Rlhf.Tests.Cli;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>From pairs by the keyboard to a reward model.</summary>
[Collection("toy models")]
public sealed class LabelPageTests(Chromium chromium, ToyModels toys)
{
    private readonly List<string> errors = [];

    [Fact]
    public async Task LabelsByKeyboardTrainARewardModel()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string pairs = Path.Combine(folder.Path, "pairs.jsonl"), labels = Path.Combine(folder.Path, "labelled.jsonl");
        PairFile.Save(pairs, Enumerable.Range(0, 16).Select(i =>
            new ResponsePair($"p{i}", $"Film {i}", i == 3 ? " <b>fell</b> apart" : " was a dull mess", $" made me smile {i}", "policy")));
        string runs = Path.Combine(folder.Path, "runs");
        await using var studio = await StudioServer.StartAsync(new()
        {
            RunsFolder = runs,
            Pairs = pairs,
            Labels = labels,
            RepeatEvery = 0,
            ShippedModel = toys.PathOf("policy"),
            Command = ["dotnet", Path.Combine(AppContext.BaseDirectory, "Rlhf.Cli.dll")],
        });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/label");

        // A name is typed, and its letters are no decisions.
        await page.GetByLabel("Your name").FillAsync("");
        await page.GetByLabel("Your name").PressSequentiallyAsync("stu1");
        await page.GetByLabel("Your name").PressAsync("Tab");
        await Assertions.Expect(page).ToHaveURLAsync(new Uri(studio.Address, "/label?labeler=stu1").AbsoluteUri);
        Assert.False(File.Exists(labels));

        await Press(page, "2", "p0", "p1");
        await Press(page, "t", "p1", "p2");
        await Press(page, "s", "p2", "p3");
        await Assertions.Expect(page.Locator(".pair-text").First).ToContainTextAsync("<b>fell</b> apart"); // text, not markup
        await Press(page, "1", "p3", "p4");
        await Assertions.Expect(page.Locator(".label-said")).ToHaveTextAsync("Saved: the first is better.");
        Assert.Equal([" made me smile 0", " <b>fell</b> apart"], PreferenceDataset.Load(labels).Select(p => p.Chosen));
        await Press(page, "u", "p4", "p3");
        Assert.Equal([" made me smile 0"], PreferenceDataset.Load(labels).Select(p => p.Chosen));
        for (int i = 3; i < 15; i++)
            await Press(page, "2", $"p{i}", $"p{i + 1}");
        await page.GetByRole(AriaRole.Button, new() { Name = "Second is better" }).ClickAsync();
        await Assertions.Expect(page.GetByText("Every pair is judged")).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator("[data-count=labels]")).ToHaveTextAsync("14");
        await Assertions.Expect(page.Locator("[data-count=ties]")).ToHaveTextAsync("1");
        Assert.DoesNotContain("policy", await page.Locator(".next ~ *, .habits").First.InnerTextAsync(), StringComparison.Ordinal);

        // A reload goes on where one stopped, under the same name.
        await page.ReloadAsync();
        await Assertions.Expect(page.Locator("[data-count=labels]")).ToHaveTextAsync("14");
        Assert.All(File.ReadAllLines(labels), line => Assert.Contains("\"labeler\":\"stu1\"", line, StringComparison.Ordinal));

        // The real command, as the page says it.
        string command = (await page.Locator(".next [data-copy]").First.GetAttributeAsync("data-copy"))!;
        Assert.StartsWith("rlhf reward --model ", command, StringComparison.Ordinal);
        RlhfCommand.Succeed(Environment.CurrentDirectory, [.. command.Split(' ').Skip(1), "--threads", "1"]);
        string trained = Path.Combine(runs, "reward-labelled", "model");
        Assert.True(File.Exists(Path.Combine(trained, "config.json")));
        Assert.Empty(errors);
    }

    [Fact]
    public async Task TheTrainingIsStartedFromThePage()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Runs are started by a shell.");
        using var folder = new Fixtures.TemporaryFolder();
        string runs = Directory.CreateDirectory(Path.Combine(folder.Path, "runs")).FullName;
        PairFile.Save(Path.Combine(runs, "pairs.jsonl"), Enumerable.Range(0, 12).Select(i =>
            new ResponsePair($"p{i}", $"Film {i}", " was a dull mess", $" made me smile {i}", "policy")));
        await using var studio = await StudioServer.StartAsync(new()
        {
            RunsFolder = runs,
            ShippedModel = toys.PathOf("policy"),
            Command = ["dotnet", Path.Combine(AppContext.BaseDirectory, "Rlhf.Cli.dll")],
        });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/label");
        await Assertions.Expect(page.GetByRole(AriaRole.Button, new() { Name = "Train a reward model now" })).ToBeDisabledAsync();
        for (int i = 0; i < 11; i++)
        {
            string shown = await page.Locator(".pair").GetAttributeAsync("data-pair") ?? "";
            await page.Keyboard.PressAsync("2");
            await Assertions.Expect(page.Locator($".pair[data-pair={shown}]")).ToHaveCountAsync(0);
        }
        await Assertions.Expect(page.Locator(".next .command code", new() { HasText = "rlhf dpo" })).ToContainTextAsync("--append-end-token false");
        await Assertions.Expect(page.GetByRole(AriaRole.Button, new() { Name = "Train the language model by KTO now" })).ToBeEnabledAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Train a reward model now" }).ClickAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Train", Exact = true }).ClickAsync();
        await Assertions.Expect(page.Locator("[data-run=reward-pairs-labelled] [data-state=finished]"))
            .ToBeVisibleAsync(new() { Timeout = 300_000 });
        Assert.True(studio.Service<RunCatalog>().Find("reward-pairs-labelled")!.HasModel);
        Assert.Empty(errors);
    }

    [Fact]
    public async Task WithoutPairsThePageSaysHowToMakeSome()
    {
        using var folder = new Fixtures.TemporaryFolder();
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/label");
        await Assertions.Expect(page.Locator(".command code")).ToContainTextAsync("rlhf pairs sample --out ");
        Assert.Empty(errors);
    }

    [Fact]
    public async Task DamagedPairsAreNamed()
    {
        using var folder = new Fixtures.TemporaryFolder();
        File.WriteAllText(Path.Combine(folder.Path, "pairs.jsonl"), "{\"prompt\":\"x\",\"response_a\":\"a\",\"response_b\":\"b\"}\n{oh\n");
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/label");
        await Assertions.Expect(page.GetByRole(AriaRole.Alert).First).ToContainTextAsync("line 2");
        Assert.Empty(errors);
    }

    private static async Task Press(IPage page, string key, string shown, string next)
    {
        await Assertions.Expect(page.Locator(".pair")).ToHaveAttributeAsync("data-pair", shown);
        await page.Keyboard.PressAsync(key);
        await Assertions.Expect(page.Locator(".pair")).ToHaveAttributeAsync("data-pair", next);
    }
}
