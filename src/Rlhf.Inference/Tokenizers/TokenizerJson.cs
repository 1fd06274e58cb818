using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Tokenizers.Pipeline;
using Rlhf.Tokenizers.Pipeline.Models;
using Rlhf.Tokenizers.Pipeline.Normalizers;

namespace Rlhf.Tokenizers;

/// <summary>tokenizer.json: what Hugging Face's fast tokenizers keep in one file.</summary>
internal static class TokenizerJson
{
    /// <summary>Reads a tokenizer. What the file asks for and this library does not do is an error, never ignored.</summary>
    public static PretrainedTokenizer Read(string folder, JsonPlace json, JsonPlace? configuration, string? tokenizerClass)
    {
        var model = json.Required("model");
        var listed = (json["added_tokens"]?.Items() ?? [])
            .Select(t => TokenizerFiles.ReadAddedToken(t, t.Required("id").Id())).ToList();
        return IsGpt2(json, model) ? ReadByteLevelBpe(folder, json, model, configuration, tokenizerClass, listed)
            : IsBert(json, model) ? ReadWordPiece(folder, json, model, configuration, tokenizerClass, listed)
            : PipelineReader.Read(folder, json, model, configuration, tokenizerClass, listed);
    }

    /// <summary>The file's content for a tokenizer; null for one that was read from such a file and is saved as it was.</summary>
    public static JsonObject? Write(PretrainedTokenizer tokenizer)
    {
        if (tokenizer.AlgorithmJson() is not { } algorithm)
            return null;
        var json = new JsonObject { ["version"] = "1.0", ["truncation"] = null, ["padding"] = null };
        json["added_tokens"] = new JsonArray([.. tokenizer.Settings.AddedTokens.OrderBy(t => t.Id).Select(t =>
        {
            var entry = TokenizerFiles.AddedTokenJson(t);
            entry.Insert(0, "id", t.Id);
            return (JsonNode)entry;
        })]);
        json["normalizer"] = Take("normalizer");
        json["pre_tokenizer"] = Take("pre_tokenizer");
        json["post_processor"] =
            tokenizer.Settings.Template.Ids.Any() ? TemplateJson(tokenizer) : DefaultPostProcessor(tokenizer);
        json["decoder"] = Take("decoder");
        json["model"] = Take("model");
        return json;

        JsonNode? Take(string name)
        {
            algorithm.Remove(name, out var value);
            return value;
        }
    }

    /// <summary>The file that a tokenizer is saved as.</summary>
    public static JsonPlace Of(PretrainedTokenizer tokenizer)
    {
        const string Name = "tokenizer.json";
        return JsonPlace.ParseObject(tokenizer.Source?.Find(Name) ?? TokenizerFiles.Serialize(Write(tokenizer)!), Name);
    }

    /// <summary>Tokens by id as an object.</summary>
    public static JsonObject Vocabulary(IReadOnlyDictionary<string, int> vocabulary) =>
        new(vocabulary.OrderBy(x => x.Value).Select(x => KeyValuePair.Create(x.Key, (JsonNode?)x.Value)));

    /// <summary>An object of tokens and ids. There may be hundreds of thousands: a place is worked out for a complaint only.</summary>
    public static Dictionary<string, int> ReadVocabulary(JsonPlace json)
    {
        if (json.Kind != JsonValueKind.Object)
            throw json.Wrong("must be an object");
        var vocabulary = new Dictionary<string, int>(json.Value.GetPropertyCount(), StringComparer.Ordinal);
        foreach (var member in json.Value.EnumerateObject())
        {
            if (member.Value.ValueKind != JsonValueKind.Number || !member.Value.TryGetInt32(out int id) || id < 0)
                throw json.Members().First(m => m.Name == member.Name).Value.Wrong("must be a token id");
            vocabulary[member.Name] = id;
        }
        return vocabulary.Count > 0 ? vocabulary : throw json.Wrong("holds no tokens");
    }

    /// <summary>Refuses a vocabulary that lost a part: an id below its last one that neither it nor an added token has.</summary>
    public static void CheckHoles(JsonPlace place, Dictionary<string, int> vocabulary, IEnumerable<AddedToken> added)
    {
        int last = vocabulary.Values.Max();
        if (last >= PretrainedTokenizer.MostTokens)
            throw place.Wrong($"has the id {last}; ids must lie between 0 and {PretrainedTokenizer.MostTokens - 1}");
        var used = new bool[last + 1];
        foreach (int id in vocabulary.Values.Concat(added.Select(t => t.Id).Where(id => id <= last)))
            used[id] = true;
        int hole = Array.IndexOf(used, false);
        if (hole >= 0)
            throw place.Wrong($"has no token with the id {hole}, though its ids go up to {last}; fetch the file again, or number the tokens "
                + "without holes");
    }

    /// <summary>The two tokens of a merge written with a space between them; null when it is something else.</summary>
    public static (string Left, string Right)? SplitMerge(string line)
    {
        int space = line.IndexOf(' ', StringComparison.Ordinal);
        return space > 0 && space < line.Length - 1 && line.LastIndexOf(' ') == space
            ? (line[..space], line[(space + 1)..]) : null;
    }

