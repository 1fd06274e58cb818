using System.Text.Json;

namespace Rlhf.Tracking;

/// <summary>A line of metrics.jsonl or samples.jsonl, as <see cref="JsonlSink"/> writes them.</summary>
internal sealed class JsonlRow
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
