using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Runtime;

namespace Rlhf.Training.Checkpointing;

/// <summary>JSON in checkpoints: numbers come back bit for bit, NaN and infinities too.</summary>
internal static class CheckpointJson
{
    public static JsonSerializerOptions Options { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        WriteIndented = true,
    };

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
            return JsonSerializer.Deserialize<T>(File.ReadAllBytes(path), Options)
                ?? throw new InvalidDataException($"{path} is empty.");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path} is damaged: {e.Message}", e);
        }
    }
}
