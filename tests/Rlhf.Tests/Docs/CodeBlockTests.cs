using Microsoft.CodeAnalysis.CSharp.Scripting;
using Microsoft.CodeAnalysis.Scripting;

namespace Rlhf.Tests.Docs;

/// <summary>
/// The C# in README.md, docs/ and the packages' pages compiles. The blocks of a file see what those before them declared; what a
/// block leaves to the reader's program stands in a comment above it: <c>&lt;!-- csharp: int[][] queries = []; --&gt;</c>. A block below
/// <c>&lt;!-- program --&gt;</c> is a program of its own (<see cref="ProgramTests"/>).
/// </summary>
public sealed class CodeBlockTests
{
    private static readonly string[] Rooms =
        [.. new[] { typeof(Rlhf.Runtime.Native.LibTorch), typeof(Rlhf.Training.Ppo.PpoTrainer) }
            .SelectMany(library => library.Assembly.GetExportedTypes()).Select(t => t.Namespace!).Distinct()];

    public static TheoryData<string> Files() =>
        [.. MarkdownFiles().Where(file => File.ReadAllText(file).Contains("```csharp", StringComparison.Ordinal))
            .Select(file => Path.GetRelativePath(Fixtures.Repository(), file).Replace('\\', '/'))];

    [Theory]
    [MemberData(nameof(Files))]
    public void The_code_compiles(string file)
    {
        var lines = Markdown.Lines(File.ReadAllText(Path.Combine(Fixtures.Repository(), file)));
        Script<object> script = CSharpScript.Create("", CSharpCode.Options.AddImports(Rooms));
        foreach (var block in Markdown.Blocks(lines).Where(block => block.Language == "csharp" && !ProgramTests.IsProgram(lines, block)))
        {
            if (Markdown.CommentAbove(lines, block, "csharp") is { } declarations)
                script = script.ContinueWith(declarations);
            script = script.ContinueWith(Tutorial.AsCell(block.Text));
            var errors = CSharpCode.Errors(script);
            Assert.True(errors.Length == 0, $"{file}, block in line {block.FirstLine + 1}: {string.Join('\n', errors)}");
        }
    }

    private static IEnumerable<string> MarkdownFiles() => Directory
        .EnumerateFiles(Fixtures.Repository(), "*.md")
        .Concat(((string[])["docs", "packaging"]).SelectMany(folder => Directory.EnumerateFiles(
            Path.Combine(Fixtures.Repository(), folder), "*.md", SearchOption.AllDirectories)))
        .Order();
}
