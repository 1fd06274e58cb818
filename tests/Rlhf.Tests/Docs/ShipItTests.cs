using System.Diagnostics;
using Rlhf.Export;
using Rlhf.Models;
using Rlhf.Rewards;
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

    /// <summary>Another tokenizer than this library's reads the text as it does, and ONNX Runtime gives its logits.</summary>
    [Fact]
    public void The_sample_of_onnx_scores_and_continues_as_the_library()
    {
        string own = Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory);
        string program = Path.Combine(own, "..", "..", "OnnxInference", Path.GetFileName(own), "OnnxInference.dll");
        Assert.SkipUnless(File.Exists(program), $"{program} was not built.");
        string models = Path.Combine(Fixtures.Repository(), "models");
        using Fixtures.TemporaryFolder reward = new(), policy = new();
        ExportFormats.Of("onnx").Write(new(Path.Combine(models, "imdb-distilbert-tiny"), "reward"), reward.Path, new());
        ExportFormats.Of("onnx").Write(new(Path.Combine(models, "imdb-gpt2-tiny"), "policy"), policy.Path, new());
        Rlhf.Tests.Export.OnnxRuns.Open(reward.Path).Dispose(); // skips where the native library does not load

        const string Text = "What a waste of time; I'd rather watch paint dry.";
        using (var pipeline = TextClassificationPipeline.FromPretrained(Path.Combine(models, "imdb-distilbert-tiny"), TorchSharp.torch.CPU))
        {
            using var scope = TorchSharp.torch.NewDisposeScope();
            using var noGrad = TorchSharp.torch.no_grad();
            using var batch = PackedBatch.FromRows([pipeline.Tokenizer.Encode(Text)]);
            var logits = pipeline.Model.Forward(batch).data<float>().ToArray();
            string line = Run("score", reward.Path, Text).Trim();
            var said = System.Text.RegularExpressions.Regex.Match(line, @"^NEGATIVE (\S+)  POSITIVE (\S+)  What a waste");
            Assert.True(said.Success, line);
            Assert.Equal(logits[0], float.Parse(said.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture), 2e-4);
            Assert.Equal(logits[1], float.Parse(said.Groups[2].Value, System.Globalization.CultureInfo.InvariantCulture), 2e-4);
        }
        Assert.StartsWith("This movie is a ", Run("generate", policy.Path, "This movie is"), StringComparison.Ordinal);

        string Run(params string[] arguments)
        {
            using var process = Process.Start(new ProcessStartInfo("dotnet", [program, .. arguments])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            var result = RlhfCommand.Finish(process);
            Assert.True(result.ExitCode == 0, result.Error);
            return result.Output;
        }
    }
}
