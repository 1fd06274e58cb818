using System.Globalization;
using Microsoft.Playwright;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests.Browser;

public sealed class RunsPageTests(Chromium chromium) : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly List<string> errors = [];

    [Fact]
    public async Task RunsAreComparedInCurvesSamplesSettingsAndTime()
    {
        StudioServer.MakeRun(folder.Path, "first", steps: 40);
        StudioServer.MakeRun(folder.Path, "sweep/second", steps: 30, reward: 2);
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address);
        await Assertions.Expect(page.Locator("[data-run]")).ToHaveCountAsync(2);
        var reward = page.Locator("#chart-env-reward_mean");
        await Assertions.Expect(reward.Locator("path.curve:not(.raw)")).ToHaveCountAsync(1);
        await page.GetByRole(AriaRole.Checkbox, new() { Name = "Show sweep/second" }).ClickAsync();
        await Assertions.Expect(reward.Locator("path.curve:not(.raw)")).ToHaveCountAsync(2);
        await Assertions.Expect(page).ToHaveURLAsync(new System.Text.RegularExpressions.Regex("(?i)run=sweep%2Fsecond"));

        // The value at the pointer, without smoothing: 0.05 a step.
        await page.GetByRole(AriaRole.Slider, new() { Name = "Smoothing" }).FillAsync("0");
        await Assertions.Expect(reward.Locator("path.raw")).ToHaveCountAsync(0);
        var box = (await reward.Locator(".chart-plot").BoundingBoxAsync())!;
        await page.Mouse.MoveAsync(box.X + box.Width * 19 / 39f, box.Y + 50);
        var tip = page.Locator(".chart-tip.shown");
        await Assertions.Expect(tip).ToContainTextAsync("step 20");
        await Assertions.Expect(tip).ToContainTextAsync("first1.000");
        await Assertions.Expect(tip).ToContainTextAsync("sweep/second3.000");

        // Keys do the same, and go from tab to tab.
        await reward.Locator(".chart-plot").FocusAsync();
        await page.Keyboard.PressAsync("End");
        await Assertions.Expect(tip).ToContainTextAsync("step 40");
        await page.GetByRole(AriaRole.Tab, new() { Name = "Curves" }).FocusAsync();
        await page.Keyboard.PressAsync("ArrowRight");
        await Assertions.Expect(page.Locator(".samples").First).ToContainTextAsync("is text 2 of step 40");
        await Assertions.Expect(page.Locator(".samples").Nth(1)).ToContainTextAsync("is text 2 of step 30");
        await page.GetByRole(AriaRole.Slider, new() { Name = "Step" }).FillAsync("6");
        await Assertions.Expect(page.Locator(".samples").Nth(1)).ToContainTextAsync("is text 0 of step 7");
        await page.Keyboard.PressAsync("Tab");

        await page.GetByRole(AriaRole.Tab, new() { Name = "Settings" }).ClickAsync();
        await Assertions.Expect(page.Locator(".settings tr.differs th")).ToHaveTextAsync(["steps", "learning_rate"]);
        await page.GetByRole(AriaRole.Tab, new() { Name = "Time" }).ClickAsync();
        await Assertions.Expect(page.Locator(".phases").First).ToContainTextAsync("Writing answers");
        Assert.Empty(errors);
    }

    [Fact]
    public async Task ANewRunAppearsAndGrowsWithoutReloading()
    {
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address);
        await Assertions.Expect(page.GetByRole(AriaRole.Heading, new() { Name = "No runs here yet" })).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator(".command code")).ToContainTextAsync("rlhf ppo --output");
        string run = StudioServer.MakeRun(folder.Path, "new", steps: 3, finished: false);
        await Assertions.Expect(page.Locator("[data-run=new] .run-step")).ToContainTextAsync("3 / 3");
        await File.AppendAllTextAsync(Path.Combine(run, "metrics.jsonl"), StudioServer.Metrics(4, 7.25) + "\n" + """{"step":5,"time":"20""");
        await Assertions.Expect(page.Locator("[data-run=new] .run-step")).ToContainTextAsync("4 / 3");
        await Assertions.Expect(page.Locator("#chart-env-reward_mean .chart-plot")).ToHaveAttributeAsync("aria-label", new System.Text.RegularExpressions.Regex("at step 4$"));
        Assert.Empty(errors);
    }

    [Fact]
    public async Task WhatARunHoldsIsTextAndNeverMarkup()
    {
        const string hostile = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>";
        string run = StudioServer.MakeRun(folder.Path, "<b>bold<b>", steps: 2);
        File.WriteAllLines(Path.Combine(run, "samples.jsonl"),
            [System.Text.Json.JsonSerializer.Serialize(new { step = 2, table = "game_log", query = hostile, response = hostile, reward = 1 })]);
        File.AppendAllText(Path.Combine(run, "metrics.jsonl"),
            System.Text.Json.JsonSerializer.Serialize(new Dictionary<string, object> { ["step"] = 3, ["x/\"><script>1</script>"] = 1 }) + "\n");
        File.AppendAllText(Path.Combine(run, "config.yaml"), $"judge: \"{hostile}\"\n");
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        foreach (var tab in new[] { "curves", "samples", "settings", "time" })
        {
            await page.OpenAsync(studio.Address, $"/?tab={tab}");
            Assert.Equal(0, await page.Locator("main img, main script, main b:not(.chart-tip b)").CountAsync());
        }
        await page.OpenAsync(studio.Address, "/?tab=samples");
        await Assertions.Expect(page.Locator(".texts .response")).ToHaveTextAsync(hostile);
        Assert.StartsWith("Runs", await page.TitleAsync(), StringComparison.Ordinal);
        Assert.Empty(errors);
    }

    [Theory]
    [InlineData(360, ColorScheme.Light)]
    [InlineData(390, ColorScheme.Dark)]
    [InlineData(1280, ColorScheme.Light)]
    public async Task EveryPageFitsItsWindowAndHasItsColours(int width, ColorScheme scheme)
    {
        StudioServer.MakeRun(folder.Path, "a-run-with-a-rather-long-name-that-somebody-gave-it", steps: 3);
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path, Model = folder.Path, ShippedModel = folder.Path });
        var page = await chromium.PageAsync(errors, width, scheme: scheme);
        foreach (var path in new[] { "/", "/?tab=samples", "/?tab=settings", "/?tab=time", "/playground", "/label", "/no-such-page" })
        {
            await page.GotoAsync(new Uri(studio.Address, path).AbsoluteUri);
            await Assertions.Expect(page.Locator("h1")).ToBeVisibleAsync();
            Assert.Equal((path, width), (path, await page.EvaluateAsync<int>("() => document.documentElement.scrollWidth")));
        }
        await using var empty = await StudioServer.StartAsync(new() { RunsFolder = folder.Path + "/" + new string('x', 80) + "/no-runs-in-here" });
        foreach (var path in new[] { "/", "/playground", "/label" })
        {
            await page.GotoAsync(new Uri(empty.Address, path).AbsoluteUri);
            await Assertions.Expect(page.Locator(".empty .command")).ToBeVisibleAsync();
            Assert.Equal((path, width), (path, await page.EvaluateAsync<int>("() => document.documentElement.scrollWidth")));
            Assert.True(await page.EvaluateAsync<bool>("() => document.querySelector('.empty .command').getBoundingClientRect().right <= innerWidth"));
        }
        await page.OpenAsync(studio.Address);
        Task<int> Lightness() => page.EvaluateAsync<int>("() => Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])");
        bool isDark = scheme == ColorScheme.Dark;
        Assert.Equal(isDark, await Lightness() < 128);
        foreach (var expected in new[] { false, true, isDark }) // light, dark, and the system's again
        {
            await page.Locator("#theme").ClickAsync();
            Assert.Equal(expected, await Lightness() < 128);
        }
    }

    [Fact]
    public async Task EveryStopOfTheTabKeyIsSeenAndATabListOrChartIsOne()
    {
        StudioServer.MakeRun(folder.Path, "first", steps: 40, finished: false);
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address);
        await Assertions.Expect(page.Locator("h1")).ToBeFocusedAsync(); // a new page's heading is read first
        List<(string What, string Outline)> stops = [];
        while (stops.Count < 100)
        {
            await page.Keyboard.PressAsync("Tab");
            string[] stop = await page.EvaluateAsync<string[]>("""
                () => {
                    const at = document.activeElement, style = getComputedStyle(at);
                    const what = at === document.body ? 'body' : at.id || at.closest('figure')?.id || at.type || at.textContent;
                    return [`${at.getAttribute('role') ?? at.localName} ${what}`, `${style.outlineStyle} ${style.outlineWidth}`];
                }
                """);
            if (stops.Count > 0 && stops[0].What == stop[0])
                break; // once around
            stops.Add((stop[0], stop[1]));
        }
        stops.RemoveAll(s => s.What == "body body"); // between the last stop and the first
        Assert.All(stops, stop => Assert.Equal((stop.What, "solid 2px"), stop));
        string[] kinds = [.. stops.Select(s => s.What.Split(' ')[0])];
        Assert.Superset(new HashSet<string> { "a", "button", "checkbox", "tab", "input", "img" }, kinds.ToHashSet());
        Assert.Equal(["tab tab-curves"], stops.Select(s => s.What).Where(s => s.StartsWith("tab ", StringComparison.Ordinal)));
        Assert.Contains("input range", stops.Select(s => s.What));
        int charts = await page.Locator(".chart").CountAsync();
        Assert.True(charts > 5);
        Assert.Equal(charts, stops.Count(s => s.What.Contains("chart-", StringComparison.Ordinal)));

        // By keys a chart tells what it shows, and the stop among the tabs goes along with the choice.
        var plot = page.Locator("#chart-objective-kl .chart-plot");
        await page.Locator("#chart-env-reward_mean .chart-plot").FocusAsync();
        await page.Keyboard.PressAsync("Tab");
        await Assertions.Expect(plot).ToBeFocusedAsync();
        const string meaning = "How far the policy has moved";
        await Assertions.Expect(plot).ToHaveAccessibleDescriptionAsync(new System.Text.RegularExpressions.Regex("^" + meaning));
        await Assertions.Expect(page.Locator(".chart-tip.shown")).ToContainTextAsync(meaning);
        await page.GetByRole(AriaRole.Tab, new() { Name = "Curves" }).FocusAsync();
        await page.Keyboard.PressAsync("ArrowRight");
        await Assertions.Expect(page.Locator("[role=tab][tabindex='0']")).ToHaveTextAsync(["Samples"]);
        await page.GetByRole(AriaRole.Slider, new() { Name = "Step" }).FocusAsync();
        await page.Keyboard.PressAsync("Tab");
        await Assertions.Expect(page.GetByRole(AriaRole.Switch, new() { Name = "Newest" })).ToBeFocusedAsync();
        await Assertions.Expect(page.Locator(".mud-switch-span")).ToHaveCSSAsync("outline-style", "solid"); // its input is not seen
        await page.GetByRole(AriaRole.Tab, new() { Name = "Samples" }).FocusAsync();
        await page.Keyboard.PressAsync("End");
        await Assertions.Expect(page.Locator(".phases")).ToContainTextAsync("mean of the last 20 steps");
        await Assertions.Expect(page.Locator("[role=tab][tabindex='0']")).ToHaveTextAsync(["Time"]);
        await Assertions.Expect(page.GetByRole(AriaRole.Tab, new() { Name = "Time" })).ToBeFocusedAsync();
        Assert.Empty(errors);
    }

    [Fact]
    public async Task CurvesOfAChartAreSmoothedAlikeAndWhatAverageWouldBendIsDrawnAsItIs()
    {
        StudioServer.MakeRun(folder.Path, "long", steps: 40);
        StudioServer.MakeRun(folder.Path, "short", steps: 4);
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/?run=long&run=short");
        await Assertions.Expect(page.Locator("#chart-env-reward_mean path.curve.raw[d]")).ToHaveCountAsync(2); // where one is smoothed, all are: they are compared
        await Assertions.Expect(page.Locator("#chart-objective-kl_coef path.raw")).ToHaveCountAsync(0);
        await Assertions.Expect(page.Locator("#chart-ppo-learning_rate path.raw")).ToHaveCountAsync(0);
        await Assertions.Expect(page.GetByRole(AriaRole.Slider, new() { Name = "Smoothing" })).ToBeEnabledAsync();
        await page.OpenAsync(studio.Address, "/?run=short");
        await Assertions.Expect(page.GetByRole(AriaRole.Slider, new() { Name = "Smoothing" })).ToBeDisabledAsync();
        await Assertions.Expect(page.Locator(".tools output")).ToHaveTextAsync("off");
        Assert.Empty(errors);
    }

    [Fact]
    public async Task ALinkToARunThatIsGoneSaysSoAndShowsNoOther()
    {
        StudioServer.MakeRun(folder.Path, "other", steps: 4);
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/?run=gone");
        await Assertions.Expect(page.Locator(".notice")).ToHaveTextAsync("The run gone is not in this folder any more.");
        await Assertions.Expect(page.Locator(".run.selected")).ToHaveCountAsync(0);
        await page.GetByRole(AriaRole.Checkbox, new() { Name = "Show other" }).ClickAsync();
        await Assertions.Expect(page.Locator(".notice")).ToHaveCountAsync(0);
        Assert.Empty(errors);
    }

    [Fact]
    public async Task ASinglePointCanBeSeen()
    {
        StudioServer.MakeRun(folder.Path, "one", steps: 1);
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address, "/?run=one");
        await Assertions.Expect(page.Locator("#chart-env-reward_mean path.curve.point")).ToHaveCSSAsync("stroke-width", "8px");
        Assert.Empty(errors);
    }

    [Fact]
    public async Task CommandsAreWordsOfAShell()
    {
        string runs = Path.Combine(folder.Path, "my runs");
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = runs });
        var page = await chromium.PageAsync(errors);
        string ppo = $"rlhf ppo --output '{Path.Combine(runs, "first")}'";
        string sample = $"rlhf pairs sample --out '{Path.Combine(runs, "pairs.jsonl")}'";
        foreach (var (path, command) in new[] { ("/", ppo), ("/playground", ppo), ("/label", sample) })
        {
            await page.OpenAsync(studio.Address, path);
            await Assertions.Expect(page.Locator(".command code")).ToHaveTextAsync(command);
        }
        Assert.Empty(errors);
    }

    [Fact]
    public async Task TenThousandStepsAreDrawnInFourHundredPoints()
    {
        StudioServer.MakeRun(folder.Path, "long", steps: 10_000);
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path });
        var page = await chromium.PageAsync(errors);
        await page.OpenAsync(studio.Address);
        var plot = page.Locator("#chart-env-reward_mean .chart-plot");
        string data = (await plot.GetAttributeAsync("data-chart"))!;
        var x = System.Text.Json.JsonDocument.Parse(data).RootElement.GetProperty("series")[0].GetProperty("x");
        Assert.Equal((400, 1, 10_000), (x.GetArrayLength(), x[0].GetInt32(), x[399].GetInt32()));
        await page.GetByRole(AriaRole.Slider, new() { Name = "Smoothing" }).FillAsync("0.9");
        await Assertions.Expect(page.Locator("output").First).ToHaveTextAsync(0.9.ToString("0.00", CultureInfo.InvariantCulture));
        Assert.Empty(errors);
    }

    [Fact]
    public async Task TheTokenIsAskedForOnce()
    {
        StudioServer.MakeRun(folder.Path, "hidden", steps: 3);
        await using var studio = await StudioServer.StartAsync(new() { RunsFolder = folder.Path, Token = "correct-horse-battery" });
        var page = await chromium.PageAsync(errors);
        await page.GotoAsync(studio.Address.AbsoluteUri);
        await page.GetByLabel("Token").FillAsync("correct-horse-battery");
        await page.GetByRole(AriaRole.Button, new() { Name = "Open the studio" }).ClickAsync();
        await Assertions.Expect(page.Locator("[data-run=hidden]")).ToBeVisibleAsync();
        await page.OpenAsync(studio.Address, "/playground");
        Assert.Empty(errors);
    }

    public void Dispose() => folder.Dispose();
}
