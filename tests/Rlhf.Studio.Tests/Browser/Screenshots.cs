using Microsoft.Playwright;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>
/// Pictures of every page for people to look at: RLHF_SCREENSHOTS names the folder that they go to, and RLHF_SCREENSHOT_RUNS a folder of real
/// runs. Not a test.
/// </summary>
public sealed class Screenshots(Chromium chromium)
{
    [Fact]
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
        string query = Environment.GetEnvironmentVariable("RLHF_SCREENSHOT_QUERY") ?? "";
        foreach (var (name, width, scheme) in new[] { ("light", 1280, ColorScheme.Light), ("dark", 1280, ColorScheme.Dark),
            ("phone", 390, ColorScheme.Light), ("phone-dark", 390, ColorScheme.Dark) })
        {
            var page = await chromium.PageAsync(null, width, 900, scheme);
            foreach (var tab in new[] { "curves", "samples", "settings", "time" })
            {
                await page.OpenAsync(studio.Address, $"/?tab={tab}{query}");
                await page.WaitForTimeoutAsync(500);
                await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{tab}-{name}.png"), FullPage = true });
            }
            await page.OpenAsync(studio.Address, "/playground");
            await page.GetByRole(AriaRole.Button, new() { Name = "Answer", Exact = true }).ClickAsync();
            await page.Locator("article[data-done=true]").Nth(1).WaitForAsync();
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"playground-{name}.png"), FullPage = true });
            await page.Context.CloseAsync();
        }
    }
}
