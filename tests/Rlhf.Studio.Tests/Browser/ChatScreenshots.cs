using Microsoft.Playwright;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>
/// Pictures of the playground's conversation for people to look at, when asked for (-explicit only): RLHF_SCREENSHOTS names the folder that they
/// go to, RLHF_SCREENSHOT_MODEL and RLHF_SCREENSHOT_BASE two chat models, and RLHF_SCREENSHOT_MESSAGES what is said to them, with bars
/// between.
/// </summary>
public sealed class ChatScreenshots(Chromium chromium)
{
    [Fact(Explicit = true)]
    public async Task OfAConversation()
    {
        string? folder = Environment.GetEnvironmentVariable("RLHF_SCREENSHOTS"), model = Environment.GetEnvironmentVariable("RLHF_SCREENSHOT_MODEL"),
            before = Environment.GetEnvironmentVariable("RLHF_SCREENSHOT_BASE");
        Assert.SkipWhen(folder is null || model is null || before is null, "RLHF_SCREENSHOTS, RLHF_SCREENSHOT_MODEL and RLHF_SCREENSHOT_BASE are not set.");
        string[] messages = (Environment.GetEnvironmentVariable("RLHF_SCREENSHOT_MESSAGES") ?? "Hello there|And you?").Split('|');
        StudioOptions options = new() { RunsFolder = "runs-that-are-not-there", Model = model, BaseModel = before };
        await using var studio = await StudioServer.StartAsync(options);
        await using var text = await StudioServer.StartAsync(options with { Model = Path.Combine(Rlhf.Tests.Fixtures.Repository(), "models", "imdb-gpt2-tiny") });
        foreach (var (name, width, height, scheme) in new[] { ("light", 1400, 900, ColorScheme.Light), ("dark", 1400, 900, ColorScheme.Dark),
            ("phone", 390, 844, ColorScheme.Light), ("phone-dark", 390, 844, ColorScheme.Dark) })
        {
            var page = await chromium.PageAsync(null, width, height, scheme);
            Task Shoot(string what, bool whole = false) =>
                page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"chat-{what}-{name}.png"), FullPage = whole });
            await page.OpenAsync(text.Address, "/playground");
            await Shoot("none");
            await page.OpenAsync(studio.Address, "/playground");
            await Shoot("empty");
            foreach (var (i, message) in messages.Index())
            {
                await page.Locator("#message").FillAsync(message);
                await page.Locator("#message").PressAsync("Enter");
                await page.Locator($".turn[data-turn='{i + 1}'] article[data-done=true]").Nth(1).WaitForAsync();
            }
            await page.WaitForTimeoutAsync(300);
            await Shoot("end");
            await Shoot("whole", whole: true);
            await page.Locator(".turn .after .token").First.FocusAsync();
            await page.Keyboard.PressAsync("ArrowRight");
            await page.WaitForTimeoutAsync(300);
            await Shoot("token");
            await page.Context.CloseAsync();
        }
    }
}
