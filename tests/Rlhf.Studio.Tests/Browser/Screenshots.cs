using Microsoft.Playwright;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>
/// Pictures of every page for people to look at, when asked for (-explicit only): RLHF_SCREENSHOTS names the folder that they go to,
/// RLHF_SCREENSHOT_RUNS a folder of real runs, and RLHF_SCREENSHOT_QUERY, such as <c>&amp;run=a&amp;run=b</c>, which of them.
/// </summary>
public sealed class Screenshots(Chromium chromium)
{
    [Fact(Explicit = true)]
    public async Task OfEveryPage()
    {
        string? folder = Environment.GetEnvironmentVariable("RLHF_SCREENSHOTS");
        string? runs = Environment.GetEnvironmentVariable("RLHF_SCREENSHOT_RUNS");
        Assert.SkipWhen(folder is null || runs is null, "RLHF_SCREENSHOTS and RLHF_SCREENSHOT_RUNS name no folders.");
        string models = Path.Combine(Rlhf.Tests.Fixtures.Repository(), "models");
        await using var studio = await StudioServer.StartAsync(new()
        {
            RunsFolder = runs,
            ShippedModel = Path.Combine(models, "imdb-gpt2-tiny"),
            RewardModel = Path.Combine(models, "imdb-distilbert-tiny"),
            Judge = Path.Combine(models, "imdb-bert-tiny"),
            Queries = Path.Combine(models, "queries.jsonl"),
        });
        await using var empty =
            await StudioServer.StartAsync(new() { RunsFolder = "runs-that-are-not-there", Token = "twelve-characters" });
        string query = Environment.GetEnvironmentVariable("RLHF_SCREENSHOT_QUERY") ?? "";
        foreach (var (name, width, scheme) in new[] { ("light", 1280, ColorScheme.Light), ("dark", 1280, ColorScheme.Dark),
            ("phone", 390, ColorScheme.Light), ("phone-dark", 360, ColorScheme.Dark) })
        {
            var page = await chromium.PageAsync(null, width, 900, scheme);
            foreach (var tab in new[] { "curves", "samples", "settings", "time" })
            {
                await page.OpenAsync(studio.Address, $"/?tab={tab}{query}");
                await page.WaitForTimeoutAsync(500);
                await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{tab}-{name}.png"), FullPage = true });
            }
            await page.OpenAsync(studio.Address, $"/?{query}");
            var plot = (await page.Locator(".chart-plot").First.BoundingBoxAsync())!;
            await page.Mouse.MoveAsync(plot.X + plot.Width * 0.42f, plot.Y + 40);
            await page.WaitForTimeoutAsync(300);
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"runs-{name}.png") });
            await page.Locator(".tools .term").First.HoverAsync();
            if (await page.Locator("button:has-text('Stop')").CountAsync() > 0)
                await page.Locator("button:has-text('Stop')").First.ClickAsync();
            await page.WaitForTimeoutAsync(600);
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"asked-{name}.png") });
            await page.GotoAsync(empty.Address.AbsoluteUri);
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"login-{name}.png") });
            await page.GotoAsync(new Uri(empty.Address, "/?token=twelve-characters").AbsoluteUri);
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"empty-{name}.png") });
            await page.OpenAsync(empty.Address, "/playground");
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"playground-empty-{name}.png") });
            await page.SetViewportSizeAsync(width, 790);
            await page.OpenAsync(studio.Address, "/playground");
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"playground-before-{name}.png"), FullPage = true });
            await page.GetByRole(AriaRole.Button, new() { Name = "Answer", Exact = true }).ClickAsync();
            await page.Locator("article[data-done=true]").Nth(1).WaitForAsync();
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"playground-{name}.png"), FullPage = true });
            await page.Locator(".after .token").First.FocusAsync();
            await page.Keyboard.PressAsync("ArrowRight");
            await page.WaitForTimeoutAsync(300);
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"playground-token-{name}.png") });
            await page.OpenAsync(studio.Address, $"/?{query}");
            await page.Locator(".chart-plot").Nth(1).FocusAsync();
            await page.Keyboard.PressAsync("Tab");
            await page.WaitForTimeoutAsync(500);
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"focus-{name}.png") });
            await page.Context.CloseAsync();
        }
    }
}
