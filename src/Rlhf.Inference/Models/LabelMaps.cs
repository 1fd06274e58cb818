using System.Globalization;
using System.Text.Json.Nodes;

namespace Rlhf.Models;

/// <summary>id2label, label2id, num_labels and problem_type of a config.json.</summary>
internal static class LabelMaps
{
    public const int MaxLabels = 100_000;

    /// <summary>Label names by index: from id2label, else label2id, else num_labels, else transformers' default of two.</summary>
    public static IReadOnlyList<string> Read(ConfigSection json)
    {
        if (json.Section("id2label")?.Json is { Count: > 0 } names)
            return Order(json, "id2label", names.Select(pair => (Index(pair.Key), Text(pair.Value))));
        if (json.Section("label2id")?.Json is { Count: > 0 } indices)
            return Order(json, "label2id", indices.Select(pair => (Index(Text(pair.Value)), (string?)pair.Key)));
        return Default(json.Int("num_labels", 2, 1, MaxLabels));
    }

    public static string? ReadProblemType(ConfigSection json)
    {
        var type = json.Has("problem_type") ? json.Text("problem_type", "") : null;
        return ProblemTypes.IsKnown(type) ? type : throw json.Refuse("problem_type", $"'{type}' is unknown; use " +
            $"{ProblemTypes.Regression}, {ProblemTypes.SingleLabel}, {ProblemTypes.MultiLabel} or null");
    }

    /// <summary>LABEL_0, LABEL_1, …</summary>
    public static IReadOnlyList<string> Default(int count) => [.. Enumerable.Range(0, count).Select(i => $"LABEL_{i}")];

    /// <summary>A configuration with other labels.</summary>
    public static ModelConfig With(ModelConfig config, IReadOnlyList<string> labels, string? problemType)
    {
        var json = new JsonObject();
        Write(json, labels, problemType);
        return config.With(json);
    }

    public static void Write(JsonObject json, IReadOnlyList<string> labels, string? problemType)
    {
        JsonObject names = [], indices = [];
        for (int i = 0; i < labels.Count; i++)
        {
            names[i.ToString(CultureInfo.InvariantCulture)] = labels[i];
            indices[labels[i]] = i;
        }
        json["id2label"] = names;
        json["label2id"] = indices;
        if (problemType is not null)
            json["problem_type"] = problemType;
    }

    private static string[] Order(ConfigSection json, string key, IEnumerable<(int? Index, string? Label)> pairs)
    {
        var entries = pairs.ToArray();
        if (entries.Length > MaxLabels)
            throw json.Refuse(key, $"{entries.Length} labels are more than {MaxLabels}");
        var labels = new string?[entries.Length];
        foreach (var (index, label) in entries)
        {
            if (index is not { } i || i < 0 || i >= labels.Length || labels[i] is not null || label is null)
                throw json.Refuse(key, $"must name each of the labels 0 to {labels.Length - 1} once");
            labels[i] = label;
        }
        return labels.Distinct().Count() == labels.Length ? labels.OfType<string>().ToArray()
            : throw json.Refuse(key, "a label name occurs twice");
    }

    private static int? Index(string? text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? index : null;

    /// <summary>A JSON text, or a number as text: both spellings occur in published files.</summary>
    private static string? Text(JsonNode? node) => node is not JsonValue value ? null
        : value.TryGetValue(out string? text) ? text
        : value.TryGetValue(out long number) ? number.ToString(CultureInfo.InvariantCulture) : null;
}
