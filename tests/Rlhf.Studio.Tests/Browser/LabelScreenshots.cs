using Microsoft.Playwright;
using Rlhf.Data;
using Rlhf.Studio.Labeling;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>
/// Pictures of the Label page for people to look at: RLHF_SCREENSHOTS names the folder that they go to, and RLHF_SCREENSHOT_PAIRS
/// real pairs. Not a test.
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
        var project = studio.Service<LabelDesk>().Open("reviews.jsonl")!;
        var anna = Labeler.New("anna");
        for (int i = 0; i < 130 && project.Next(anna) is { } shown; i++)
            project.Record(anna, shown, i % 9 == 5 ? Verdict.Tie : i % 33 == 12 ? Verdict.Skip
                : shown.Repeat && i % 4 == 0 ? Verdict.B : shown.Pair.Id[0] % 2 == 0 ? Verdict.A : Verdict.B, 4 + i % 7 * 0.5);
        await using var empty = await StudioServer.StartAsync(new() { RunsFolder = Path.Combine(work.Path, "none") });
        foreach (var (name, width, height, scheme) in new[] { ("light", 1280, 900, ColorScheme.Light),
            ("dark", 1280, 900, ColorScheme.Dark),
            ("phone", 390, 844, ColorScheme.Light), ("phone-dark", 390, 844, ColorScheme.Dark) })
        {
            var page = await chromium.PageAsync(null, width, height, scheme);
            Task Shoot(string what, Clip? part = null) =>
                page.ScreenshotAsync(new()
                {
                    Path = Path.Combine(folder, $"label-{what}-{name}.png"),
                    FullPage = part is null,
                    Clip = part,
                });
            await page.OpenAsync(studio.Address, "/label?pairs=reviews.jsonl&labeler=anna");
            await page.Keyboard.PressAsync("2");
            await page.WaitForTimeoutAsync(400);
            await Shoot("reviews");
            await Shoot("part", new() { Width = width, Height = 612 });
            await page.OpenAsync(studio.Address, "/label?pairs=questions.jsonl");
            await Shoot("questions");
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

    private const string Question =
        "Our web shop has become slow since the catalogue grew to two million products.\n\nThe database is the bottleneck: "
        + "pages that list products take four seconds. What would you look at first, and why?";

    private const string LongAnswer =
        "There are many things that one could look at. First, I would measure. Then I would think about what the measurements "
        + "mean, and whether they are the right measurements. A cache can help, but a cache is also a place where errors "
        + "hide.\n\nSecond, hardware is "
        + "cheap, so buy more of it. Third, you might rewrite the shop in another language.";
}
