using Rlhf.Runs;

namespace Rlhf.Reporting;

/// <summary>The charts of a run, for its report, for pictures and for anything else that shows runs.</summary>
public static class RunCharts
{
    private const int Bins = 24;

    /// <summary>Curves over the steps; those without a value are left out.</summary>
    public static IReadOnlyList<Chart> Curves(RunData run)
    {
        var charts = run.Kind.Charts.Select(chart => Lines(run, chart));
        return [.. (run.Kind.Phases.Count == 0 ? charts : charts.Append(Time(run))).Where(c => c.Series.Any(s => s.Points.Any(p => double.IsFinite(p.Y))))];
    }

    /// <summary>How rewards are distributed before and after; null when there are none.</summary>
    public static Chart? Rewards(RunData run)
    {
        var (before, after, note) = run.Evaluation is { Comparison.Rows: { Count: > 0 } rows }
            ? (rows.Select(r => r.RewardBefore).ToArray(), rows.Select(r => r.RewardAfter).ToArray(),
                $"{Numbers.Count(rows.Count, "held-out query", "held-out queries")}, answered before and after training")
            : (run.FirstSamples.Select(s => s.Reward).ToArray(), run.LastSamples.Select(s => s.Reward).ToArray(),
                $"first and last {Numbers.Count(run.FirstSamples.Count, "logged sample")} of training");
        double[] all = [.. before.Concat(after).Where(double.IsFinite)];
        if (all.Length == 0 || run.Evaluation is null && run.LastSamples.LastOrDefault()?.Step == run.FirstSamples[0].Step)
            return null;
        double low = all.Min(), high = all.Max();
        if (high - low < 1e-9)
            (low, high) = (low - 0.5, high + 0.5);
        ChartSeries Counts(string name, double[] values, int color)
        {
            var counts = new int[Bins];
            foreach (double value in values.Where(double.IsFinite))
                counts[Math.Min(Bins - 1, (int)((value - low) / (high - low) * Bins))]++;
            return new(name, [.. Enumerable.Range(0, Bins + 1).Select(i =>
                new ChartPoint(low + (high - low) * i / Bins, i < Bins ? counts[i] : 0))], color);
        }
        return new("rewards", "Rewards before and after", ChartKind.Histogram, [Counts("before", before, 0), Counts("after", after, 1)])
        {
            XLabel = "reward",
            Note = note,
            Description = $"Histogram of rewards. Before: mean {Mean(before)}. After: mean {Mean(after)}.",
        };
    }

    /// <summary>Means with their 95 % intervals; null without an evaluation.</summary>
    public static Chart? Intervals(RunData run)
    {
        List<ChartSeries> rows = [];
        void Add(string name, double? mean, Evaluation.ConfidenceInterval? interval, int color)
        {
            if (mean is { } known)
                rows.Add(new(name, [new(0, known, interval?.Low ?? double.NaN, interval?.High ?? double.NaN)], color));
        }
        if (run.Evaluation?.Comparison is { Before: var before, After: var after })
        {
            Add("reward before", before.Reward.Mean, before.Reward.MeanCi95, 0);
            Add("reward after", after.Reward.Mean, after.Reward.MeanCi95, 1);
            Add("judge before", before.Judge?.Mean, before.Judge?.MeanCi95, 0);
            Add("judge after", after.Judge?.Mean, after.Judge?.MeanCi95, 2);
        }
        else
        {
            Add("reward before", run.Number("reward_before", "mean"), run.Interval("reward_before", "ci95"), 0);
            Add("reward after", run.Number("reward_after", "mean"), run.Interval("reward_after", "ci95"), 1);
            Add("judge before", run.Number("judge_before"), null, 0);
            Add("judge after", run.Number("judge_after"), null, 2);
        }
        return rows.Count == 0 ? null : new("intervals", "Held-out means", ChartKind.Intervals, rows)
        {
            XLabel = "mean score, bar: 95 % interval",
            Note = "mean over held-out queries with its 95 % bootstrap interval",
            Description = string.Join("; ", rows.Select(r => $"{r.Name} {Numbers.Signed(r.Points[0].Y)}"
                + (double.IsFinite(r.Points[0].Low) ? $" ({Numbers.Signed(r.Points[0].Low)} to {Numbers.Signed(r.Points[0].High)})" : ""))) + ".",
        };
    }

