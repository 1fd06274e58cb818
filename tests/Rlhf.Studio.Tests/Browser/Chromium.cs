using Microsoft.Playwright;
using Rlhf.Studio.Tests.Browser;
using Rlhf.Tests.Cli;

[assembly: AssemblyFixture(typeof(Chromium))]

namespace Rlhf.Studio.Tests.Browser;

/// <summary>Debian's Chromium, or that which RLHF_CHROMIUM names; tests skip where there is none.</summary>
public sealed class Chromium : IAsyncDisposable
{
    private readonly SemaphoreSlim starting = new(1);
    private IPlaywright? playwright;
    private IBrowser? browser;
    private string? test;

    private static string Executable =>
        Environment.GetEnvironmentVariable("RLHF_CHROMIUM") is { Length: > 0 } path ? path : "/usr/bin/chromium";

    /// <summary>
    /// A page in a context of its own, which the next test closes: open pages go on asking for their studio. Errors of its scripts and
    /// refused resources are collected in <paramref name="errors"/>.
    /// </summary>
    public async Task<IPage> PageAsync(List<string>? errors = null, int width = 1280, int height = 900,
        ColorScheme scheme = ColorScheme.Light)
    {
        Assert.SkipUnless(File.Exists(Executable), $"There is no Chromium at {Executable}; install it, or set RLHF_CHROMIUM.");
        await starting.WaitAsync();
        try
        {
            Assertions.SetDefaultExpectTimeout(180_000); // CI's machines do other things, too
            playwright ??= await Playwright.CreateAsync();
            browser ??= await playwright.Chromium.LaunchAsync(new()
            {
                ExecutablePath = Executable,
                Args = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"],
            });
            string? asking = TestContext.Current.Test?.UniqueID;
            if (asking != test)
                foreach (var left in browser.Contexts.ToArray())
                    await left.CloseAsync();
            test = asking;
        }
        finally
        {
            starting.Release();
        }
        var context = await browser.NewContextAsync(new()
        {
            ViewportSize = new() { Width = width, Height = height },
            ColorScheme = scheme,
            ReducedMotion = ReducedMotion.Reduce,
        });
        context.SetDefaultTimeout(180_000);
        var page = await context.NewPageAsync();
        page.Console += (_, message) =>
        {
            if (message.Type == "error")
                errors?.Add(message.Text);
        };
        page.PageError += (_, message) => errors?.Add(message);
        return page;
    }

    public async ValueTask DisposeAsync()
    {
        if (browser is not null)
            await browser.DisposeAsync();
        playwright?.Dispose();
    }
}

/// <summary>Tests that need the toy models, which are made once.</summary>
[CollectionDefinition("toy models")]
public sealed class WithToyModels : ICollectionFixture<ToyModels>;

/// <summary>What tests do on a page.</summary>
internal static class PageExtensions
{
    /// <summary>Opens a page and waits until the server listens to it.</summary>
    public static async Task OpenAsync(this IPage page, Uri studio, string path = "/")
    {
        await page.GotoAsync(new Uri(studio, path).AbsoluteUri);
        await page.WaitForFunctionAsync("() => window.Blazor !== undefined && document.querySelector('[data-connected=true]') !== null");
    }
}
