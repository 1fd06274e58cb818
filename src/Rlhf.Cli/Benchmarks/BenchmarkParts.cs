namespace Rlhf.Cli.Benchmarks;

/// <summary>The parts that <c>rlhf bench --parts</c> knows.</summary>
internal static class BenchmarkParts
{
    /// <summary>In the order in which they are described.</summary>
    public static IReadOnlyList<BenchmarkPart> All { get; } = [new SftPart(withLora: false), new SftPart(withLora: true), new GeneratePart(), new PpoPart(), new DpoPart(), new GrpoPart()];

    /// <summary>The parts of a comma-separated list; null for a name that there is not, or none.</summary>
    public static IReadOnlyList<BenchmarkPart>? Find(string list)
    {
        var parts = list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            .Select(name => All.FirstOrDefault(p => p.Name == name)).ToArray();
        return parts.Length == 0 || parts.Contains(null) ? null : [.. parts.Distinct()!];
    }

    /// <summary>The names, for messages.</summary>
    public static string Names => string.Join(", ", All.Select(p => p.Name));
}
