using Rlhf.Reporting;
using Rlhf.Runs;

namespace Rlhf.Studio.Runs;

/// <summary>A part of a training step and how long it takes.</summary>
/// <param name="Title">What happens.</param>
/// <param name="Explanation">What that is.</param>
/// <param name="Seconds">How long it takes, on average over recent steps.</param>
/// <param name="Share">Its share of the step, 0 to 1.</param>
public sealed record Phase(string Title, string Explanation, double Seconds, double Share);

/// <summary>Where the time of a training step goes.</summary>
public static class Phases
{
    private const int RecentSteps = 20;
    private const double LeastShare = 0.005;

    /// <summary>Which steps the times are the mean of, in words.</summary>
    public static string StepsOf(RunFeed run) => run.Series(MetricCatalog.StepTime).Values.Count switch
    {
        1 => "of 1 step",
        > RecentSteps => $"mean of the last {RecentSteps} steps",
        var count => $"mean of {count} steps",
    };

    /// <summary>The phases of a run's steps, the mean over its last ones; empty where it logs no times.</summary>
    public static IReadOnlyList<Phase> Of(RunFeed run)
    {
        if (run.Recent(MetricCatalog.StepTime, RecentSteps) is not { } total || total <= 0)
            return [];
        List<Phase> phases = [];
        foreach (var term in MetricCatalog.Phases(run.MetricNames))
            if (run.Recent(term.Metric, RecentSteps) is { } seconds && seconds >= LeastShare * total)
                phases.Add(new(term.Title, term.Explanation, seconds, Math.Min(1, seconds / total)));
        double rest = total - phases.Sum(p => p.Seconds);
        if (rest > LeastShare * total)
            phases.Add(new("Everything else", "Statistics, batches, writing metrics.", rest, rest / total));
        return phases;
    }
}
