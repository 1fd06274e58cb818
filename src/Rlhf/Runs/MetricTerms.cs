namespace Rlhf.Runs;

/// <summary>A metric as people know it.</summary>
/// <param name="Name">Its name in metrics.jsonl.</param>
/// <param name="Title">What it is called.</param>
/// <param name="Explanation">What it means and how to read it; empty where its name says it.</param>
public sealed record MetricTerm(string Name, string Title, string Explanation);

/// <summary>Metrics that are read together.</summary>
/// <param name="Title">What they tell; groups of the same title are shown as one.</param>
/// <param name="Metrics">The metrics.</param>
public sealed record MetricGroup(string Title, IReadOnlyList<MetricTerm> Metrics);

/// <summary>A part of a training step.</summary>
/// <param name="Metric">The metric of its seconds.</param>
/// <param name="Title">What happens.</param>
/// <param name="Explanation">What that is.</param>
/// <param name="Part">The coarser part of the step that it belongs to; empty for the rest of it.</param>
public sealed record PhaseTerm(string Metric, string Title, string Explanation, string Part)
{
    /// <summary>Metrics that divide this phase further: where one of them is logged, this one is not shown.</summary>
    public IReadOnlyList<string> DividedInto { get; init; } = [];
}
