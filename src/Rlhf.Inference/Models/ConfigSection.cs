using System.Text.Json.Nodes;
using Rlhf.Runtime.Text;

namespace Rlhf.Models;

/// <summary>
/// An object of a model's config.json: typed reads with limits, so that no absurd size reaches an allocation. Messages name file and place.
/// </summary>
public sealed class ConfigSection
{
    // What is wrong is a sentence of ours, in which what a file says is short.
    private const int LongestSentence = 600;

    internal const int MaxVocabulary = 4_000_000, MaxWidth = 65_536, MaxLayers = 1_024, MaxLength = 1 << 24;
    private const int MaxList = 4_096;

    private readonly string path, place;

    internal ConfigSection(string path, string place, JsonObject json) => (this.path, this.place, Json) = (path, place, json);

    internal JsonObject Json { get; }

    /// <summary>The names of the object's members.</summary>
    public IEnumerable<string> Keys => Json.Select(p => p.Key);

    /// <summary>Does it have a member that is not null?</summary>
    public bool Has(string key) => Json[key] is not null;

    /// <summary>An object within this one; null when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public ConfigSection? Section(string key) => Json[key] switch
    {
        null => null,
        JsonObject section => new ConfigSection(path, $"{place}{key}.", section),
        _ => throw Refuse(key, "must be an object"),
    };

    /// <summary>A whole number, or the fallback when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else, or outside the limits.</exception>
    public int Int(string key, int fallback, int minimum, int maximum) => OptionalInt(key, minimum, maximum) ?? fallback;

    /// <summary>A whole number that has to be there.</summary>
    /// <exception cref="InvalidDataException">It is absent, something else, or outside the limits.</exception>
    public int RequiredInt(string key, int minimum, int maximum) =>
        OptionalInt(key, minimum, maximum) ?? throw Refuse(key, "is missing, and there is no usual value for it");

    /// <summary>A whole number, or null when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else, or outside the limits.</exception>
    public int? OptionalInt(string key, int minimum, int maximum) =>
        Json[key] is { } node ? Int(key, node, minimum, maximum) : null;

    /// <summary>A whole number or a list of them, in order; empty when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else, or a number is outside the limits.</exception>
    public IReadOnlyList<int> Ints(string key, int minimum, int maximum) => Json[key] switch
    {
        null => [],
        JsonArray list => [.. Bounded(key, list).Select(n => Int(key, n, minimum, maximum))],
        var single => [Int(key, single, minimum, maximum)],
    };

    /// <summary>A list of finite numbers; null when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public IReadOnlyList<double>? Numbers(string key) => Json[key] switch
    {
        null => null,
        JsonArray list => [.. Bounded(key, list).Select(n => Number(key, n))],
        _ => throw Refuse(key, "must be a list of numbers"),
    };

    /// <summary>A list of texts; null when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public IReadOnlyList<string>? Texts(string key) => Json[key] switch
    {
        null => null,
        JsonArray list => [.. Bounded(key, list).Select(n => Text(key, n))],
        _ => throw Refuse(key, "must be a list of texts"),
    };

    /// <summary>A finite number of 0 or more, or the fallback when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public double Number(string key, double fallback) => OptionalNumber(key) ?? fallback;

    /// <summary>A finite number of 0 or more, or null when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public double? OptionalNumber(string key) => Json[key] is not { } node ? null
        : Number(key, node) is var number && number >= 0 ? number : throw Refuse(key, $"{Short(node)} is not a number of 0 or more");

    /// <summary>A finite number above 0, or the fallback when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public double Positive(string key, double fallback) =>
        Number(key, fallback) is var number && number > 0 ? number : throw Refuse(key, $"{number} is not a number above 0");

    /// <summary>A probability below 1, or the fallback when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public double Probability(string key, double fallback) =>
        Number(key, fallback) is var p && p < 1 ? p : throw Refuse(key, $"{p} is not a probability below 1");

    /// <summary>true or false, or the fallback when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public bool Flag(string key, bool fallback) => Json[key] is not { } node ? fallback
        : node is JsonValue value && value.TryGetValue(out bool flag) ? flag : throw Refuse(key, $"{Short(node)} is not true or false");

    /// <summary>A text, or the fallback when the key is absent or null.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public string Text(string key, string fallback) => Json[key] is { } node ? Text(key, node) : fallback;

    /// <summary>The error of a value that cannot be used: file, place, and what is wrong.</summary>
    public InvalidDataException Refuse(string key, string what) =>
        new($"{path}: {UntrustedText.Clean(place + key)}: {UntrustedText.Clean(what, LongestSentence)}.");

    private JsonArray Bounded(string key, JsonArray list) =>
        list.Count <= MaxList ? list : throw Refuse(key, $"{list.Count} entries are more than {MaxList}");

    private int Int(string key, JsonNode? node, int minimum, int maximum) =>
        node is JsonValue value && value.TryGetValue(out long number) && number >= minimum && number <= maximum
            ? (int)number : throw Refuse(key, $"{Short(node)} is not a whole number from {minimum} to {maximum}");

    private double Number(string key, JsonNode? node) =>
        node is JsonValue value && value.TryGetValue(out double number) && double.IsFinite(number)
            ? number : throw Refuse(key, $"{Short(node)} is not a number");

    private string Text(string key, JsonNode? node) =>
        node is JsonValue value && value.TryGetValue(out string? text) ? text : throw Refuse(key, $"{Short(node)} is not a text");

    private static string Short(JsonNode? node) =>
        node is null ? "null" : node.ToJsonString() is { Length: > 40 } text ? text[..40] + "…" : node.ToJsonString();
}
