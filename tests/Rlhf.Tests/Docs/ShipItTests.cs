using System.Diagnostics;
using Rlhf.Export;
using Rlhf.Tests.Cli;

namespace Rlhf.Tests.Docs;

/// <summary>docs/ship-it.md: its program is the sample's, and the sample continues a text with the model that ships.</summary>
public sealed class ShipItTests
{
    private static readonly string Sample = Path.Combine(Fixtures.Repository(), "samples", "LlamaSharp", "Program.cs");

    [Fact]
    public void The_program_of_the_page_is_the_samples()
    {
        var lines = Markdown.Lines(File.ReadAllText(Path.Combine(Fixtures.Repository(), "docs", "ship-it.md")));
        string block = Assert.Single(Markdown.Blocks(lines), b => b.Language == "cs").Text;
        string sample = File.ReadAllText(Sample).ReplaceLineEndings("\n");
        Assert.Equal(sample[sample.IndexOf("using System.Text;", StringComparison.Ordinal)..].Trim(), block.Trim());
    }

    [Fact]
    public void The_sample_continues_a_text()
    {
        string own = Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory);
        string program = Path.Combine(own, "..", "..", "LlamaSharp", Path.GetFileName(own), "LlamaSharpSample.dll");
        Assert.SkipUnless(File.Exists(program), $"{program} was not built.");
        using var folder = new Fixtures.TemporaryFolder();
        string file = Path.Combine(folder.Path, "imdb.gguf");
        ExportFormats.Of("gguf").Write(new(Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny"), "imdb"), file, new());
        Rlhf.Tests.Export.Llama.Ask(new(file)); // skips where the native library does not load
        using var process = Process.Start(new ProcessStartInfo("dotnet", [program, file, "This movie was"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var result = RlhfCommand.Finish(process);
        Assert.True(result.ExitCode == 0, result.Error);
        Assert.True(result.Output.Trim().Length > 20, result.Output);
    }
}
