using System.Diagnostics;
using Rlhf.Tests.Cli;

namespace Rlhf.Tests.Docs;

/// <summary>
/// Programs in the documents (a C# block below <c>&lt;!-- program --&gt;</c>) are whole: each compiles as it stands, in a project of its own, and runs.
/// </summary>
public sealed class ProgramTests
{
    [Theory]
    [InlineData("README.md")]
    [InlineData("packaging/Rlhf.md")]
    public void A_program_of_the_documents_compiles_and_runs(string file)
    {
        var lines = Markdown.Lines(File.ReadAllText(Path.Combine(Fixtures.Repository(), file)));
        string program = Assert.Single(Markdown.Blocks(lines), block => IsProgram(lines, block)).Text;
        using var folder = new Fixtures.TemporaryFolder();
        File.WriteAllText(Path.Combine(folder.Path, "Program.cs"), program);
        File.WriteAllText(Path.Combine(folder.Path, "Program.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                <UseAppHost>false</UseAppHost>
              </PropertyGroup>
              <ItemGroup>
                <Reference Include="{AppContext.BaseDirectory}Rlhf.dll" />
                <Reference Include="{AppContext.BaseDirectory}Rlhf.Inference.dll" />
                <Reference Include="{AppContext.BaseDirectory}TorchSharp.dll" />
              </ItemGroup>
            </Project>
            """);
        var built = Run(folder.Path, "build", "-c", "Release", "-o", "out", "-nodeReuse:false", "-p:UseSharedCompilation=false");
        Assert.True(built.ExitCode == 0, built.Output + built.Error);
        Directory.CreateSymbolicLink(Path.Combine(folder.Path, "out", "runtimes"), Path.Combine(AppContext.BaseDirectory, "runtimes"));

        var ran = Run(folder.Path, Path.Combine("out", "Program.dll"), Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny"), "2");
        Assert.True(ran.ExitCode == 0, ran.Output + ran.Error);
        Assert.Matches(@"step +1  reward -?\d+\.\d+  KL -?\d.*\nstep +2  reward -?\d", ran.Output.ReplaceLineEndings("\n"));
        Assert.True(File.Exists(Path.Combine(folder.Path, "aligned", "model.safetensors")));
    }

    [Fact]
    public void Without_the_models_the_tutorial_ends_in_a_sentence_that_says_where_they_are()
    {
        var blocks = Tutorial.Parse(File.ReadAllText(Path.Combine(Fixtures.Repository(), "docs", "tutorial.md"))).Parts.Where(p => p.IsCode);
        var (code, error, folder) = RunElsewhere(string.Join('\n', blocks.Select(block => block.Text)));
        Assert.Equal(2, code);
        Assert.Equal($"There is no {Path.Combine(folder, "models")}. Copy the folder models/ from a checkout of Rlhf to there, or name the "
            + "folders of your own models and queries in this program.\n", error);
    }

    [Fact]
    public void Without_the_models_the_sample_ends_in_a_sentence_that_says_where_they_are()
    {
        var (code, error, _) = RunElsewhere(File.ReadAllText(Path.Combine(Fixtures.Repository(), "samples", "SentimentTuning", "Program.cs")));
        Assert.Equal(2, code);
        Assert.Equal("There is no folder models/imdb-gpt2-tiny here or in a folder above. Run this inside a checkout of Rlhf, copy the "
            + "checkout's folder models/ to where you run it, or name three paths: GPT2 DISTILBERT IMDB.\n", error);
    }

    /// <summary>Is the block a program of its own?</summary>
    internal static bool IsProgram(string[] lines, FencedBlock block) => block.FirstLine > 0 && lines[block.FirstLine - 1] == "<!-- program -->";

    /// <summary>Runs a program with the library and without the models, in a folder that holds nothing else.</summary>
    private static (int Code, string Error, string Folder) RunElsewhere(string program)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string bin = Directory.CreateDirectory(Path.Combine(folder.Path, "bin")).FullName;
        string work = Directory.CreateDirectory(Path.Combine(folder.Path, "work")).FullName;
        foreach (string file in Directory.EnumerateFiles(AppContext.BaseDirectory, "*.dll"))
            File.CreateSymbolicLink(Path.Combine(bin, Path.GetFileName(file)), file);
        Directory.CreateSymbolicLink(Path.Combine(bin, "runtimes"), Path.Combine(AppContext.BaseDirectory, "runtimes"));
        using (var assembly = File.Create(Path.Combine(bin, "Program.dll")))
        {
            var emitted = CSharpCode.Compile(program).Emit(assembly);
            Assert.True(emitted.Success, string.Join('\n', emitted.Diagnostics));
        }
        File.Copy(Path.Combine(AppContext.BaseDirectory, "Rlhf.Cli.runtimeconfig.json"), Path.Combine(bin, "Program.runtimeconfig.json"));
        var ran = Run(work, Path.Combine(bin, "Program.dll"));
        return (ran.ExitCode, ran.Error.ReplaceLineEndings("\n"), work);
    }

    private static CommandResult Run(string folder, params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet")
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment["OMP_NUM_THREADS"] = "1";
        foreach (string name in start.Environment.Keys.Where(name => name.StartsWith("MSBuild", StringComparison.OrdinalIgnoreCase)).ToArray())
            start.Environment.Remove(name); // of the build that runs this test
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        return RlhfCommand.Finish(process);
    }
}
