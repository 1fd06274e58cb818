using Rlhf.Runs;
using Rlhf.Studio.Files;
using Rlhf.Tracking;

namespace Rlhf.Studio.Runs;

/// <summary>Everything that a run has logged, kept up with its files.</summary>
public sealed class RunFeed
{
    private const int MostSamplesOfAStep = 512;
    private readonly Func<string, FileStream?> open;
    private readonly LineTail metricsTail, samplesTail;
    private readonly SortedDictionary<long, List<(long Offset, int Length)>> samples = [];
    private readonly Lock access = new();
    private readonly Dictionary<string, MetricSeries> snapshots = []; // of this version
    private MetricHistory metrics = new();
    private long[]? sampleSteps;

    internal RunFeed(RunCatalog runs, string id)
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
    public long LastStep => metrics.LastStep;

    /// <summary>Names of all metrics.</summary>
    public IReadOnlyList<string> MetricNames
    {
        get
        {
            lock (access)
                return [.. metrics.Names];
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
            bool grew = metricsTail.Read((_, line) => metrics.Add(JsonlRow.Parse(line)), () => metrics = new());
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
                snapshots[name] = snapshot = metrics[name];
            return snapshot;
        }
    }

    /// <summary>The mean of a metric over its last values, or null.</summary>
    public double? Recent(string name, int count) =>
        Series(name).Values.TakeLast(count).Where(double.IsFinite).ToArray() is { Length: > 0 } last ? last.Average() : null;

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
                if (stream.ReadAtLeast(line, length, throwOnEndOfStream: false) == length && RunSample.Of(JsonlRow.Parse(line)) is { } sample)
                    result.Add(sample);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is being replaced.
        }
        return result;
    }

    private void AddSample(long offset, ReadOnlySpan<byte> line)
    {
        if (RunSample.Of(JsonlRow.Parse(line)) is not { Step: var step })
            return;
        if (!samples.TryGetValue(step, out var rows))
            samples[step] = rows = [];
        if (rows.Count < MostSamplesOfAStep)
            rows.Add((offset, line.Length));
    }
}

/// <summary>Keeps the data of runs that are looked at, and forgets what nobody has looked at for long.</summary>
public sealed class RunFeeds(RunCatalog runs)
{
    private const int MostRuns = 24;
    private readonly Lock access = new();
    private readonly Dictionary<string, (RunFeed Data, long Used)> kept = [];

    /// <summary>A run's data; empty until it is updated.</summary>
    public RunFeed Of(string id)
    {
        lock (access)
        {
            var data = kept.TryGetValue(id, out var known) ? known.Data : new RunFeed(runs, id);
            kept[id] = (data, Environment.TickCount64);
            if (kept.Count > MostRuns)
                kept.Remove(kept.MinBy(k => k.Value.Used).Key);
            return data;
        }
    }
}
