using System.Text.Json;
using Rlhf.Runs;
using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Runs;

/// <summary>What a run itself says of its length and time; null where it does not.</summary>
/// <param name="Steps">Steps that were asked for, by run.json.</param>
/// <param name="Started">When its first process began, UTC, by run.json.</param>
/// <param name="Took">How long it took, by summary.json.</param>
/// <param name="Resumed">When its last process began, UTC, where that was after the summary was written: then the summary is of what came before.</param>
internal readonly record struct RunTimes(long? Steps, DateTime? Started, TimeSpan? Took, DateTime? Resumed)
{
    private const int MostBytes = 4 << 20;

    /// <summary>Reads two files that may be missing, or hold anything.</summary>
    /// <param name="info">Path of run.json; null where it is not there.</param>
    /// <param name="summary">Path of summary.json; null where it is not there.</param>
    public static RunTimes Read(string? info, string? summary)
    {
        var run = info is null ? null : RunInfo.Load(Path.GetDirectoryName(info)!);
        DateTime? last = summary is null ? null : run?.Sessions.LastOrDefault()?.Started.UtcDateTime;
        return new(run?.Steps is > 0 and var steps ? steps : null, run?.Sessions.FirstOrDefault()?.Started.UtcDateTime, TookIn(summary),
            last is not null && last > File.GetLastWriteTimeUtc(summary!) ? last : null);
    }

    /// <summary>How long the run has taken so far: without the time between its processes, where that is known.</summary>
    /// <param name="hasEnded">Whether it is finished or was stopped, and so wrote its summary.</param>
    /// <param name="started">When it began, UTC.</param>
    /// <param name="updated">When its last step was logged, UTC.</param>
    public TimeSpan? SoFar(bool hasEnded, DateTime? started, DateTime? updated) =>
        Took is { } took && Resumed is { } resumed ? took + (updated > resumed ? updated.Value - resumed : TimeSpan.Zero)
        : hasEnded && Took is not null ? Took : updated - started;

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
