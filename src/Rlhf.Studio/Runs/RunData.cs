using System.Text.Json;
using Rlhf.Studio.Files;

namespace Rlhf.Studio.Runs;

/// <summary>One metric of a run.</summary>
/// <param name="Steps">The steps at which it was logged, ascending.</param>
/// <param name="Values">Its value at each; may be NaN.</param>
public sealed record MetricSeries(IReadOnlyList<long> Steps, IReadOnlyList<double> Values)
{
    /// <summary>A metric that was never logged.</summary>
    public static MetricSeries None { get; } = new([], []);
}

/// <summary>A sampled text of a run.</summary>
/// <param name="Query">What was given.</param>
/// <param name="Response">What the policy wrote.</param>
/// <param name="Reward">Its reward, or null.</param>
public sealed record RunSample(string Query, string Response, double? Reward);

/// <summary>Everything that a run has logged, kept up with its files.</summary>
public sealed class RunData
{
    private const int MostMetrics = 400, MostSamplesOfAStep = 512;
    private readonly Func<string, FileStream?> open;
    private readonly LineTail metricsTail, samplesTail;
    private readonly Dictionary<string, (List<long> Steps, List<double> Values)> metrics = [];
    private readonly SortedDictionary<long, List<(long Offset, int Length)>> samples = [];
    private readonly Lock access = new();
    private readonly Dictionary<string, MetricSeries> snapshots = []; // of this version
    private long[]? sampleSteps;

    internal RunData(RunCatalog runs, string id)
    {
        Id = id;
        open = name => runs.Open(id, name);
        metricsTail = new(() => open(RunFiles.Metrics));
        samplesTail = new(() => open(RunFiles.Samples));
    }

    /// <summary>The run.</summary>
    public string Id { get; }

    /// <summary>Grows whenever something new was read.</summary>
    public long Version { get; private set; }

    /// <summary>The last step that was logged.</summary>
    public long LastStep { get; private set; }

    /// <summary>Names of all metrics.</summary>
    public IReadOnlyList<string> MetricNames
    {
        get
        {
            lock (access)
                return [.. metrics.Keys];
        }
    }

    /// <summary>Steps of which there are sampled texts.</summary>
    public IReadOnlyList<long> SampleSteps
    {
        get
        {
            lock (access)
                return sampleSteps ??= [.. samples.Keys];
        }
    }

    /// <summary>Reads what is new in the files.</summary>
    /// <returns>Whether there was anything.</returns>
    public bool Update()
    {
        lock (access)
        {
            bool grew = metricsTail.Read(AddMetrics, () => { metrics.Clear(); LastStep = 0; });
            grew |= samplesTail.Read(AddSample, samples.Clear);
            if (grew)
            {
                Version++;
                sampleSteps = null;
                snapshots.Clear();
            }
            return grew;
        }
    }

    /// <summary>One metric so far.</summary>
    public MetricSeries Series(string name)
    {
        lock (access)
        {
            if (!snapshots.TryGetValue(name, out var snapshot))
                snapshots[name] = snapshot = metrics.TryGetValue(name, out var series)
                    ? new(series.Steps.ToArray(), series.Values.ToArray()) : MetricSeries.None;
            return snapshot;
        }
    }

    /// <summary>The mean of a metric over its last values, or null.</summary>
    public double? Recent(string name, int count)
    {
        lock (access)
            return metrics.TryGetValue(name, out var series) && series.Values.TakeLast(count).Where(double.IsFinite).ToArray() is { Length: > 0 } last
                ? last.Average() : null;
    }

    /// <summary>The texts that were sampled at a step, read from the file.</summary>
    public IReadOnlyList<RunSample> SamplesAt(long step)
    {
        (long Offset, int Length)[] rows;
        lock (access)
            rows = samples.TryGetValue(step, out var known) ? [.. known] : [];
        List<RunSample> result = [];
        try
        {
            using var stream = rows.Length == 0 ? null : open(RunFiles.Samples);
            if (stream is null)
                return [];
            foreach (var (offset, length) in rows)
            {
                var line = new byte[length];
                stream.Position = offset;
                if (stream.ReadAtLeast(line, length, throwOnEndOfStream: false) == length && Sample(line) is { } sample)
                    result.Add(sample);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is being replaced.
        }
        return result;
    }

    private void AddMetrics(long offset, ReadOnlySpan<byte> line)
    {
        long step = 0;
        MetricLine.Read(line, at => LastStep = Math.Max(LastStep, step = at), _ => { }, (name, value) =>
        {
            if (!metrics.TryGetValue(name, out var series))
            {
                if (metrics.Count >= MostMetrics)
                    return;
                metrics[name] = series = ([], []);
            }
            if (series.Steps.Count == 0 || series.Steps[^1] < step)
            {
                series.Steps.Add(step);
                series.Values.Add(value);
            }
            else if (series.Steps[^1] == step)
                series.Values[^1] = value;
        });
    }

    private void AddSample(long offset, ReadOnlySpan<byte> line)
    {
        // Other tables, such as warnings, are no texts.
        if (line.IndexOf("\"response\":"u8) < 0 || MetricLine.StepOf(line) is not { } step)
            return;
        if (!samples.TryGetValue(step, out var rows))
            samples[step] = rows = [];
        if (rows.Count < MostSamplesOfAStep)
            rows.Add((offset, line.Length));
    }

    private static RunSample? Sample(byte[] line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            var root = json.RootElement;
            string? Text(string name) => root.TryGetProperty(name, out var cell) && cell.ValueKind == JsonValueKind.String ? cell.GetString() : null;
            return Text("response") is not { } response ? null : new(Text("query") ?? "", response,
                root.TryGetProperty("reward", out var reward) && reward.ValueKind == JsonValueKind.Number ? reward.GetDouble() : null);
        }
        catch (JsonException)
        {
            return null; // the file was replaced since it was indexed
        }
    }
}

/// <summary>Keeps the data of runs that are looked at, and forgets what nobody has looked at for long.</summary>
public sealed class RunDataCache(RunCatalog runs)
{
    private const int MostRuns = 24;
    private readonly Lock access = new();
    private readonly Dictionary<string, (RunData Data, long Used)> kept = [];

    /// <summary>A run's data; empty until it is updated.</summary>
    public RunData Of(string id)
    {
        lock (access)
        {
            var data = kept.TryGetValue(id, out var known) ? known.Data : new RunData(runs, id);
            kept[id] = (data, Environment.TickCount64);
            if (kept.Count > MostRuns)
                kept.Remove(kept.MinBy(k => k.Value.Used).Key);
            return data;
        }
    }
}
