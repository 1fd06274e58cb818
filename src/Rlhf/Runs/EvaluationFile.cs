using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Rlhf.Evaluation;
using Rlhf.Runtime.Files;

namespace Rlhf.Runs;

/// <summary>A run's evaluation on held-out queries with every query and response: the content of evaluation.json.</summary>
/// <param name="Step">Steps that the policy had been trained when it was measured.</param>
/// <param name="Comparison">Before and after.</param>
public sealed record EvaluationFile(long Step, EvaluationComparison Comparison)
{
    private const int MostBytes = 256 << 20;

    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        WriteIndented = true,
    };

    /// <summary>Writes the file atomically.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public void Save(string folder) =>
        AtomicFile.Write(Path.Combine(folder, RunFiles.Evaluation), stream => JsonSerializer.Serialize(stream, this, Options));

    /// <summary>Reads the file of a run's folder; null when there is none.</summary>
    /// <exception cref="InvalidDataException">It is no such file.</exception>
    /// <exception cref="IOException">It cannot be read, or is no regular file.</exception>
    public static EvaluationFile? Load(string folder)
    {
        string path = Path.Combine(folder, RunFiles.Evaluation);
        if (!File.Exists(path))
            return null;
        try
        {
            using var stream = RegularFile.Open(path);
            if (stream.Length > MostBytes)
                throw new InvalidDataException($"{path} is larger than the {MostBytes >> 20} MiB that are accepted.");
            var file = JsonSerializer.Deserialize<EvaluationFile>(stream, Options);
            if (file is null || file.Comparison.Rows.Any(r => r is null))
                throw new InvalidDataException($"{path} holds no evaluation.");
            return file;
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new InvalidDataException($"{path} is no evaluation of a run: {e.Message}", e);
        }
    }
}
