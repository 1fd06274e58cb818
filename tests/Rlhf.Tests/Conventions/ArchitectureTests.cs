using System.Text.RegularExpressions;

namespace Rlhf.Tests.Conventions;

/// <summary>The shape of the library, read from its sources.</summary>
public sealed partial class ArchitectureTests
{
    /// <summary>Rooms from the bottom up; a room may use its own level's neighbours named here, and everything below.</summary>
    private static readonly string[][] Levels =
    [
        ["Runtime"],
        ["Tokenizers", "Weights", "Hub"],
        ["Models"],
        ["Rewards", "Generation", "Data", "Tracking"],
        ["Training", "Evaluation"],
        ["Reporting"],
    ];

    public static TheoryData<string> SourceFiles() => [.. Sources().Select(f => Path.GetRelativePath(Root, f))];

    private static string Root => Path.Combine(Fixtures.Repository(), "src", "Rlhf");

    [Theory]
    [MemberData(nameof(SourceFiles))]
    public void DependenciesPointDownward(string file)
    {
        string room = file.Split(Path.DirectorySeparatorChar)[0];
        int level = Array.FindIndex(Levels, l => l.Contains(room));
        Assert.True(level >= 0, $"{file} lies in no known room.");
        foreach (Match use in RoomName().Matches(File.ReadAllText(Path.Combine(Root, file))))
        {
            string used = use.Groups[1].Value;
            int usedLevel = Array.FindIndex(Levels, l => l.Contains(used));
            Assert.True(usedLevel <= level, $"{file} uses Rlhf.{used}, which is above {room}.");
        }
    }

    [Theory]
    [MemberData(nameof(SourceFiles))]
    public void NothingIsLeftUndone(string file)
    {
        var text = File.ReadAllText(Path.Combine(Root, file));
        Assert.DoesNotContain("NotImplementedException", text, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"\b(TODO|FIXME|HACK)\b", text);
        Assert.DoesNotMatch(@"throw new Exception\(", text);
    }

    private static IEnumerable<string> Sources() => Directory.EnumerateFiles(Root, "*.cs", SearchOption.AllDirectories)
        .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal)).Order();

    [GeneratedRegex(@"^\s*(?:global )?using (?:static )?Rlhf\.(\w+)", RegexOptions.Multiline)]
    private static partial Regex RoomName();
}