    /// <summary>Byte-level BPE as GPT-2 and RoBERTa write it, which has a class of its own.</summary>
    private static bool IsGpt2(JsonPlace json, JsonPlace model) =>
        ModelReader.Type(model) == "BPE" && json["normalizer"] is null
        && json["pre_tokenizer"] is { } split && split.Text("type") == "ByteLevel" && split.Flag("use_regex", true)
        && (json["decoder"] is not { } decoder || decoder.Text("type") == "ByteLevel")
        && model.Text("continuing_subword_prefix") is null or "" && model.Text("end_of_word_suffix") is null or ""
        && model["dropout"] is null && !model.Flag("byte_fallback") && !model.Flag("ignore_merges") && !model.Flag("fuse_unk");

    /// <summary>WordPiece as BERT writes it, which has a class of its own.</summary>
    private static bool IsBert(JsonPlace json, JsonPlace model) =>
        ModelReader.Type(model) == "WordPiece" && json["pre_tokenizer"]?.Text("type") == "BertPreTokenizer"
        && (json["normalizer"] is not { } normalizer || normalizer.Text("type") == "BertNormalizer")
        && (json["decoder"] is not { } decoder || decoder.Text("type") == "WordPiece");

    private static ByteLevelBpeTokenizer ReadByteLevelBpe(
        string folder, JsonPlace json, JsonPlace model, JsonPlace? configuration, string? tokenizerClass, List<AddedToken> listed)
    {
        var split = json.Required("pre_tokenizer");
        var vocabulary = ReadVocabulary(model.Required("vocab"));
        CheckHoles(model.Required("vocab"), vocabulary, listed);
        var merges = model.Required("merges").Items().Select(ReadMerge).ToList();
        return AutoTokenizer.ByteLevelBpe(
            folder, vocabulary, merges, configuration, tokenizerClass, listed, PostProcessor(json),
            split.Flag("add_prefix_space"), model.Text("unk_token") is { Length: > 0 } unknown ? unknown : null);
    }

    private static WordPieceTokenizer ReadWordPiece(
        string folder, JsonPlace json, JsonPlace model, JsonPlace? configuration, string? tokenizerClass, List<AddedToken> listed)
    {
        var vocabulary = ReadVocabulary(model.Required("vocab"));
        CheckHoles(model.Required("vocab"), vocabulary, listed);
        var description = new WordPieceSettings
        {
            Normalizer = json["normalizer"] is { } normalizer
                ? NormalizerReader.ReadBert(normalizer) : new(false, false, false, false),
            UnknownToken = model.Text("unk_token"),
            ContinuingPrefix = model.Text("continuing_subword_prefix") ?? "##",
            MaxWordLength = model["max_input_chars_per_word"]?.Limit() ?? 100,
            CleanUpSpaces = json["decoder"]?.Flag("cleanup", true) ?? true,
        };
        return AutoTokenizer.WordPiece(
            folder, vocabulary, configuration, tokenizerClass, listed, PostProcessor(json), description);
    }

    /// <summary>What the file says about the ids around texts; null when it does not.</summary>
    internal static SequenceTemplate? PostProcessor(JsonPlace json) =>
        json["post_processor"] is { } processor ? TemplateReader.Read(processor)
        : json.Has("post_processor") ? SequenceTemplate.None : null;

    private static (string, string) ReadMerge(JsonPlace merge)
    {
        if (merge.Kind == JsonValueKind.String)
            return SplitMerge(merge.Text()) ?? throw merge.Wrong("is not two tokens with one space between them");
        var pair = merge.Items().Select(x => x.Text()).ToArray();
        return pair.Length == 2 ? (pair[0], pair[1]) : throw merge.Wrong("is not a pair of tokens");
    }

    private static JsonObject? DefaultPostProcessor(PretrainedTokenizer tokenizer) => tokenizer is WordPieceTokenizer ? null
        : new() { ["type"] = "ByteLevel", ["add_prefix_space"] = true, ["trim_offsets"] = false, ["use_regex"] = true };

    private static JsonObject TemplateJson(PretrainedTokenizer tokenizer)
    {
        var template = tokenizer.Settings.Template;
        int second = template.MarksSecondText ? 1 : 0;
        var used = template.Ids.Distinct().Select(id => (Id: id, Token: tokenizer.IdToToken(id)));
        return new()
        {
            ["type"] = "TemplateProcessing",
            ["single"] = new JsonArray([.. Special(template.Before, 0), Text("A", 0), .. Special(template.After, 0)]),
            ["pair"] = new JsonArray(
            [
                .. Special(template.PairBefore, 0), Text("A", 0), .. Special(template.PairBetween, 0),
                Text("B", second), .. Special(template.PairAfter, second),
            ]),
            ["special_tokens"] = new JsonObject(used.Select(x => KeyValuePair.Create(x.Token, (JsonNode?)new JsonObject
            {
                ["id"] = x.Token,
                ["ids"] = new JsonArray(x.Id),
                ["tokens"] = new JsonArray(x.Token),
            }))),
        };

        IEnumerable<JsonNode> Special(IReadOnlyList<int> ids, int type) =>
            ids.Select(id => Piece("SpecialToken", tokenizer.IdToToken(id), type));
        static JsonNode Text(string name, int type) => Piece("Sequence", name, type);
        static JsonNode Piece(string kind, string id, int type) =>
            new JsonObject { [kind] = new JsonObject { ["id"] = id, ["type_id"] = type } };
    }
}
