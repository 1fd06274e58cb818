using System.Text.Json;
using Rlhf.Runs;
using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Runs;

/// <summary>What a run itself says of its length and time; null where it does not.</summary>
/// <param name="Steps">Steps that were asked for, by run.json.</param>
/// <param name="Started">When its first process began, UTC, by run.json.</param>
/// <param name="Took">How long it took, by summary.json.</param>
internal readonly record struct RunTimes(long? Steps, DateTime? Started, TimeSpan? Took)
{
    private const int MostBytes = 4 << 20;

    /// <summary>Reads two files that may be missing, or hold anything.</summary>
    /// <param name="info">Path of run.json; null where it is not there.</param>
    /// <param name="summary">Path of summary.json; null where it is not there.</param>
    public static RunTimes Read(string? info, string? summary)
    {
        var run = info is null ? null : RunInfo.Load(Path.GetDirectoryName(info)!);
        return new(run?.Steps is > 0 and var steps ? steps : null, run?.Sessions.FirstOrDefault()?.Started.UtcDateTime, TookIn(summary));
    }

    private static TimeSpan? TookIn(string? path)
    {
        try
        {
            if (path is null)
                return null;
            using var stream = RegularFile.Open(path, FileShare.ReadWrite | FileShare.Delete);
            if (stream.Length > MostBytes)
                return null;
            using var json = JsonDocument.Parse(stream);
            return json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty("seconds", out var seconds)
                && seconds.ValueKind == JsonValueKind.Number && seconds.TryGetDouble(out double value) && value is >= 0 and < 1e9
                ? TimeSpan.FromSeconds(value) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }
}
