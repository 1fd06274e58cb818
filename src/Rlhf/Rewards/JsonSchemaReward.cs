using System.Text.Json;
using Json.Schema;
using Rlhf.Runtime.Text;

namespace Rlhf.Rewards;

/// <summary>1 where the response is JSON that is valid by a JSON schema, else 0.</summary>
public sealed class JsonSchemaReward : IRewardFunction
{
    private const int MaxSchemaBytes = 1 << 20;

    private readonly JsonSchema schema;

    /// <summary>A reward from a schema.</summary>
    /// <param name="schema">The text of a JSON schema of any draft from 6 on.</param>
    /// <exception cref="InvalidDataException">It is not a JSON schema.</exception>
    public JsonSchemaReward(string schema)
    {
        try
        {
            this.schema = JsonSchema.FromText(schema);
        }
        catch (Exception e) when (e is JsonException or JsonSchemaException or InvalidOperationException or ArgumentException or NotSupportedException)
        {
            throw new InvalidDataException($"This is not a JSON schema: {UntrustedText.Clean(e.Message, 200)}", e);
        }
    }

    /// <summary>A reward from a schema's file.</summary>
    /// <exception cref="FileNotFoundException">It does not exist.</exception>
    /// <exception cref="InvalidDataException">It is not a JSON schema.</exception>
    public static JsonSchemaReward FromFile(string path)
    {
        try
        {
            return new(System.Text.Encoding.UTF8.GetString(Runtime.Files.BoundedFile.Read(path, MaxSchemaBytes, "a JSON schema")));
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{path}: {e.Message}", e);
        }
    }

    /// <summary>Name used in metrics and reports.</summary>
    public string Name { get; init; } = "json_schema";

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation = default) =>
        new([.. completions.Select(c => IsValid(c.Response) ? 1f : 0f)]);

    /// <summary>Does nothing.</summary>
    public void Dispose()
    {
    }

    private bool IsValid(string response)
    {
        try
        {
            UntrustedJson.Check(System.Text.Encoding.UTF8.GetBytes(response));
            using var json = JsonDocument.Parse(response);
            return schema.Evaluate(json.RootElement).IsValid;
        }
        catch (Exception e) when (e is JsonException or InvalidDataException)
        {
            return false;
        }
    }
}
