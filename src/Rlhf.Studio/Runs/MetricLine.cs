using System.Globalization;
using System.Text.Json;

namespace Rlhf.Studio.Runs;

/// <summary>Reads lines of metrics.jsonl and samples.jsonl; what is no such line is passed over.</summary>
internal static class MetricLine
{
    /// <summary>Reads one line of metrics.</summary>
    /// <param name="line">A JSON object with <c>step</c>.</param>
    /// <param name="onStep">Called with the step, 0 or more, before any metric.</param>
    /// <param name="onTime">Called with the time, UTC.</param>
    /// <param name="onMetric">Called with each number, NaN and infinities among them.</param>
    /// <returns>False for a line that is none.</returns>
    public static bool Read(ReadOnlySpan<byte> line, Action<long> onStep, Action<DateTime> onTime, Action<string, double> onMetric)
    {
        if (StepOf(line) is not { } step)
            return false;
        onStep(step);
        var json = new Utf8JsonReader(line);
        json.Read();
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string name = json.GetString()!;
            json.Read();
            if (name == "time" && json.TokenType == JsonTokenType.String)
            {
                if (DateTime.TryParse(json.GetString(), CultureInfo.InvariantCulture, DateTimeStyles.AdjustToUniversal, out var time))
                    onTime(time);
            }
            else if (name != "step" && Number(ref json) is { } value)
                onMetric(name, value);
            json.Skip();
        }
        return true;
    }

    /// <summary>The step of a line that is a whole JSON object, or null.</summary>
    public static long? StepOf(ReadOnlySpan<byte> line)
    {
        try
        {
            var json = new Utf8JsonReader(line);
            if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
                return null;
            long? step = null;
            while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
            {
                bool isStep = json.ValueTextEquals("step"u8);
                json.Read();
                if (isStep && json.TokenType == JsonTokenType.Number && json.TryGetInt64(out long value) && value >= 0)
                    step = value;
                json.Skip();
            }
            return json.TokenType == JsonTokenType.EndObject && !json.Read() ? step : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private static double? Number(ref Utf8JsonReader json) => json.TokenType switch
    {
        JsonTokenType.Number => json.TryGetDouble(out double value) ? value : null,
        JsonTokenType.String => json.GetString() switch
        {
            "NaN" => double.NaN,
            "Infinity" => double.PositiveInfinity,
            "-Infinity" => double.NegativeInfinity,
            _ => null,
        },
        _ => null,
    };
}
