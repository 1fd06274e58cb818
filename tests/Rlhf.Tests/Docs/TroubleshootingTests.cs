using System.Text.RegularExpressions;

namespace Rlhf.Tests.Docs;

/// <summary>docs/troubleshooting.md quotes messages as the sources have them, with … for what varies.</summary>
public sealed class TroubleshootingTests
{
    // A string that goes on in another one: " + $" and the like.
    private static readonly Regex Joint = new("\"\\s*\\+\\s*\\$?\"");

    private static readonly Lazy<string> Sources = new(() => Joint.Replace(string.Join('\n',
        Directory.EnumerateFiles(Path.Combine(Fixtures.Repository(), "src"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !Path.GetRelativePath(Fixtures.Repository(), file).Split(Path.DirectorySeparatorChar).Contains("obj"))
            .Select(File.ReadAllText)).ReplaceLineEndings("\n"), ""));

    public static TheoryData<string> Messages()
    {
        var lines = Markdown.Lines(File.ReadAllText(Path.Combine(Fixtures.Repository(), "docs", "troubleshooting.md")));
        var blocks = Markdown.Blocks(lines).Where(block => block.Language == "message").Select(block => block.Text);
        var cells = lines.Where(line => line.StartsWith("| `", StringComparison.Ordinal)).Select(line => line.Split('`')[1])
            .Where(cell => cell.Contains(' ', StringComparison.Ordinal) && !cell.StartsWith("--", StringComparison.Ordinal));
        return [.. blocks.Concat(cells)];
    }

    [Theory]
    [MemberData(nameof(Messages))]
    public void A_message_that_is_quoted_is_in_the_sources(string message)
    {
        var parts = message.Split('…').Select(part => part.Trim(" .,:;'()".ToCharArray()));
        foreach (string part in parts.Where(part => part.Length > 3))
            Assert.True(Sources.Value.Contains(part, StringComparison.Ordinal), $"No message of the sources says: {part}");
    }

    [Fact]
    public void Links_of_the_documents_lead_somewhere()
    {
        string root = Fixtures.Repository();
        var files = Directory.EnumerateFiles(root, "*.md").Concat(Directory.EnumerateFiles(Path.Combine(root, "docs"), "*.md"));
        foreach (string file in files)
        {
            string text = File.ReadAllText(file);
            foreach (Match link in Regex.Matches(text, @"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)"))
            {
                var (path, anchor) = (link.Groups[1].Value, link.Groups[2].Value);
                string target = path.Length == 0 ? file : Path.Combine(Path.GetDirectoryName(file)!, path);
                Assert.True(Path.Exists(target), $"{file}: {link.Value} leads nowhere.");
                if (anchor.Length > 0)
                    Assert.True(Anchors(File.ReadAllText(target)).Contains(anchor), $"{file}: {link.Value} has no such heading.");
            }
        }
    }

    private static HashSet<string> Anchors(string markdown) =>
        [.. Markdown.Lines(markdown).Where(line => line.StartsWith('#'))
            .Select(line => Regex.Replace(line.TrimStart('#').Trim().ToLowerInvariant(), @"[^\w\- ]", "").Replace(' ', '-'))];
}
