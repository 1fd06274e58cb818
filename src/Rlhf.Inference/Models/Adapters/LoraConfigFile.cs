using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;

namespace Rlhf.Models.Adapters;

/// <summary>PEFT's adapter_config.json.</summary>
/// <param name="Config">The settings.</param>
/// <param name="BaseModel">The model that the adapter belongs to: a folder or a name on the Hub; null where the file does not say.</param>
/// <param name="Revision">The revision of <paramref name="BaseModel"/> on the Hub, or null.</param>
/// <param name="TaskType">What the model is for, such as CAUSAL_LM or SEQ_CLS; null where the file does not say.</param>
public sealed record LoraConfigFile(LoraConfig Config, string? BaseModel = null, string? Revision = null, string? TaskType = null)
{
    /// <summary>The file's name in an adapter folder.</summary>
    public const string Name = "adapter_config.json";

    private const int MaxRank = 65_536;
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>What is read, or says nothing about the numbers that an adapter computes.</summary>
    private static readonly HashSet<string> Known =
    [
        "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "r", "lora_alpha",
        "lora_dropout", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "bias",
        "modules_to_save", "layers_to_transform", "layers_pattern", "init_lora_weights", "fan_in_fan_out", "megatron_core",
        "qalora_group_size", "runtime_config", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
    ];

    /// <summary>Ways to begin that also change the base's weights, so that the adapter means nothing on the base as it is.</summary>
    private static readonly string[] ChangesTheBase = ["pissa", "olora", "corda", "loftq", "lora_ga", "mipissa"];