    private static Chart Lines(RunData run, MetricChart chart)
    {
        string title = chart.Title ?? MetricCatalog.TitleOf(chart.Lines[0].Metric);
        return Lines(run, chart.Name, title, chart.Note, [.. chart.Lines.Select(line =>
            line.Spread is { } spread ? WithSpread(run, line.Metric, spread, NameOf(line), line.Color) : Of(run, line.Metric, NameOf(line), line.Color))])
            with
        { FromZero = chart.FromZero };
    }

    private static string NameOf(MetricLine line)
    {
        if (line.Label is { } label)
            return label;
        string title = MetricCatalog.TitleOf(line.Metric);
        return title.Length > 1 && char.IsUpper(title[1]) ? title : char.ToLowerInvariant(title[0]) + title[1..];
    }

    private static Chart Lines(RunData run, string name, string title, string note, params ChartSeries[] series)
    {
        var there = series.Where(s => s.Points.Any(p => double.IsFinite(p.Y))).ToArray();
        return new(name, title, ChartKind.Lines, there)
        {
            Note = note,
            Description = $"{title} over {Numbers.Count(run.LastStep, "step")}. " + string.Join(" ", there.Select(s =>
            {
                var finite = s.Points.Where(p => double.IsFinite(p.Y)).ToArray();
                return $"{s.Name}: from {Numbers.Short(finite[0].Y)} to {Numbers.Short(finite[^1].Y)}, at least "
                    + $"{Numbers.Short(finite.Min(p => p.Y))}, at most {Numbers.Short(finite.Max(p => p.Y))}.";
            })),
        };
    }

    private static ChartSeries Of(RunData run, string metric, string name, int color) => new(name, run.Points(metric), color);

    private static ChartSeries WithSpread(RunData run, string mean, string std, string name, int color)
    {
        var spread = run.Points(std).ToDictionary(p => p.X, p => p.Y);
        return new(name, [.. run.Points(mean).Select(p => spread.TryGetValue(p.X, out double s) ? p with { Low = p.Y - s, High = p.Y + s } : p)], color);
    }

    /// <summary>Seconds of each phase of a step on top of each other; what the phases leave of the whole is "other".</summary>
    private static Chart Time(RunData run)
    {
        var whole = run.Points(MetricCatalog.StepTime);
        var left = whole.ToDictionary(p => p.X, p => p.Y);
        var layers = new List<ChartSeries>();
        foreach (var part in MetricCatalog.Phases(run.Metrics.Keys).Where(p => p.Part != "").GroupBy(p => p.Part))
        {
            var sums = new Dictionary<double, double>();
            foreach (var p in part.SelectMany(phase => run.Points(phase.Metric)))
                sums[p.X] = sums.GetValueOrDefault(p.X) + p.Y;
            layers.Add(new(part.Key, [.. whole.Select(p => new ChartPoint(p.X, sums.GetValueOrDefault(p.X)))], layers.Count + 1));
            foreach (var (x, y) in sums)
                if (left.ContainsKey(x))
                    left[x] -= y;
        }
        layers.Add(new("other", [.. whole.Select(p => p with { Y = Math.Max(0, left[p.X]) })], 0));
        double total = whole.Sum(p => p.Y);
        string shares = string.Join(", ", layers.Select(l => $"{l.Name} {Numbers.Fixed(100 * l.Points.Sum(p => p.Y) / Math.Max(total, 1e-9), 0)} %"));
        return new("time", MetricCatalog.TitleOf(MetricCatalog.StepTime), ChartKind.Stack, whole.Count == 0 ? [] : layers)
        {
            Note = $"seconds; in all {shares}",
            Description = $"Seconds per step by phase, stacked: {shares}.",
        };
    }

    private static string Mean(double[] values) => Numbers.Signed(values.Where(double.IsFinite).DefaultIfEmpty(double.NaN).Average());
}
