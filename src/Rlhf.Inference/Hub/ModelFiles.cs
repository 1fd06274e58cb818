using System.Text.Json;
using Rlhf.Runtime.Files;
using Rlhf.Weights;

namespace Rlhf.Hub;

/// <summary>What is wanted of a model.</summary>
public enum HubModelParts
{
    /// <summary>Configuration, tokenizer and weights.</summary>
    All,

    /// <summary>Its tokenizer alone.</summary>
    Tokenizer,

    /// <summary>Its config.json alone.</summary>
    Configuration,
}

/// <summary>Which files of a model's repository a run needs.</summary>
internal static class ModelFiles
{
    private const string Config = "config.json";
    private const int LargestIndex = 64 << 20;

    /// <summary>What is taken of a model beside its weights, as far as it is there.</summary>
    public static readonly string[] Small =
    [
        Config, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
        "chat_template.jinja", "chat_template.json",
    ];

    /// <summary>Under these names PEFT saves an adapter, whose base is another repository.</summary>
    private static readonly string[] AdapterWeights = ["adapter_model.safetensors", "adapter_model.bin"];

    /// <summary>Files of which a tokenizer has one, but for those of SentencePiece alone.</summary>
    public static readonly string[] Vocabularies = ["tokenizer.json", "vocab.json", "vocab.txt"];

    private static readonly string[] SentencePieces = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"];

    /// <summary>
    /// The small files, and last the weights: safetensors where there are any, else PyTorch's. Of sharded weights, the index; its
    /// shards are found with <see cref="Shards"/>.
    /// </summary>
    /// <exception cref="HubException">The repository has no such thing.</exception>
    public static IReadOnlyList<string> Choose(HubRepo repo, IReadOnlyCollection<string> files, HubModelParts parts)
    {
        if (parts == HubModelParts.Tokenizer)
            return Vocabularies.Concat(SentencePieces).Any(files.Contains) ? [.. Small.Where(files.Contains)]
                : throw new HubException(HubError.EntryNotFound,
                    $"The {repo} has no tokenizer: no {string.Join(", ", Vocabularies.Concat(SentencePieces))}.");
        if (AdapterWeights.FirstOrDefault(files.Contains) is { } adapter && files.Contains(AdapterFolder.ConfigName))
            return parts == HubModelParts.Configuration ? [AdapterFolder.ConfigName]
                : [.. Small.Where(files.Contains), AdapterFolder.ConfigName, adapter];
        if (!files.Contains(Config))
            throw new HubException(HubError.EntryNotFound, $"The {repo} has no {Config}; it is not a transformers model.");
        if (parts == HubModelParts.Configuration)
            return [Config];
        string weights = WeightFiles.FileNames.FirstOrDefault(files.Contains) ?? throw new HubException(HubError.EntryNotFound,
            $"The {repo} has no weights that can be read; expected one of {string.Join(", ", WeightFiles.FileNames)}.");
        return [.. Small.Where(files.Contains), weights];
    }

    /// <summary>The shards that an index names; none when the file is no index.</summary>
    /// <exception cref="HubException">The index is damaged.</exception>
    public static IReadOnlyList<string> Shards(HubRepo repo, string file)
    {
        if (!file.EndsWith(".index.json", StringComparison.Ordinal))
            return [];
        try
        {
            using var json = JsonDocument.Parse(BoundedFile.Read(file, LargestIndex, "an index of weights"));
            return [.. json.RootElement.GetProperty("weight_map").EnumerateObject()
                .Select(entry => HubText.CheckPath(entry.Value.GetString() ?? "")).Distinct().Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is InvalidDataException or JsonException or InvalidOperationException or KeyNotFoundException)
        {
            throw new HubException(HubError.Damaged, $"{Path.GetFileName(file)} of the {repo} is no index of weights.", e);
        }
    }

    /// <summary>Whether a snapshot holds what is wanted; of everything, a tokenizer may be missing.</summary>
    public static bool IsComplete(HubRepo repo, string snapshot, HubModelParts parts)
    {
        if (parts != HubModelParts.Tokenizer && HubCache.Holds(Path.Combine(snapshot, AdapterFolder.ConfigName)))
            return parts == HubModelParts.Configuration || AdapterWeights.Any(name => HubCache.Holds(Path.Combine(snapshot, name)));
        bool hasConfig = HubCache.Holds(Path.Combine(snapshot, Config));
        if (parts != HubModelParts.All)
            return parts == HubModelParts.Configuration ? hasConfig : HasTokenizer(snapshot);
        var weights = WeightFiles.FileNames.Select(name => Path.Combine(snapshot, name)).FirstOrDefault(HubCache.Holds);
        try
        {
            return hasConfig && weights is not null
                && Shards(repo, weights).All(shard => HubCache.Holds(Path.Combine(snapshot, shard)));
        }
        catch (HubException)
        {
            return false; // an index that cannot be read
        }
    }

    /// <summary>Whether a snapshot holds a tokenizer.</summary>
    public static bool HasTokenizer(string snapshot) =>
        Vocabularies.Concat(SentencePieces).Any(name => HubCache.Holds(Path.Combine(snapshot, name)));
}
