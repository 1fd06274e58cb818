using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;

namespace Rlhf.Models;

/// <summary>A model's config.json: typed reads with limits, so that no absurd size reaches an allocation.</summary>
internal sealed class ConfigFile
{
    public const int MaxVocabulary = 4_000_000, MaxWidth = 65_536, MaxLayers = 1_024;
    private const int MaxBytes = 1 << 20, MaxDepth = 32;

    private readonly string path;
    private readonly JsonObject json;

    private ConfigFile(string path, JsonObject json) => (this.path, this.json) = (path, json);

    /// <summary>Reads the file, or the config.json of a folder.</summary>
    public static ConfigFile Read(string path)
    {
        if (Directory.Exists(path))
            path = Path.Combine(path, "config.json");
        if (!File.Exists(path))
            throw new FileNotFoundException($"There is no {path}. A model folder holds config.json, the weights and the " +
                "tokenizer's files.", path);
        return Parse(BoundedFile.Read(path, MaxBytes, "a model configuration"), path);
    }

    /// <summary>The file's content; the path is for messages.</summary>
    public static ConfigFile Parse(ReadOnlySpan<byte> content, string path)
    {
        try
        {
            UntrustedJson.Check(content, MaxDepth);
            var node = JsonNode.Parse(
                content, documentOptions: new JsonDocumentOptions { MaxDepth = MaxDepth, AllowDuplicateProperties = false });
            return new ConfigFile(path, node as JsonObject ?? throw new InvalidDataException($"{path} is not a JSON object."));
        }
        catch (JsonException e)
        {
            throw new InvalidDataException(e.LineNumber is null ? $"{path}: a key occurs twice."
                : $"{path} is not valid JSON: {UntrustedText.Place(e)}.", e);
        }
    }

    /// <summary>Writes a file atomically.</summary>
    public static void Write(string path, JsonObject json)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        AtomicFile.WriteAllText(path, json.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n");
    }

    public bool Has(string key) => Node(key) is not null;

    /// <summary>The members of an object; null when the key is absent.</summary>
    public IReadOnlyList<KeyValuePair<string, JsonNode?>>? Section(string key)
    {
        if (Node(key) is not { } node)
            return null;
        if (node is not JsonObject section)
            throw Refuse(key, "must be an object");
        return [.. section];
    }

    public int Int(string key, int fallback, int minimum, int maximum) => OptionalInt(key, minimum, maximum) ?? fallback;

    public int? OptionalInt(string key, int minimum, int maximum)
    {
        if (Node(key) is not { } node)
            return null;
        if (node is not JsonValue value || !value.TryGetValue(out long number) || number < minimum || number > maximum)
            throw Refuse(key, $"{Short(node)} is not a whole number from {minimum} to {maximum}");
        return (int)number;
    }

    public double Number(string key, double fallback)
    {
        if (Node(key) is not { } node)
            return fallback;
        if (node is not JsonValue value || !value.TryGetValue(out double number) || !double.IsFinite(number) || number < 0)
            throw Refuse(key, $"{Short(node)} is not a number of 0 or more");
        return number;
    }

    public double Probability(string key, double fallback) =>
        Number(key, fallback) is var p && p < 1 ? p : throw Refuse(key, $"{p} is not a probability below 1");

    public bool Flag(string key, bool fallback)
    {
        if (Node(key) is not { } node)
            return fallback;
        return node is JsonValue value && value.TryGetValue(out bool flag) ? flag
            : throw Refuse(key, $"{Short(node)} is not true or false");
    }

    public string Text(string key, string fallback)
    {
        if (Node(key) is not { } node)
            return fallback;
        return node is JsonValue value && value.TryGetValue(out string? text) ? text
            : throw Refuse(key, $"{Short(node)} is not a text");
    }

    public InvalidDataException Refuse(string key, string what) => new($"{path}: {key}: {UntrustedText.Clean(what)}.");

    private JsonNode? Node(string key) => json[key];

    private static string Short(JsonNode node) =>
        node.ToJsonString() is { Length: > 40 } text ? text[..40] + "…" : node.ToJsonString();
}
