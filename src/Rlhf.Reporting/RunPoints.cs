using Rlhf.Runs;

namespace Rlhf.Reporting;

internal static class RunPoints
{
    /// <summary>A metric's points over the step; none when it was not logged.</summary>
    public static IReadOnlyList<ChartPoint> Points(this RunData run, string metric)
    {
        var series = run.Metric(metric);
        return [.. series.Steps.Zip(series.Values, (step, value) => new ChartPoint(step, value))];
    }
}
