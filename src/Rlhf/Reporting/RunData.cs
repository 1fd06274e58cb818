using System.Text.Json;
using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Tracking;

namespace Rlhf.Reporting;

/// <summary>A sampled query and response with its reward.</summary>
public sealed record RunSample(long Step, string Query, string Response, double Reward);

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
    private const int MostLineLength = 1 << 22, MostNames = 500, MostPoints = 1_000_000, MostWarnings = 50, SamplesKept = 64;
    private const long MostSummaryBytes = 16 << 20;

    /// <summary>The folder's name.</summary>
    public required string Name { get; init; }

    /// <summary>What was done: ppo, sft or reward; unset: not known.</summary>
    public string Verb { get; init; } = "";

    /// <summary>What made it; null for runs that did not note it.</summary>
    public RunInfo? Info { get; init; }

    /// <summary>Metrics by name, over the step.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<ChartPoint>> Metrics { get; init; } =
        new Dictionary<string, IReadOnlyList<ChartPoint>>();

    /// <summary>The last step that was logged.</summary>
    public long LastStep { get; init; }

    /// <summary>When the first and the last step ended.</summary>
    public (DateTimeOffset First, DateTimeOffset Last)? Time { get; init; }

    /// <summary>The first rows of table game_log.</summary>
    public IReadOnlyList<RunSample> FirstSamples { get; init; } = [];

    /// <summary>Its last rows.</summary>
    public IReadOnlyList<RunSample> LastSamples { get; init; } = [];

    /// <summary>Warnings, one of each kind.</summary>
    public IReadOnlyList<RunWarning> Warnings { get; init; } = [];

    /// <summary>summary.json; null when there is none.</summary>
    public JsonElement? Summary { get; init; }

    /// <summary>Before and after on held-out queries.</summary>
    public EvaluationFile? Evaluation { get; init; }

    /// <summary>A metric's points; none when it was not logged.</summary>
    public IReadOnlyList<ChartPoint> Metric(string name) => Metrics.GetValueOrDefault(name) ?? [];

    /// <summary>A number of the summary, such as reward_after.mean; null when it is not there.</summary>
    public double? Number(params ReadOnlySpan<string> path)
    {
        var at = Summary;
        foreach (var key in path)
            at = at is { ValueKind: JsonValueKind.Object } o && o.TryGetProperty(key, out var inner) ? inner : null;
        return at is { ValueKind: JsonValueKind.Number } number && number.TryGetDouble(out double value) ? value : null;
    }

    /// <summary>An interval of the summary: an array of two numbers.</summary>
    public ConfidenceInterval? Interval(params ReadOnlySpan<string> path)
    {
        var at = Summary;
        foreach (var key in path)
            at = at is { ValueKind: JsonValueKind.Object } o && o.TryGetProperty(key, out var inner) ? inner : null;
        return at is { ValueKind: JsonValueKind.Array } array && array.GetArrayLength() == 2
            && array.EnumerateArray().All(e => e.ValueKind == JsonValueKind.Number)
            ? new(array[0].GetDouble(), array[1].GetDouble()) : null;
    }

    /// <summary>Reads a run's folder.</summary>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may not be read.</exception>
    public static RunData Load(string folder)
    {
        var info = RunInfo.Load(folder);
        var data = new RunData
        {
            Name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))),
            Info = info,
            Verb = info?.Verb ?? VerbOf(Path.Combine(folder, "config.yaml")),
            Summary = ReadSummary(Path.Combine(folder, "summary.json")),
        };
        data = ReadSamples(Path.Combine(folder, JsonlSink.SamplesFile), ReadMetrics(Path.Combine(folder, JsonlSink.MetricsFile), data));
        try
        {
            return data with { Evaluation = EvaluationFile.Load(folder) };
        }
        catch (InvalidDataException)
        {
            return data;
        }
    }

    private static RunData ReadMetrics(string path, RunData data)
    {
        var metrics = new Dictionary<string, List<ChartPoint>>();
        long last = 0, points = 0;
        (DateTimeOffset First, DateTimeOffset Last)? time = null;
        foreach (var line in Lines(path))
        {
            if (!line.TryGetProperty("step", out var s) || s.ValueKind != JsonValueKind.Number || !s.TryGetInt64(out long step) || step < last)
                continue;
            last = step;
            if (line.TryGetProperty("time", out var t) && t.ValueKind == JsonValueKind.String && t.TryGetDateTimeOffset(out var at))
                time = (time?.First ?? at, at);
            foreach (var property in line.EnumerateObject())
                if (property.Name is not ("step" or "time") && ValueOf(property.Value) is { } value && points < MostPoints)
                {
                    if (!metrics.TryGetValue(property.Name, out var list))
                        if (metrics.Count == MostNames)
                            continue;
                        else
                            metrics[property.Name] = list = [];
                    list.Add(new(step, value));
                    points++;
                }
        }
        return data with
        {
            Metrics = metrics.ToDictionary(m => m.Key, m => (IReadOnlyList<ChartPoint>)m.Value),
            LastStep = last,
            Time = time,
        };
    }

    private static RunData ReadSamples(string path, RunData data)
    {
        var first = new List<RunSample>();
        var last = new Queue<RunSample>();
        var warnings = new Dictionary<string, RunWarning>();
        foreach (var line in Lines(path))
        {
            long step = line.TryGetProperty("step", out var s) && s.ValueKind == JsonValueKind.Number && s.TryGetInt64(out long n) ? n : 0;
            string? table = TextOf(line, "table");
            if (table == "warnings" && TextOf(line, "message") is { } message)
            {
                string kind = string.Concat(message.Where(char.IsLetter).Take(24)); // whatever its numbers
                if (warnings.TryGetValue(kind, out var known))
                    warnings[kind] = known with { Count = known.Count + 1 };
                else if (warnings.Count < MostWarnings)
                    warnings[kind] = new(step, message, 1);
            }
            else if (table == "game_log" && TextOf(line, "query") is { } query && TextOf(line, "response") is { } response
                && line.TryGetProperty("reward", out var r) && ValueOf(r) is { } reward)
            {
                var sample = new RunSample(step, query, response, reward);
                if (first.Count < SamplesKept)
                    first.Add(sample);
                last.Enqueue(sample);
                if (last.Count > SamplesKept)
                    last.Dequeue();
            }
        }
        return data with { FirstSamples = first, LastSamples = [.. last], Warnings = [.. warnings.Values.OrderBy(w => w.Step)] };
    }

    /// <summary>The objects of a file of JSON lines; what is none is passed over.</summary>
    private static IEnumerable<JsonElement> Lines(string path)
    {
        if (!File.Exists(path))
            yield break;
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var lines = BoundedLines.Read(stream, path, MostLineLength).GetEnumerator();
        while (true)
        {
            JsonElement? element = null;
            try
            {
                if (!lines.MoveNext())
                    yield break;
                using var json = JsonDocument.Parse(lines.Current.Line);
                element = json.RootElement.ValueKind == JsonValueKind.Object ? json.RootElement.Clone() : null;
            }
            catch (JsonException)
            {
                // A line that a crash cut off.
            }
            catch (InvalidDataException)
            {
                yield break; // no text
            }
            if (element is { } found)
                yield return found;
        }
    }

    private static double? ValueOf(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Number when value.TryGetDouble(out double number) => number,
        JsonValueKind.String => value.ValueEquals("NaN") ? double.NaN
            : value.ValueEquals("Infinity") ? double.PositiveInfinity : value.ValueEquals("-Infinity") ? double.NegativeInfinity : null,
        _ => null,
    };

    private static string? TextOf(JsonElement line, string name)
    {
        try
        {
            return line.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            return null; // half a surrogate pair
        }
    }

    private static JsonElement? ReadSummary(string path)
    {
        try
        {
            if (!File.Exists(path) || new FileInfo(path).Length > MostSummaryBytes)
                return null;
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            return json.RootElement.ValueKind == JsonValueKind.Object ? json.RootElement.Clone() : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    // The first line of the file that every run has says it: "# rlhf ppo --config config.yaml repeats this run."
    private static string VerbOf(string path)
    {
        if (!File.Exists(path))
            return "";
        using var reader = File.OpenText(path);
        var start = new char[40];
        return new string(start, 0, reader.ReadBlock(start)).Split(' ') is ["#", "rlhf", var verb, ..] ? verb : "";
    }
}
