using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json;
using Rlhf.Tests;
using Rlhf.Tests.Cli;

namespace Rlhf.Studio.Tests;

/// <summary><c>rlhf studio</c> as a process of its own.</summary>
public sealed class StudioCommandTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    [Fact]
    public async Task ItServesUntilItIsToldToEnd()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "There is no SIGTERM on Windows.");
        StudioServer.MakeRun(folder.Path, "runs/first", steps: 3);
        using var studio = RlhfCommand.Start(folder.Path, "studio", "--port", "0", "--json");
        try
        {
            var url = new Uri(ReadJson(studio).GetProperty("url").GetString()!);
            using var client = new HttpClient();
            Assert.Contains("data-run=\"first\"", await client.GetStringAsync(url), StringComparison.Ordinal);
            // The run has no report: it is made of what it logged.
            string report = await client.GetStringAsync(new Uri(url, "/report?run=first"));
            Assert.Contains("<h2>How it went</h2>", report, StringComparison.Ordinal);
            Assert.Contains(">1.41e-5</td>", report, StringComparison.Ordinal);
            Assert.False(File.Exists(Path.Combine(folder.Path, "runs", "first", "report.html")));
            Assert.Equal(HttpStatusCode.OK, (await client.GetAsync(new Uri(url, "/assets/blazor.web.js"))).StatusCode);

            var second = RlhfCommand.Run(folder.Path, "studio", "--port", $"{url.Port}");
            Assert.NotEqual(0, second.ExitCode);
            Assert.StartsWith($"rlhf: --port {url.Port} cannot be had", second.Error, StringComparison.Ordinal);
            Assert.Single(second.Error.Trim().Split('\n'));
            Assert.Equal("", second.Output);

            Process.Start("kill", ["-TERM", $"{studio.Id}"]).WaitForExit();
            Assert.Equal(0, RlhfCommand.Finish(studio).ExitCode);
        }
        finally
        {
            if (!studio.HasExited)
                studio.Kill();
        }
    }

    [Fact]
    public void AFolderThatIsNotThereIsSaid()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "There is no SIGTERM on Windows.");
        using var studio = RlhfCommand.Start(folder.Path, "studio", "--port", "0", "--runs", "not-there");
        try
        {
            Assert.Contains("not-there (does not exist yet)", studio.StandardOutput.ReadLine(), StringComparison.Ordinal);
        }
        finally
        {
            studio.Kill();
        }
    }

    [Theory]
    [InlineData("set a --token as well", "--host", "0.0.0.0")]
    [InlineData("must be an address", "--host", "example.org")]
    [InlineData("at least 12", "--token", "short")]
    [InlineData("--port is 70000", "--port", "70000")]
    public void WhatCannotBeIsRefused(string expected, params string[] flags)
    {
        var result = RlhfCommand.Run(folder.Path, ["studio", .. flags]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(expected, result.Error, StringComparison.OrdinalIgnoreCase);
    }

    public void Dispose() => folder.Dispose();

    private static JsonElement ReadJson(Process process)
    {
        var text = new StringBuilder();
        while (process.StandardOutput.ReadLine() is { } line)
        {
            text.AppendLine(line);
            if (line == "}")
                return JsonDocument.Parse(text.ToString()).RootElement;
        }
        throw new InvalidDataException($"The command ended: {text}{process.StandardError.ReadToEnd()}");
    }
}
