using System.CommandLine;
using System.Text.RegularExpressions;
using Rlhf.Cli;

namespace Rlhf.Tests.Docs;

/// <summary>The command lines in the documents name verbs and flags that there are.</summary>
public sealed class CommandLineTests
{
    public static TheoryData<string> Files() =>
        [.. new[] { "README.md", "models/README.md", "benchmarks/README.md", "packaging/Rlhf.Cli.md" }
            .Concat(Directory.EnumerateFiles(Path.Combine(Fixtures.Repository(), "docs"), "*.md")
                .Select(file => "docs/" + Path.GetFileName(file)).Order())];

    [Theory]
    [MemberData(nameof(Files))]
    public void The_commands_exist(string file)
    {
        string text = File.ReadAllText(Path.Combine(Fixtures.Repository(), file)).ReplaceLineEndings("\n");
        var inText = Regex.Matches(text, "`(rlhf [^`\n]*--[^`\n]*)`").Select(match => match.Groups[1].Value);
        var inBlocks = Markdown.Blocks(Markdown.Lines(text)).Where(block => block.Language is "sh" or "")
            .SelectMany(block => block.Text.Replace("\\\n", " ").Split('\n')).Select(line => line.Trim());
        var root = CommandLine.Create();
        var parsing = new ParserConfiguration { EnablePosixBundling = false, ResponseFileTokenReplacer = null };
        var lines = inText.Concat(inBlocks).Where(line => line.StartsWith("rlhf ", StringComparison.Ordinal) && !line.Contains('…'));
        foreach (string line in lines)
        {
            string command = Regex.Replace(line, @"\s#.*$|\bCOMMAND\b", "")["rlhf ".Length..].Replace("$n", "1");
            var result = root.Parse(command, parsing);
            Assert.True(result.UnmatchedTokens.Count == 0, $"{file}: {line}: {string.Join(' ', result.UnmatchedTokens)}");
        }
    }
}
