namespace Rlhf.Runs;

/// <summary>The metrics that the kinds of training log, with their explanations.</summary>
public static class MetricCatalog
{
    /// <summary>KL divergence from the reference.</summary>
    public const string Kl = "objective/kl";

    /// <summary>Seconds of a whole step.</summary>
    public const string StepTime = "time/step";

    /// <summary>Title of the group of metrics without an explanation.</summary>
    public const string OtherMetrics = "More metrics";

    /// <summary>The metrics that say best how a run does, of all kinds of training: the first that a run has logged counts.</summary>
    public static IReadOnlyList<string> Headlines => [.. Kinds.SelectMany(k => k.Headlines).Distinct()];

    /// <summary>The groups of all kinds of training, in the order in which they are shown; groups of one title are one.</summary>
    public static IReadOnlyList<MetricGroup> Groups => [.. Kinds.SelectMany(k => k.Metrics).GroupBy(g => g.Title).Select(same =>
        new MetricGroup(same.Key, [.. same.SelectMany(g => g.Metrics).DistinctBy(m => m.Name)]))];

    // The later trainings have more groups, in whose order those of the earlier ones fit; kinds of other assemblies come behind.
    private static IEnumerable<TrainingKind> Kinds => TrainingKinds.Own.Reverse().Where(TrainingKinds.All.Contains)
        .Concat(TrainingKinds.All.Except(TrainingKinds.Own));

    /// <summary>What a metric is called; one without an explanation by the last part of its name.</summary>
    public static string TitleOf(string name) =>
        Groups.SelectMany(g => g.Metrics).FirstOrDefault(m => m.Name == name)?.Title ?? Plain(name);

    /// <summary>The parts of a step in their order, as far as these metrics tell them apart.</summary>
    /// <param name="names">Names of the metrics that there are.</param>
    public static IEnumerable<PhaseTerm> Phases(IEnumerable<string> names)
    {
        var logged = names.ToHashSet();
        return Kinds.SelectMany(k => k.Phases).DistinctBy(p => p.Metric)
            .Where(p => logged.Contains(p.Metric) && !p.DividedInto.Any(logged.Contains));
    }

    /// <summary>The groups with what these runs have, and last a group of what has no explanation.</summary>
    /// <param name="names">Names of the metrics that there are.</param>
    public static IReadOnlyList<MetricGroup> Of(IEnumerable<string> names)
    {
        var left = names.ToHashSet();
        List<MetricGroup> result = [];
        foreach (var group in Groups)
            if (group.Metrics.Where(m => left.Remove(m.Name)).ToArray() is { Length: > 0 } known)
                result.Add(group with { Metrics = known });
        var others = left.Where(n => !n.StartsWith("time/", StringComparison.Ordinal)).Order(StringComparer.Ordinal)
            .Select(n => new MetricTerm(n, Plain(n), "")).ToArray();
        if (others.Length > 0)
            result.Add(new(OtherMetrics, others));
        return result;
    }

    private static string Plain(string name) => name[(name.LastIndexOf('/') + 1)..].Replace('_', ' ');
}
