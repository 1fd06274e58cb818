using System.Text.Json;
using Rlhf.Evaluation;
using Rlhf.Runtime.Files;
using Rlhf.Tracking;

namespace Rlhf.Runs;

/// <summary>A warning that was raised, and how often one of its kind was.</summary>
/// <param name="Step">The first time.</param>
/// <param name="Message">What it said then.</param>
/// <param name="Count">How often.</param>
public sealed record RunWarning(long Step, string Message, int Count);

/// <summary>
/// What is known of a run, read from its folder: metrics.jsonl, samples.jsonl, summary.json, evaluation.json, run.json. What is missing,
/// cut off or not what it should be is left out, since a run may have been killed at any moment.
/// </summary>
public sealed record RunData
{
    private const int MostWarnings = 50, SamplesKept = 64;
    private const long MostSummaryBytes = 16 << 20;

    /// <summary>The folder's name.</summary>
    public required string Name { get; init; }

    /// <summary>The verb of its <see cref="Kind"/>; empty: not known.</summary>
    public string Verb { get; init; } = "";

    /// <summary>What kind of training it is: that of <see cref="Verb"/>, or else the one that its metrics look like.</summary>
    public TrainingKind Kind => TrainingKinds.Of(Verb, Metrics.Keys);

    /// <summary>What made it; null for runs that did not note it.</summary>
    public RunInfo? Info { get; init; }

    /// <summary>Metrics by name, over the step.</summary>
    public IReadOnlyDictionary<string, MetricSeries> Metrics { get; init; } = new Dictionary<string, MetricSeries>();

    /// <summary>The last step that was logged.</summary>
    public long LastStep { get; init; }

    /// <summary>When the first step ended.</summary>
    public DateTimeOffset? Started { get; init; }

    /// <summary>The first rows with texts.</summary>
    public IReadOnlyList<RunSample> FirstSamples { get; init; } = [];

    /// <summary>Its last rows.</summary>
    public IReadOnlyList<RunSample> LastSamples { get; init; } = [];

    /// <summary>Warnings, one of each kind.</summary>
    public IReadOnlyList<RunWarning> Warnings { get; init; } = [];

    /// <summary>summary.json; null when there is none.</summary>
    public JsonElement? Summary { get; init; }

    /// <summary>Before and after on held-out queries.</summary>
    public EvaluationFile? Evaluation { get; init; }

    /// <summary>A metric over the step; without values when it was not logged.</summary>
    public MetricSeries Metric(string name) => Metrics.GetValueOrDefault(name) ?? MetricSeries.None;

    /// <summary>A number of the summary, such as reward_after.mean; null when it is not there.</summary>
    public double? Number(params ReadOnlySpan<string> path) =>
        InSummary(path) is { ValueKind: JsonValueKind.Number } number && number.TryGetDouble(out double value) ? value : null;

    /// <summary>An interval of the summary: an array of two numbers.</summary>
    public ConfidenceInterval? Interval(params ReadOnlySpan<string> path) =>
        InSummary(path) is { ValueKind: JsonValueKind.Array } array && array.GetArrayLength() == 2
            && array.EnumerateArray().All(e => e.ValueKind == JsonValueKind.Number)
            ? new(array[0].GetDouble(), array[1].GetDouble()) : null;

    private JsonElement? InSummary(ReadOnlySpan<string> path)
    {
        var at = Summary;
        foreach (var key in path)
            at = at is { ValueKind: JsonValueKind.Object } o && o.TryGetProperty(key, out var inner) ? inner : null;
        return at;
    }

    /// <summary>Reads a run's folder.</summary>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may not be read.</exception>
    public static RunData Load(string folder)
    {
        var info = RunInfo.Load(folder);
        var metrics = new MetricHistory();
        JsonlFile.Read(Path.Combine(folder, RunFiles.Metrics), metrics.Add);
        var data = ReadSamples(Path.Combine(folder, RunFiles.Samples), new()
        {
            Name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))),
            Info = info,
            Verb = info?.Verb ?? RunFiles.VerbOf(folder),
            Summary = ReadSummary(Path.Combine(folder, RunFiles.Summary)),
            Metrics = metrics.Names.ToDictionary(name => name, name => metrics[name]),
            LastStep = metrics.LastStep,
            Started = metrics.Started,
        });
        try
        {
            return data with { Evaluation = EvaluationFile.Load(folder) };
        }
        catch (InvalidDataException)
        {
            return data;
        }
    }

    private static RunData ReadSamples(string path, RunData data)
    {
        var first = new List<RunSample>();
        var last = new Queue<RunSample>();
        var warnings = new Dictionary<string, RunWarning>();
        JsonlFile.Read(path, row =>
        {
            if (row.Texts.GetValueOrDefault("table") == "warnings" && row.Texts.TryGetValue("message", out var message))
            {
                // Earlier runs did not say a warning's kind: those whose first words are the same are of one.
                string kind = row.Texts.GetValueOrDefault("kind") ?? string.Concat(message.Where(char.IsLetter).Take(24));
                if (warnings.TryGetValue(kind, out var known))
                    warnings[kind] = known with { Count = known.Count + 1 };
                else if (warnings.Count < MostWarnings)
                    warnings[kind] = new(row.Step, message, 1);
            }
            else if (RunSample.Of(row) is { } sample)
            {
                if (first.Count < SamplesKept)
                    first.Add(sample);
                last.Enqueue(sample);
                if (last.Count > SamplesKept)
                    last.Dequeue();
            }
        });
        return data with { FirstSamples = first, LastSamples = [.. last], Warnings = [.. warnings.Values.OrderBy(w => w.Step)] };
    }

    private static JsonElement? ReadSummary(string path)
    {
        try
        {
            if (!File.Exists(path) || new FileInfo(path).Length > MostSummaryBytes)
                return null;
            RegularFile.Require(path);
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            return json.RootElement.ValueKind == JsonValueKind.Object ? json.RootElement.Clone() : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
