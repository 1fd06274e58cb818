using System.Text.Json;

namespace Rlhf.Tracking;

/// <summary>A line of metrics.jsonl or samples.jsonl, as <see cref="JsonlSink"/> writes them.</summary>
public sealed class JsonlRow
{
    private readonly Dictionary<string, double> numbers = [];
    private readonly Dictionary<string, string> texts = [];

    private JsonlRow()
    {
    }

    /// <summary>The step, 0 or more.</summary>
    public long Step { get; private set; } = -1;

    /// <summary>Numbers by name without the step; NaN and infinities among them.</summary>
    public IReadOnlyDictionary<string, double> Numbers => numbers;

    /// <summary>Texts by name.</summary>
    public IReadOnlyDictionary<string, string> Texts => texts;

    /// <summary>Reads a line; null when it is no whole JSON object with a step, or holds text that is no Unicode.</summary>
    /// <param name="line">UTF-8, with or without a line break.</param>
    public static JsonlRow? Parse(ReadOnlySpan<byte> line)
    {
        var row = new JsonlRow();
        try
        {
            var json = new Utf8JsonReader(line);
            if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
                return null;
            while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
            {
                string name = json.GetString()!;
                json.Read();
                row.Take(name, ref json);
                json.Skip();
            }
            return json.TokenType == JsonTokenType.EndObject && !json.Read() && row.Step >= 0 ? row : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private void Take(string name, ref Utf8JsonReader json)
    {
        if (json.TokenType == JsonTokenType.String)
        {
            texts[name] = json.GetString()!;
            if (texts[name] is "NaN" or "Infinity" or "-Infinity")
                numbers[name] = texts[name] switch { "NaN" => double.NaN, "Infinity" => double.PositiveInfinity, _ => double.NegativeInfinity };
        }
        else if (json.TokenType == JsonTokenType.Number && name == "step")
            Step = json.TryGetInt64(out long step) ? step : -1;
        else if (json.TokenType == JsonTokenType.Number && json.TryGetDouble(out double value))
            numbers[name] = value;
    }
}

/// <summary>A sampled query and response.</summary>
/// <param name="Step">The step at which it was sampled.</param>
/// <param name="Query">What was given.</param>
/// <param name="Response">What the policy wrote.</param>
/// <param name="Reward">Its reward; NaN where it has none.</param>
public sealed record RunSample(long Step, string Query, string Response, double Reward)
{
    /// <summary>The sample in a row of samples.jsonl; null for rows of other tables, such as warnings.</summary>
    public static RunSample? Of(JsonlRow? row) => row is null || !row.Texts.TryGetValue("response", out var response) ? null
        : new(row.Step, row.Texts.GetValueOrDefault("query", ""), response, row.Numbers.GetValueOrDefault("reward", double.NaN));
}
