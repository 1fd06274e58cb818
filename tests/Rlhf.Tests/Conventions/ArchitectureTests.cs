using System.Reflection;
using NetArchTest.Rules;
using Rlhf.Cli;
using Rlhf.Reporting;
using Rlhf.Runtime;
using Rlhf.Studio;
using Types = NetArchTest.Rules.Types;

namespace Rlhf.Tests.Conventions;

/// <summary>The shape of the house, read from the compiled assemblies: whatever a type uses, however it is written.</summary>
public sealed class ArchitectureTests
{
    private static readonly Assembly Library = typeof(ConfigurationException).Assembly;
    private static readonly Assembly Command = typeof(VerbCommand).Assembly;

    /// <summary>Rooms of the library from the bottom up; a room may use its own level and everything below.</summary>
    private static readonly string[][] Levels =
    [
        ["Runtime"],
        ["Tokenizers", "Weights", "Hub"],
        ["Models"],
        ["Rewards", "Generation", "Data", "Tracking"],
        ["Training", "Evaluation", "Export"],
        ["Runs"],
    ];

    private static readonly string[] Rooms = [.. Library.GetTypes().Select(RoomOf).Where(r => r != "").Distinct().Order()];

    public static TheoryData<string> RoomNames() => [.. Rooms];

    [Theory]
    [MemberData(nameof(RoomNames))]
    public void DependenciesPointDownward(string room)
    {
        int level = Array.FindIndex(Levels, l => l.Contains(room));
        Assert.True(level >= 0, $"Rlhf.{room} is no room that this test knows.");
        string[] above = [.. Levels.Skip(level + 1).SelectMany(l => l).Intersect(Rooms).Select(r => "Rlhf." + r)];
        Holds(Types.InAssembly(Library).That().ResideInNamespaceMatching($@"^Rlhf\.{room}(\.|$)").ShouldNot().HaveDependencyOnAny(
            [.. above, "Rlhf.Reporting", "Rlhf.Cli", "Rlhf.Studio"]));
    }

    [Fact]
    public void ReportingUsesTheLibraryAlone() =>
        Holds(Types.InAssembly(typeof(RunReport).Assembly).ShouldNot().HaveDependencyOnAny("Rlhf.Cli", "Rlhf.Studio"));

    [Fact]
    public void TheStudioDoesNotKnowTheCommand() =>
        Holds(Types.InAssembly(typeof(StudioHost).Assembly).ShouldNot().HaveDependencyOnAny("Rlhf.Cli"));

    /// <summary>A family is named in its own folder and in the list of families, nowhere else.</summary>
    [Fact]
    public void NothingAboveModelsNamesAFamily()
    {
        string[] families = [.. Rlhf.Models.ModelFamilies.All.Select(f => f.GetType().Namespace!).Where(n => n != "Rlhf.Models").Distinct()];
        Assert.Contains("Rlhf.Models.Gpt2", families);
        foreach (var assembly in (Assembly[])[Library, typeof(RunReport).Assembly, typeof(StudioHost).Assembly, Command])
            Holds(Types.InAssembly(assembly).That().DoNotResideInNamespaceMatching(@"^Rlhf\.Models(\.|$)").ShouldNot()
                .HaveDependencyOnAny(families));
    }

    /// <summary>An algorithm is named in its own folder, where the kinds of training are listed, and by its verb.</summary>
    [Fact]
    public void NothingAboveTrainingNamesAnAlgorithm()
    {
        const string ppo = "Rlhf.Training.Ppo";
        Holds(Types.InAssembly(Library).That().DoNotResideInNamespaceMatching(@"^Rlhf\.(Training\.Ppo|Runs\.Kinds)(\.|$)")
            .ShouldNot().HaveDependencyOnAny(ppo));
        foreach (var assembly in (Assembly[])[typeof(RunReport).Assembly, typeof(StudioHost).Assembly])
            Holds(Types.InAssembly(assembly).ShouldNot().HaveDependencyOnAny(ppo));
        Holds(Types.InAssembly(Command).That().DoNotResideInNamespaceMatching(@"^Rlhf\.Cli\.(Verbs|Benchmarks)(\.|$)")
            .ShouldNot().HaveDependencyOnAny(ppo));
    }

    public static TheoryData<string> SourceFiles() => [.. Sources().Select(f => Path.GetRelativePath(Root, f))];

    private static string Root => Path.Combine(Fixtures.Repository(), "src");

    [Theory]
    [MemberData(nameof(SourceFiles))]
    public void NothingIsLeftUndone(string file)
    {
        var text = File.ReadAllText(Path.Combine(Root, file));
        Assert.DoesNotContain("NotImplementedException", text, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"\b(TODO|FIXME|HACK)\b", text);
        Assert.DoesNotMatch(@"throw new Exception\(", text);
    }

    private static string RoomOf(Type type) =>
        type.Namespace?.Split('.') is ["Rlhf", var room, ..] ? room : "";

    private static void Holds(ConditionList rule)
    {
        var result = rule.GetResult();
        Assert.True(result.IsSuccessful, $"These depend on what is above them: {string.Join(", ", result.FailingTypeNames ?? [])}");
    }

    private static IEnumerable<string> Sources() => Directory.EnumerateFiles(Root, "*.cs", SearchOption.AllDirectories)
        .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal)).Order();
}
