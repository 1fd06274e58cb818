using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;

namespace Rlhf.Training.Checkpoints;

/// <summary>JSON in checkpoints: numbers come back bit for bit, NaN and infinities too.</summary>
internal static class CheckpointJson
{
    public static JsonSerializerOptions Options { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        WriteIndented = true,
        RespectRequiredConstructorParameters = true,
        RespectNullableAnnotations = true,
    };

    private static readonly TimeSpan LongestRun = TimeSpan.FromDays(36525);

    /// <summary>Can a run have taken so long?</summary>
    public static bool IsSound(TimeSpan elapsed) => elapsed >= TimeSpan.Zero && elapsed <= LongestRun;

    /// <summary>Reads a trainer's numbers; null for those of a trainer that has taken no step.</summary>
    /// <exception cref="JsonException">They are not such numbers, or not sound.</exception>
    public static T? ReadState<T>(JsonElement state, Func<T, bool> isSound) where T : class
    {
        if (state.ValueKind != JsonValueKind.Object)
            throw new JsonException("The trainer's state is no object.");
        if (!state.EnumerateObject().Any())
            return null;
        return state.Deserialize<T>(Options) is { } read && isSound(read) ? read
            : throw new JsonException("The trainer's state holds numbers that no trainer saves.");
    }

    /// <summary>Reads a file.</summary>
    /// <exception cref="InvalidDataException">It is missing, too large, or not such JSON.</exception>
    /// <exception cref="IOException">It cannot be read, or is no regular file.</exception>
    public static T Read<T>(string path, long mostBytes) where T : class
    {
        var file = new FileInfo(path);
        if (!file.Exists)
            throw new InvalidDataException($"{path} is missing.");
        if (file.Length > mostBytes)
            throw new InvalidDataException($"{path} has {file.Length:N0} bytes; at most {mostBytes:N0} are sound.");
        try
        {
            RegularFile.Require(path);
            byte[] content = File.ReadAllBytes(path);
            UntrustedJson.Check(content);
            return JsonSerializer.Deserialize<T>(content, Options) ?? throw new InvalidDataException($"{path} is empty.");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path} is damaged: {UntrustedText.Clean(e.Message)}", e);
        }
    }
}
