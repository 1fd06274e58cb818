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
    private static readonly Assembly Inference = typeof(ConfigurationException).Assembly, Library = typeof(Rlhf.Training.Ppo.PpoTrainer).Assembly;
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

    private static readonly string[] Rooms = [.. Inference.GetTypes().Concat(Library.GetTypes()).Select(RoomOf).Where(r => r != "").Distinct().Order()];

    public static TheoryData<string> RoomNames() => [.. Rooms];

    [Theory]
    [MemberData(nameof(RoomNames))]
    public void DependenciesPointDownward(string room)
    {
        int level = Array.FindIndex(Levels, l => l.Contains(room));
        Assert.True(level >= 0, $"Rlhf.{room} is no room that this test knows.");
        string[] above = [.. Levels.Skip(level + 1).SelectMany(l => l).Intersect(Rooms).Select(r => "Rlhf." + r)];
        foreach (var assembly in (Assembly[])[Inference, Library])
            NothingUses(assembly, [.. above, "Rlhf.Reporting", "Rlhf.Serving", "Rlhf.Cli", "Rlhf.Studio"], within: $"Rlhf.{room}.");
    }

    /// <summary>What uses models needs nothing of what trains them, nor their packages.</summary>
    [Fact]
    public void TheInferenceLibraryStandsAlone()
    {
        string[] references = [.. Inference.GetReferencedAssemblies().Select(a => a.Name!)];
        Assert.DoesNotContain("Rlhf", references);
        Assert.DoesNotContain("Parquet", references);
        Assert.DoesNotContain("CsvHelper", references);
        Assert.Empty(Inference.GetTypes().Select(RoomOf).Distinct().Except(["", "Runtime", "Tokenizers", "Weights", "Hub", "Models", "Generation"]));
    }

    [Fact]
    public void ReportingUsesTheLibraryAlone() =>
        NothingUses(typeof(RunReport).Assembly, ["Rlhf.Serving", "Rlhf.Cli", "Rlhf.Studio"]);

    /// <summary>The API serves without the studio, and names neither it nor what runs are.</summary>
    [Fact]
    public void ServingUsesTheLibraryAlone() =>
        NothingUses(typeof(Rlhf.Serving.ApiErrors).Assembly, ["Rlhf.Runs", "Rlhf.Training", "Rlhf.Reporting", "Rlhf.Cli", "Rlhf.Studio"]);

    [Fact]
    public void TheStudioDoesNotKnowTheCommand() =>
        NothingUses(typeof(StudioHost).Assembly, ["Rlhf.Cli"]);

    /// <summary>A family is named in its own folder and in the list of families, nowhere else.</summary>
    [Fact]
    public void NothingAboveModelsNamesAFamily()
    {
        string[] families = [.. Rlhf.Models.ModelFamilies.All.Select(f => f.GetType().Namespace!).Where(n => n != "Rlhf.Models").Distinct()];
        Assert.Contains("Rlhf.Models.Gpt2", families);
        foreach (var assembly in (Assembly[])[Inference, Library, typeof(RunReport).Assembly, typeof(StudioHost).Assembly, Command])
            NothingUses(assembly, families, "Rlhf.", except: "Rlhf.Models.");
    }

    /// <summary>An algorithm is named in its own folder, where the kinds of training are listed, and by its verb.</summary>
    [Fact]
    public void NothingAboveTrainingNamesAnAlgorithm()
    {
        string[] ppo = ["Rlhf.Training.Ppo"];
        NothingUses(Library, ppo, "Rlhf.", "Rlhf.Training.Ppo.", "Rlhf.Runs.Kinds.");
        NothingUses(typeof(RunReport).Assembly, ppo);
        NothingUses(typeof(StudioHost).Assembly, ppo);
        NothingUses(Command, ppo, "Rlhf.", "Rlhf.Cli.Verbs.", "Rlhf.Cli.Benchmarks.");
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

    /// <summary>No type of an assembly depends on a namespace; those that a compiler makes of lambdas count as the types they stand in.</summary>
    /// <param name="assembly">The assembly.</param>
    /// <param name="namespaces">What must not be used.</param>
    /// <param name="within">Only types whose full names begin with this.</param>
    /// <param name="except">Types whose full names begin with one of these may use it.</param>
    private static void NothingUses(Assembly assembly, string[] namespaces, string within = "Rlhf.", params string[] except)
    {
        var names = Types.InAssembly(assembly).ShouldNot().HaveDependencyOnAny(namespaces).GetResult().FailingTypeNames ?? [];
        string[] failing = [.. names.Where(n => n.StartsWith(within, StringComparison.Ordinal)
            && !except.Any(e => n.StartsWith(e, StringComparison.Ordinal)))];
        Assert.True(failing.Length == 0, $"{string.Join(", ", failing)} must not use {string.Join(", ", namespaces)}.");
    }

    [Fact]
    public void TheRuleFindsWhatIsThere() => Assert.NotEmpty(
        Types.InAssembly(Library).ShouldNot().HaveDependencyOnAny("Rlhf.Training.Ppo").GetResult().FailingTypeNames);

    private static IEnumerable<string> Sources() => Directory.EnumerateFiles(Root, "*.cs", SearchOption.AllDirectories)
        .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal)).Order();
}
