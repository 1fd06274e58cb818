using System.Text.Json;

namespace Rlhf.Serving;

/// <summary>Texts in the fields of a request.</summary>
internal static class JsonTexts
{
    /// <summary>What is wrong with a text that is half a character.</summary>
    public const string HalfCharacter = "holds half of a surrogate pair, which is no character; send whole characters.";

    /// <summary>A text or a list of texts; a field that is missing is none.</summary>
    public static string[] Read(JsonElement value, string name, List<FieldProblem> problems, string wanted = "a text or a list of texts")
    {
        try
        {
            switch (value.ValueKind)
            {
                case JsonValueKind.Undefined or JsonValueKind.Null:
                    return [];
                case JsonValueKind.String:
                    return [value.GetString()!];
                case JsonValueKind.Array when value.EnumerateArray().All(v => v.ValueKind == JsonValueKind.String):
                    return [.. value.EnumerateArray().Select(v => v.GetString()!)];
                default:
                    problems.Add(new(name, $"{name} must be {wanted}."));
                    return [];
            }
        }
        catch (InvalidOperationException)
        {
            // An escape such as \ud83d without its second half.
            problems.Add(new(name, $"{name} {HalfCharacter}"));
            return [];
        }
    }
}
