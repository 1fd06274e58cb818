using Microsoft.Playwright;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests.Browser;

/// <summary>A run's report as a browser shows it, on a desk and on a phone.</summary>
public sealed class ReportPageTests(Chromium chromium) : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private async Task<IPage> OpenAsync(List<string> errors, int width)
    {
        string run = StudioServer.MakeRun(folder.Path, "run", steps: 40), path = Path.Combine(folder.Path, "report.html");
        File.WriteAllText(path, RunReport.Of(RunData.Load(run), [new("Models", "model", "models/imdb-gpt2-tiny", "models/another-model")]));
        var page = await chromium.PageAsync(errors, width);
        await page.GotoAsync(new Uri(path).AbsoluteUri);
        return page;
    }

    [Fact]
    public async Task ChartsAreReadByTheArrowKeys()
    {
        List<string> errors = [];
        var page = await OpenAsync(errors, 1280);
        var chart = page.Locator("svg[data-plot]").First;
        await chart.FocusAsync();
        var spoken = page.GetByRole(AriaRole.Status);
        foreach (var (key, expected) in new[]
        {
            ("ArrowRight", "step 1, reward 0.05"), ("ArrowRight", "step 2, reward 0.1"), ("ArrowLeft", "step 1, reward 0.05"),
            ("ArrowLeft", "step 1, reward 0.05"), ("End", "step 40, reward 2"), ("ArrowRight", "step 40, reward 2"),
            ("Home", "step 1, reward 0.05"),
        })
        {
            await page.Keyboard.PressAsync(key);
            await Assertions.Expect(spoken).ToHaveTextAsync(expected);
        }
        // What is shown stands beside its point, within the card.
        var tip = (await page.Locator(".tip").BoundingBoxAsync())!;
        var card = (await page.Locator("figure:has(svg[data-plot])").First.BoundingBoxAsync())!;
        Assert.InRange(tip.X, card.X + 20, card.X + card.Width / 2);
        Assert.InRange(tip.Y, card.Y, card.Y + card.Height);
        Assert.NotEqual("none", await chart.EvaluateAsync<string>("e => getComputedStyle(e).outlineStyle"));
        await page.Keyboard.PressAsync("Escape");
        await Assertions.Expect(page.Locator(".tip")).ToHaveCountAsync(0);
        await page.Keyboard.PressAsync("End");
        await page.Keyboard.PressAsync("Tab");
        await Assertions.Expect(page.Locator(".tip")).ToHaveCountAsync(0);
        Assert.Empty(errors);
    }

    [Theory]
    [InlineData(1280)]
    [InlineData(390)]
    [InlineData(320)]
    public async Task EveryLabelCanBeReadAndNothingIsWiderThanTheScreen(int width)
    {
        List<string> errors = [];
        var page = await OpenAsync(errors, width);
        Assert.Equal(width, await page.EvaluateAsync<int>("document.documentElement.scrollWidth"));
        // Each chart is there once, whichever of its pictures it is.
        Assert.Equal(await page.Locator("figure").CountAsync(), await page.Locator("svg.chart:visible").CountAsync());
        double smallest = await page.EvaluateAsync<double>("""
            Math.min(...[...document.querySelectorAll('svg.chart text')].filter(t => t.getClientRects().length > 0)
              .map(t => parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getBoundingClientRect().width
                / t.ownerSVGElement.viewBox.baseVal.width))
            """);
        Assert.True(smallest >= (width < 390 ? 7 : 9), $"A label is {smallest:0.0} pixels high.");
        // The names of a chart's legend do not run into each other.
        Assert.Equal(0, await page.EvaluateAsync<int>("""
            [...document.querySelectorAll('svg.chart')].filter(s => s.getClientRects().length > 0).flatMap(s => {
              const texts = [...s.querySelectorAll('text')].map(t => t.getBoundingClientRect());
              return texts.flatMap((a, i) => texts.slice(i + 1).filter(b => a.left < b.right - 1 && b.left < a.right - 1
                && a.top < b.bottom - 3 && b.top < a.bottom - 3));
            }).length
            """));
        // A value is not broken into letters.
        var value = (await page.Locator("td.value").First.BoundingBoxAsync())!;
        Assert.True(value.Width > 180, $"The value of a setting has {value.Width:0} pixels.");
        Assert.Empty(errors);
    }
}
