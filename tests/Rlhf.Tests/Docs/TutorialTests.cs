using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis.CSharp.Scripting;
using Microsoft.CodeAnalysis.Scripting;

namespace Rlhf.Tests.Docs;

/// <summary>
/// The tutorial is a program, and the notebook is the tutorial. With RLHF_UPDATE_DOCS=run its blocks run in full and what they
/// print is written into both.
/// </summary>
public sealed class TutorialTests
{
    private static string TutorialFile => Path.Combine(Fixtures.Repository(), "docs", "tutorial.md");

    [Fact]
    public void The_tutorials_blocks_are_one_program()
    {
        var blocks = Tutorial.Parse(File.ReadAllText(TutorialFile)).Parts.Where(part => part.IsCode);
        Assert.Empty(CSharpCode.Errors(string.Join('\n', blocks.Select(block => block.Text))));
    }

    [Fact]
    public async Task The_notebook_is_the_tutorial_and_runs_from_top_to_bottom()
    {
        var tutorial = Tutorial.Parse(File.ReadAllText(TutorialFile).ReplaceLineEndings("\n"));
        if (WrittenFile.Run)
        {
            var code = tutorial.Parts.Where(part => part.IsCode).Select(part => Tutorial.AsCell(part.Text)).ToArray();
            var outputs = new Queue<string>(await Run(code));
            tutorial = new([.. tutorial.Parts.Select(part =>
                part.IsCode ? part with { Output = outputs.Dequeue().Trim('\n') } : part)]);
        }
        WrittenFile.Check(tutorial.ToString(), "docs", "tutorial.md");
        WrittenFile.Check(tutorial.ToNotebook(Setup()), "docs", "notebooks", "sentiment-tuning.ipynb");

        string notebook = File.ReadAllText(Path.Combine(Fixtures.Repository(), "docs", "notebooks", "sentiment-tuning.ipynb"));
        var cells = Tutorial.CodeOf(notebook);
        var printed = await Run(Small([.. cells.Select(cell => cell.Text)]));
        Assert.Equal(cells.Select(cell => cell.Output.Length > 0), printed.Select(text => text.Length > 0));
    }

    /// <summary>The same with few steps on small batches.</summary>
    private static string[] Small(string[] cells)
    {
        var small = cells.Select(cell => Regex.Replace(Regex.Replace(cell, @"int steps = \d+;", "int steps = 2;"),
            @"BatchSize = \d+", "BatchSize = 8")).ToArray();
        Assert.Contains(small, cell => cell.Contains("int steps = 2;", StringComparison.Ordinal)
            && cell.Contains(" BatchSize = 8, MiniBatchSize = 8", StringComparison.Ordinal));
        return small;
    }

    /// <summary>Runs cells as a notebook does, each seeing what those before it declared; gives what each printed.</summary>
    private static async Task<IReadOnlyList<string>> Run(IReadOnlyList<string> cells)
    {
        string models = Path.Combine(Fixtures.Repository(), "models").Replace("\\", "/");
        var (console, current) = (Console.Out, Directory.GetCurrentDirectory());
        using var folder = new Fixtures.TemporaryFolder();
        var printed = new List<string>();
        ScriptState<object>? state = null;
        try
        {
            Directory.SetCurrentDirectory(folder.Path);
            foreach (string cell in cells)
            {
                using var output = new StringWriter();
                Console.SetOut(output);
                string code = cell.Replace("\"models\"", $"\"{models}\"", StringComparison.Ordinal);
                state = await (state is null ? CSharpScript.RunAsync(code, CSharpCode.Options) : state.ContinueWithAsync(code));
                printed.Add(Regex.Replace(output.ToString().ReplaceLineEndings("\n"), " +$", "", RegexOptions.Multiline));
            }
        }
        finally
        {
            Console.SetOut(console);
            Directory.SetCurrentDirectory(current);
            foreach (var variable in state?.Variables.Reverse() ?? [])
                (variable.Value as IDisposable)?.Dispose();
        }
        return printed;
    }

    private static string Setup()
    {
        string version = typeof(Rlhf.Runtime.Native.LibTorch).Assembly.GetName().Version!.ToString(3);
        string packages = File.ReadAllText(Path.Combine(Fixtures.Repository(), "Directory.Packages.props"));
        string libtorch = Regex.Match(packages, "<LibTorchVersion>(.*)</LibTorchVersion>").Groups[1].Value;
        return $"""
            // The library as this checkout builds it: dotnet build -c Release
            #r "../../artifacts/bin/SentimentTuning/release/TorchSharp.dll"
            #r "../../artifacts/bin/SentimentTuning/release/Rlhf.Inference.dll"
            #r "../../artifacts/bin/SentimentTuning/release/Rlhf.dll"

            // Or, in place of these lines, packages (Rlhf from the folder where dotnet pack put it), and the libtorch of your platform:
            // libtorch-cpu-linux-x64, -win-x64, -win-arm64 or -osx-arm64.
            // #i "nuget:/path/to/the/checkout/artifacts/package/release"
            // #r "nuget: libtorch-cpu-linux-x64, {libtorch}"
            // #r "nuget: Rlhf, {version}"

            // The notebook lies in docs/notebooks/, the models in models/.
            if (!Directory.Exists("models") && Directory.Exists("../../models"))
                Directory.SetCurrentDirectory("../..");
            """.ReplaceLineEndings("\n");
    }
}
