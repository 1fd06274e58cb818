using System.Text.Json;
using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Runs;

/// <summary>What a run itself says of its time; null where it does not.</summary>
/// <param name="Started">When its first process began, UTC, of run.json.</param>
/// <param name="Took">How long it took, of summary.json.</param>
internal readonly record struct RunTimes(DateTime? Started, TimeSpan? Took)
{
    private const int MostBytes = 4 << 20;

    /// <summary>Reads two files that may be missing, or hold anything.</summary>
    public static RunTimes Read(string? info, string? summary) => new(Of(info, StartedIn), Of(summary, TookIn));

    private static DateTime? StartedIn(JsonElement info) =>
        info.TryGetProperty("sessions", out var sessions) && sessions.ValueKind == JsonValueKind.Array && sessions.GetArrayLength() > 0
            && sessions[0] is { ValueKind: JsonValueKind.Object } first && first.TryGetProperty("started", out var started)
            && started.ValueKind == JsonValueKind.String && started.TryGetDateTimeOffset(out var time) ? time.UtcDateTime : null;

    private static TimeSpan? TookIn(JsonElement summary) =>
        summary.TryGetProperty("seconds", out var seconds) && seconds.ValueKind == JsonValueKind.Number
            && seconds.TryGetDouble(out double value) && value is >= 0 and < 1e9 ? TimeSpan.FromSeconds(value) : null;

    private static T? Of<T>(string? path, Func<JsonElement, T?> read) where T : struct
    {
        try
        {
            if (path is null)
                return null;
            using var stream = RegularFile.Open(path, FileShare.ReadWrite | FileShare.Delete);
            if (stream.Length > MostBytes)
                return null;
            using var json = JsonDocument.Parse(stream);
            return json.RootElement.ValueKind == JsonValueKind.Object ? read(json.RootElement) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException)
        {
            return null; // InvalidOperationException: text that is no Unicode
        }
    }
}
