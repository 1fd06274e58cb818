using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;
using Rlhf.Weights;

namespace Rlhf.Models;

/// <summary>
/// A model's config.json, and the generation_config.json beside it, as they are: what a family does not know survives saving.
/// </summary>
public sealed class ModelConfig
{
    internal const int MaxBytes = 1 << 20;
    private const int MaxDepth = 32;
    private const string ConfigName = "config.json", GenerationName = "generation_config.json";
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private readonly JsonObject? generation;

    private ModelConfig(string path, JsonObject json, JsonObject? generation)
    {
        (Path, this.generation) = (path, generation);
        Root = new ConfigSection(path, "", json);
    }

    /// <summary>The file, for messages.</summary>
    public string Path { get; }

    /// <summary>The members of config.json.</summary>
    public ConfigSection Root { get; }

    /// <summary>The members of generation_config.json; null where there is none.</summary>
    public ConfigSection? Generation => generation is null ? null
        : new ConfigSection(System.IO.Path.Combine(System.IO.Path.GetDirectoryName(Path) ?? "", GenerationName), "", generation);

    /// <summary><c>model_type</c>; empty where it is absent.</summary>
    public string ModelType => Root.Text("model_type", "");

    /// <summary>
    /// Tokens that end a text, of generation_config.json or else of config.json; empty where neither names one. Llama 3 has three.
    /// </summary>
    public IReadOnlyList<int> EosTokenIds => Tokens("eos_token_id");

    /// <summary>The token that begins a text, or null.</summary>
    public int? BosTokenId => Tokens("bos_token_id") is [var id, ..] ? id : null;

    /// <summary>The padding token, or null.</summary>
    public int? PadTokenId => Root.OptionalInt("pad_token_id", 0, ConfigSection.MaxVocabulary);

    /// <summary>Reads the config.json of a model folder; for an adapter's folder without one, that of its base.</summary>
    /// <param name="path">The folder, or its config.json.</param>
    /// <exception cref="FileNotFoundException">There is no config.json.</exception>
    /// <exception cref="InvalidDataException">A file is malformed, or the folder holds something else than a model.</exception>
    public static ModelConfig Read(string path)
    {
        if (File.Exists(path) && !path.EndsWith(".json", StringComparison.OrdinalIgnoreCase))
            throw new InvalidDataException($"{path} is a file. A model is a folder that holds config.json, the weights and the "
                + $"tokenizer's files: name the folder{(System.IO.Path.GetDirectoryName(path) is { Length: > 0 } parent ? $", {parent}" : "")}.");
        string file = Directory.Exists(path) ? System.IO.Path.Combine(path, ConfigName) : path;
        if (!File.Exists(file))
        {
            if (AdapterFolder.IsAdapter(path))
                return Read(AdapterFolder.BaseOf(path));
            throw new FileNotFoundException($"There is no {file}. A model folder holds config.json, the weights and the " +
                "tokenizer's files.", file);
        }
        var json = ParseObject(BoundedFile.Read(file, MaxBytes, "a model configuration"), file);
        string beside = System.IO.Path.Combine(System.IO.Path.GetDirectoryName(file) ?? "", GenerationName);
        return new ModelConfig(file, json,
            File.Exists(beside) ? ParseObject(BoundedFile.Read(beside, MaxBytes, "a generation configuration"), beside) : null);
    }

    /// <summary>A configuration that is made, not read.</summary>
    public static ModelConfig Of(JsonObject json) => new(ConfigName, Parsed(json), null);

    /// <summary>The content of a config.json; the path is for messages.</summary>
    /// <exception cref="InvalidDataException">It is malformed.</exception>
    public static ModelConfig Parse(ReadOnlySpan<byte> content, string path) => new(path, ParseObject(content, path), null);

    /// <summary>This configuration with one member replaced, or added at the end.</summary>
    public ModelConfig With(string key, JsonNode? value) => With([new(key, value)]);

    /// <summary>This configuration with members replaced, or added at the end; all others stay as they are.</summary>
    public ModelConfig With(IEnumerable<KeyValuePair<string, JsonNode?>> members)
    {
        var json = (JsonObject)Root.Json.DeepClone();
        foreach (var (key, value) in members)
        {
            if (key == "dtype")
                json.Remove("torch_dtype"); // the older name of the same
            json[key] = value?.DeepClone();
        }
        return new ModelConfig(Path, Parsed(json), generation);
    }

    /// <summary>Writes config.json, and generation_config.json where this has one.</summary>
    /// <param name="folder">The model folder; made when it does not exist.</param>
    /// <param name="withGeneration">False leaves generation_config.json out: classifiers have none.</param>
    public void Save(string folder, bool withGeneration = true)
    {
        Directory.CreateDirectory(folder);
        Write(System.IO.Path.Combine(folder, ConfigName), Root.Json);
        if (withGeneration && generation is not null)
            Write(System.IO.Path.Combine(folder, GenerationName), generation);
    }

    /// <summary>This configuration with a generation_config.json that names its begin and end tokens, where it has none.</summary>
    internal ModelConfig WithGeneration() => generation is not null ? this : new ModelConfig(Path, Root.Json, new JsonObject
    {
        ["_from_model_config"] = true,
        ["bos_token_id"] = Root.Json["bos_token_id"]?.DeepClone(),
        ["eos_token_id"] = Root.Json["eos_token_id"]?.DeepClone(),
    });

    private IReadOnlyList<int> Tokens(string key) =>
        Generation?.Ints(key, 0, ConfigSection.MaxVocabulary) is { Count: > 0 } ids ? ids : Root.Ints(key, 0, ConfigSection.MaxVocabulary);

    /// <summary>The same as a parser gives it: values made in C# only convert to the very type that they were made from.</summary>
    private static JsonObject Parsed(JsonObject json) => JsonNode.Parse(json.ToJsonString())!.AsObject();

    private static void Write(string path, JsonObject json) => AtomicFile.WriteAllText(path, json.ToJsonString(Indented) + "\n");

    private static JsonObject ParseObject(ReadOnlySpan<byte> content, string path)
    {
        try
        {
            UntrustedJson.Check(content, MaxDepth);
            var node = JsonNode.Parse(
                content, documentOptions: new JsonDocumentOptions { MaxDepth = MaxDepth, AllowDuplicateProperties = false });
            return node as JsonObject ?? throw new InvalidDataException($"{path} is not a JSON object.");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException(e.LineNumber is null ? $"{path}: a key occurs twice."
                : $"{path} is not valid JSON: {UntrustedText.Place(e)}.", e);
        }
    }
}
