using System.Globalization;
using Rlhf.Tracking;

namespace Rlhf.Runs;

/// <summary>One metric of a run.</summary>
/// <param name="Steps">The steps at which it was logged, ascending.</param>
/// <param name="Values">Its value at each; may be NaN.</param>
public sealed record MetricSeries(IReadOnlyList<long> Steps, IReadOnlyList<double> Values)
{
    /// <summary>A metric that was never logged.</summary>
    public static MetricSeries None { get; } = new([], []);
}

/// <summary>The metrics of a run, taken in row by row. Steps never go back; of several values at a step the last one counts.</summary>
internal sealed class MetricHistory
{
    private const int MostNames = 500, MostPoints = 1 << 22;
    private readonly Dictionary<string, (List<long> Steps, List<double> Values)> metrics = [];
    private int points;

    /// <summary>Names of all metrics.</summary>
    public IReadOnlyCollection<string> Names => metrics.Keys;

    /// <summary>One metric so far.</summary>
    /// <param name="name">Its name; one that was never logged has no values.</param>
    public MetricSeries this[string name] =>
        metrics.TryGetValue(name, out var series) ? new(series.Steps.ToArray(), series.Values.ToArray()) : MetricSeries.None;

    /// <summary>The last value of each metric.</summary>
    public Dictionary<string, double> Latest => metrics.ToDictionary(m => m.Key, m => m.Value.Values[^1]);

    /// <summary>The last step that was logged; 0 for none.</summary>
    public long LastStep { get; private set; }

    /// <summary>When the first step was logged.</summary>
    public DateTimeOffset? Started { get; private set; }

    /// <summary>When the last step was logged.</summary>
    public DateTimeOffset? Updated { get; private set; }

    /// <summary>Takes a row of metrics.jsonl in; null is passed over.</summary>
    public void Add(JsonlRow? row)
    {
        if (row is null || row.Step < LastStep)
            return;
        LastStep = row.Step;
        if (DateTimeOffset.TryParse(row.Texts.GetValueOrDefault("time"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time))
            (Started, Updated) = (Started ?? time, time);
        foreach (var (name, value) in row.Numbers)
        {
            if (!metrics.TryGetValue(name, out var series))
            {
                if (metrics.Count == MostNames || points == MostPoints)
                    continue;
                metrics[name] = series = ([], []);
            }
            if (series.Steps.Count > 0 && series.Steps[^1] == row.Step)
                series.Values[^1] = value;
            else if (points < MostPoints)
            {
                series.Steps.Add(row.Step);
                series.Values.Add(value);
                points++;
            }
        }
    }
}