    /// <summary>Reads the file of an adapter folder.</summary>
    /// <param name="path">The folder, or the file.</param>
    /// <exception cref="FileNotFoundException">There is none.</exception>
    /// <exception cref="InvalidDataException">It is malformed, or asks for something that is not supported.</exception>
    public static LoraConfigFile Read(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, Name) : path;
        if (!File.Exists(file))
            throw new FileNotFoundException($"There is no {file}. An adapter folder holds {Name} and adapter_model.safetensors.", file);
        return Parse(BoundedFile.Read(file, ModelConfig.MaxBytes, "an adapter's configuration"), file);
    }

    /// <summary>The content of the file; the path is for messages.</summary>
    /// <exception cref="InvalidDataException">It is malformed, or asks for something that is not supported.</exception>
    public static LoraConfigFile Parse(ReadOnlySpan<byte> content, string path)
    {
        var root = ModelConfig.Parse(content, path).Root;
        if (root.Text("peft_type", "") is var kind && kind != "LORA")
            throw root.Refuse("peft_type", kind.Length == 0 ? "is missing, so that this is no adapter that PEFT saved"
                : $"'{kind}' is not supported; supported are LoRA adapters (LORA)");
        foreach (string key in root.Keys.Where(k => !Known.Contains(k) && Asks(root.Json[k])))
            throw root.Refuse(key, "is set, and is not supported here; merge the adapter with PEFT (merge_and_unload) and take the merged model");
        var file = new LoraConfigFile(ReadConfig(root), NullIfEmpty(root.Text("base_model_name_or_path", "")),
            NullIfEmpty(root.Text("revision", "")), NullIfEmpty(root.Text("task_type", "")));
        return file.Config.Validate().FirstOrDefault() is { } problem ? throw new InvalidDataException($"{path}: {problem}") : file;
    }

    /// <summary>Writes the file.</summary>
    /// <param name="folder">The adapter folder.</param>
    /// <param name="fanInFanOut">Do the adapted layers store their weights inputs first?</param>
    internal void Save(string folder, bool fanInFanOut)
    {
        JsonNode? Selection(ModuleSelection? modules) => modules is null ? null
            : modules.Pattern is { } pattern ? pattern : Texts(modules.Names);
        static JsonArray Texts(IEnumerable<string> texts) => [.. texts.Select(t => (JsonNode)t)];
        var json = new JsonObject
        {
            ["alpha_pattern"] = new JsonObject(Config.AlphaPattern.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)Number(p.Value)))),
            ["auto_mapping"] = null,
            ["base_model_name_or_path"] = BaseModel,
            ["bias"] = Config.Bias switch { LoraBias.All => "all", LoraBias.LoraOnly => "lora_only", _ => "none" },
            ["exclude_modules"] = Selection(Config.ExcludeModules),
            ["fan_in_fan_out"] = fanInFanOut,
            ["inference_mode"] = true,
            // A place for zeros is no way to begin that PEFT knows.
            ["init_lora_weights"] = Config.InitLoraWeights switch { LoraInit.Gaussian => "gaussian", LoraInit.Random => false, _ => true },
            ["layers_pattern"] = Config.LayersPattern.Count switch { 0 => null, 1 => Config.LayersPattern[0], _ => Texts(Config.LayersPattern) },
            ["layers_to_transform"] = Config.LayersToTransform.Count == 0 ? null
                : new JsonArray([.. Config.LayersToTransform.Select(l => (JsonNode)l)]),
            ["lora_alpha"] = Number(Config.LoraAlpha),
            ["lora_dropout"] = Config.LoraDropout,
            ["modules_to_save"] = Config.ModulesToSave.Count == 0 ? null : Texts(Config.ModulesToSave),
            ["peft_type"] = "LORA",
            ["r"] = Config.R,
            ["rank_pattern"] = new JsonObject(Config.RankPattern.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value))),
            ["revision"] = Revision,
            ["target_modules"] = Selection(Config.TargetModules),
            ["task_type"] = TaskType,
            ["use_dora"] = Config.UseDora,
            ["use_rslora"] = Config.UseRslora,
        };
        AtomicFile.WriteAllText(Path.Combine(folder, Name), json.ToJsonString(Indented) + "\n");
    }

    private static LoraConfig ReadConfig(ConfigSection root) => new()
    {
        R = root.Int("r", 8, 0, MaxRank),
        LoraAlpha = root.Positive("lora_alpha", 8),
        LoraDropout = root.Probability("lora_dropout", 0),
        TargetModules = Selection(root, "target_modules"),
        ExcludeModules = Selection(root, "exclude_modules"),
        RankPattern = [.. Members(root, "rank_pattern", (section, key) => section.RequiredInt(key, 0, MaxRank))],
        AlphaPattern = [.. Members(root, "alpha_pattern", (section, key) => section.Positive(key, 0))],
        UseRslora = root.Flag("use_rslora", false),
        UseDora = root.Flag("use_dora", false),
        Bias = root.Text("bias", "none") switch
        {
            "none" => LoraBias.None,
            "all" => LoraBias.All,
            "lora_only" => LoraBias.LoraOnly,
            var other => throw root.Refuse("bias", $"'{other}' is none of none, all and lora_only"),
        },
        ModulesToSave = [.. (root.Texts("modules_to_save") ?? []).Distinct()],
        LayersToTransform = root.Ints("layers_to_transform", 0, ConfigSection.MaxLayers),
        LayersPattern = root.Json["layers_pattern"] is JsonArray ? root.Texts("layers_pattern")!
            : root.Text("layers_pattern", "") is { Length: > 0 } pattern ? [pattern] : [],
        InitLoraWeights = Init(root),
    };

    /// <summary>What an adapter began as says nothing about what it became, unless the base was changed with it.</summary>
    private static LoraInit Init(ConfigSection root)
    {
        if (root.Json["init_lora_weights"] is not JsonValue node || !node.TryGetValue(out string? text))
            return root.Flag("init_lora_weights", true) ? LoraInit.Default : LoraInit.Random;
        if (ChangesTheBase.Any(name => text.StartsWith(name, StringComparison.OrdinalIgnoreCase)))
            throw root.Refuse("init_lora_weights", $"'{text}' also changes the base's weights, so that the adapter does not fit the base as "
                + "it is; convert it with PEFT (save_pretrained with path_initial_model_for_weight_conversion) to a plain LoRA adapter");
        return text == "gaussian" ? LoraInit.Gaussian : LoraInit.Default;
    }

    private static ModuleSelection? Selection(ConfigSection root, string key)
    {
        try
        {
            return root.Json[key] switch
            {
                null => null,
                JsonArray => root.Texts(key) is { Count: > 0 } names ? ModuleSelection.Of(names) : null,
                _ => root.Text(key, "") is { Length: > 0 } pattern ? ModuleSelection.Matching(pattern) : null,
            };
        }
        catch (FormatException e)
        {
            throw root.Refuse(key, e.Message.TrimEnd('.'));
        }
    }

    private static IEnumerable<KeyValuePair<string, T>> Members<T>(ConfigSection root, string key, Func<ConfigSection, string, T> read) =>
        root.Section(key) is { } section ? section.Keys.Select(k => KeyValuePair.Create(k, read(section, k))) : [];

    /// <summary>Does a value ask for anything? null, false, 0, empty texts, lists and objects do not.</summary>
    private static bool Asks(JsonNode? node) => node switch
    {
        null => false,
        JsonArray list => list.Count > 0,
        JsonObject members => members.Count > 0,
        JsonValue value => value.GetValueKind() switch
        {
            JsonValueKind.False or JsonValueKind.Null => false,
            JsonValueKind.String => value.GetValue<string>().Length > 0,
            JsonValueKind.Number => value.ToJsonString() is not ("0" or "0.0"),
            _ => true,
        },
        _ => true,
    };

    private static JsonNode Number(double value) => value == Math.Truncate(value) && Math.Abs(value) < 1e15 ? (long)value : value;

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;
}
