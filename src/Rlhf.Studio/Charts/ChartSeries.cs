using Rlhf.Runs;

namespace Rlhf.Studio.Charts;

/// <summary>One curve of a chart.</summary>
/// <param name="Name">Whose it is.</param>
/// <param name="Color">Number of its color, from 0.</param>
/// <param name="Values">The metric.</param>
/// <param name="Version">Another number when the metric has changed.</param>
public sealed record ChartSeries(string Name, int Color, MetricSeries Values, long Version);
