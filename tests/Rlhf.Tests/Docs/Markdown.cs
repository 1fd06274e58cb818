namespace Rlhf.Tests.Docs;

/// <summary>A fenced block of a Markdown file.</summary>
/// <param name="Language">First word behind the fence; empty when there is none.</param>
/// <param name="Text">Its lines, without the fences.</param>
/// <param name="FirstLine">Index of its opening fence among the file's lines.</param>
/// <param name="LastLine">Index of its closing fence.</param>
internal sealed record FencedBlock(string Language, string Text, int FirstLine, int LastLine);

/// <summary>The fenced blocks of a Markdown file.</summary>
internal static class Markdown
{
    public static string[] Lines(string markdown) => markdown.ReplaceLineEndings("\n").Split('\n');

    public static IReadOnlyList<FencedBlock> Blocks(string[] lines)
    {
        var blocks = new List<FencedBlock>();
        for (int i = 0; i < lines.Length; i++)
            if (lines[i].StartsWith("```", StringComparison.Ordinal))
            {
                int end = Array.FindIndex(lines, i + 1, line => line.TrimEnd() == "```");
                Assert.True(end > 0, $"The block that begins in line {i + 1} has no end.");
                blocks.Add(new(lines[i][3..].Trim(), string.Join('\n', lines[(i + 1)..end]), i, end));
                i = end;
            }
        return blocks;
    }

    /// <summary>What a comment right above a block says: <c>&lt;!-- name: text --&gt;</c>, on one line or on several.</summary>
    public static string? CommentAbove(string[] lines, FencedBlock block, string name)
    {
        int end = block.FirstLine - 1;
        while (end >= 0 && lines[end].Length == 0)
            end--;
        if (end < 0 || !lines[end].EndsWith("-->", StringComparison.Ordinal))
            return null;
        int start = Array.FindLastIndex(lines, end, line => line.StartsWith("<!--", StringComparison.Ordinal));
        string comment = string.Join('\n', lines[start..(end + 1)])["<!--".Length..^"-->".Length].Trim();
        return comment.StartsWith(name + ":", StringComparison.Ordinal) ? comment[(name.Length + 1)..].Trim() : null;
    }
}

/// <summary>Files that tests write when RLHF_UPDATE_DOCS is 1 or run, and otherwise compare.</summary>
internal static class WrittenFile
{
    private static readonly string? Setting = Environment.GetEnvironmentVariable("RLHF_UPDATE_DOCS");

    /// <summary>Write the files anew.</summary>
    public static bool Update => Setting is "1" or "run";

    /// <summary>And run the tutorial in full, which takes minutes, for what it prints.</summary>
    public static bool Run => Setting == "run";

    public static void Check(string content, params string[] path)
    {
        string file = Path.Combine([Fixtures.Repository(), .. path]);
        if (Update)
            File.WriteAllText(file, content);
        string stored = File.Exists(file) ? File.ReadAllText(file).ReplaceLineEndings("\n") : "";
        Assert.True(stored == content, $"{string.Join('/', path)} is out of date; write it anew with "
            + "RLHF_UPDATE_DOCS=1 dotnet test -c Release --filter-namespace Rlhf.Tests.Docs");
    }
}
