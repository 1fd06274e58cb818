using Microsoft.Playwright;
using Rlhf.Data;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>
/// Pictures of the Label page for people to look at: RLHF_SCREENSHOTS names the folder that they go to, and RLHF_SCREENSHOT_PAIRS real pairs. Not a
/// test.
/// </summary>
public sealed class LabelScreenshots(Chromium chromium)
{
    [Fact]
    public async Task OfLabelling()
    {
        string? folder = Environment.GetEnvironmentVariable("RLHF_SCREENSHOTS");
        string? pairs = Environment.GetEnvironmentVariable("RLHF_SCREENSHOT_PAIRS");
        Assert.SkipWhen(folder is null || pairs is null, "RLHF_SCREENSHOTS and RLHF_SCREENSHOT_PAIRS are not set.");
        using var work = new Fixtures.TemporaryFolder();
        PairFile.Save(Path.Combine(work.Path, "reviews.jsonl"), PairFile.Load(pairs).Take(400));
        PairFile.Save(Path.Combine(work.Path, "questions.jsonl"), Enumerable.Range(0, 3).Select(i => new ResponsePair($"q{i}", Question,
            LongAnswer, "Look at the plan of the slowest query first, and add an index where it reads the whole table.", "chat")));
        await using var studio = await StudioServer.StartAsync(new()
        {
            RunsFolder = work.Path,
            ShippedModel = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny"),
            Command = ["rlhf"],
            RepeatEvery = 6,
        });
        await using var empty = await StudioServer.StartAsync(new() { RunsFolder = Path.Combine(work.Path, "none") });
        foreach (var (name, width, height, scheme) in new[] { ("light", 1280, 900, ColorScheme.Light), ("dark", 1280, 900, ColorScheme.Dark),
            ("phone", 390, 844, ColorScheme.Light), ("phone-dark", 390, 844, ColorScheme.Dark) })
        {
            var page = await chromium.PageAsync(null, width, height, scheme);
            Task Shoot(string what, bool whole = true) =>
                page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"label-{what}-{name}.png"), FullPage = whole });
            await page.OpenAsync(studio.Address, $"/label?pairs=reviews.jsonl&labeler=anna-{name}");
            for (int i = 0; i < 40; i++)
            {
                await page.Keyboard.PressAsync(i % 9 == 5 ? "t" : i % 13 == 12 ? "s" : i % 3 == 0 ? "2" : "1");
                await page.WaitForTimeoutAsync(120);
            }
            await page.WaitForTimeoutAsync(300);
            await Shoot("reviews");
            await Shoot("screen", whole: false);
            await page.OpenAsync(studio.Address, "/label?pairs=questions.jsonl");
            await Shoot("questions");
            await page.Keyboard.PressAsync("1");
            await page.Keyboard.PressAsync("1");
            await page.WaitForTimeoutAsync(300);
            for (int i = 0; i < 3 && await page.Locator(".pair").CountAsync() > 0; i++)
            {
                await page.Keyboard.PressAsync("s");
                await page.WaitForTimeoutAsync(300);
            }
            await Shoot("end");
            await page.OpenAsync(empty.Address, "/label");
            await Shoot("empty");
            await page.Context.CloseAsync();
            File.Delete(Path.Combine(work.Path, "questions-labelled.journal.jsonl"));
            File.Delete(Path.Combine(work.Path, "questions-labelled.jsonl"));
        }
    }

    private const string Question = "Our web shop has become slow since the catalogue grew to two million products.\n\nThe database is the bottleneck: "
        + "pages that list products take four seconds. What would you look at first, and why?";

    private const string LongAnswer = "There are many things that one could look at. First, I would measure. Then I would think about what the measurements "
        + "mean, and whether they are the right measurements. A cache can help, but a cache is also a place where errors hide.\n\nSecond, hardware is "
        + "cheap, so buy more of it. Third, you might rewrite the shop in another language.";
}
