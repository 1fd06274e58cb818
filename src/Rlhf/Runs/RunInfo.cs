using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Runtime.Files;

namespace Rlhf.Runs;

/// <summary>How a run ended, or that it did not yet.</summary>
public enum RunState
{
    /// <summary>It trains, or its process was killed.</summary>
    Running,

    /// <summary>All steps are done and everything is saved.</summary>
    Finished,

    /// <summary>It was stopped and can go on.</summary>
    Stopped,

    /// <summary>It ended with an error.</summary>
    Failed,

    /// <summary>Its process is gone without a word, and steps since its last checkpoint are lost. run.json never says this.</summary>
    Killed,
}

/// <summary>A process that worked on a run.</summary>
/// <param name="Command">Its command line.</param>
/// <param name="Started">When it began.</param>
/// <param name="Version">Version of Rlhf.</param>
/// <param name="Device">Where it computed.</param>
public sealed record RunSession(string Command, DateTimeOffset Started, string Version, string Device)
{
    /// <summary>The checkpoint's step that it went on from; null where it began the run.</summary>
    public long? ResumedAfter { get; init; }
}

/// <summary>What made a run: the content of run.json.</summary>
/// <param name="Verb">The kind of training (<see cref="TrainingKind.Verb"/>).</param>
/// <param name="Steps">Steps that are asked for.</param>
/// <param name="Sessions">The processes that worked on it, first to last.</param>
public sealed record RunInfo(string Verb, long Steps, IReadOnlyList<RunSession> Sessions)
{
    private const int MostBytes = 4 << 20;

    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        WriteIndented = true,
    };

    /// <summary>How it ended.</summary>
    public RunState State { get; init; }

    /// <summary>Number of weights that are trained: all of a model's, or an adapter's alone; null in runs of older versions.</summary>
    public long? TrainedWeights { get; init; }

    /// <summary>Why it failed.</summary>
    public string? Message { get; init; }

    /// <summary>Writes the file atomically.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public void Save(string folder) =>
        AtomicFile.WriteAllText(Path.Combine(folder, RunFiles.Info), JsonSerializer.Serialize(this, Options) + "\n");

    /// <summary>Reads the file of a run's folder; null when there is none, or none that can be read.</summary>
    public static RunInfo? Load(string folder)
    {
        string path = Path.Combine(folder, RunFiles.Info);
        try
        {
            using var stream = RegularFile.Open(path, FileShare.ReadWrite | FileShare.Delete);
            var info = stream.Length > MostBytes ? null : JsonSerializer.Deserialize<RunInfo>(stream, Options);
            return info?.Sessions.Any(s => s is null) == true ? null : info;
        }
        catch (Exception e) when (e is JsonException or NotSupportedException or InvalidOperationException or IOException or UnauthorizedAccessException)
        {
            return null; // InvalidOperationException: text that is not Unicode
        }
    }
}
