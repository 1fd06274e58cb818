using System.Text.Json;
using System.Text.Json.Nodes;

namespace Rlhf.Tokenizers;

/// <summary>tokenizer.json: what Hugging Face's fast tokenizers keep in one file.</summary>
internal static class TokenizerJson
{
    /// <summary>Reads a tokenizer. What the file asks for and this library does not do is an error, never ignored.</summary>
    public static ITokenizer Read(string folder, JsonPlace json, JsonPlace? configuration, string? tokenizerClass)
    {
        var model = json.Required("model");
        var listed = (json["added_tokens"]?.Items() ?? [])
            .Select(t => TokenizerFiles.ReadAddedToken(t, t.Required("id").Id())).ToList();
        var type = model.Text("type") ?? (model["merges"] is not null ? "BPE" : "WordPiece");
        return type switch
        {
            "BPE" => ReadByteLevelBpe(folder, json, model, configuration, tokenizerClass, listed),
            "WordPiece" => ReadWordPiece(folder, json, model, configuration, tokenizerClass, listed),
            _ => throw model.Required("type").Wrong($"is '{type}'; byte-level BPE and WordPiece can be read"),
        };
    }

    /// <summary>The file's content for a tokenizer.</summary>
    public static JsonObject Write(PretrainedTokenizer tokenizer)
    {
        var algorithm = tokenizer.AlgorithmJson();
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

    /// <summary>Tokens by id as an object.</summary>
    public static JsonObject Vocabulary(IReadOnlyDictionary<string, int> vocabulary) =>
        new(vocabulary.OrderBy(x => x.Value).Select(x => KeyValuePair.Create(x.Key, (JsonNode?)x.Value)));

    /// <summary>An object of tokens and ids.</summary>
    public static Dictionary<string, int> ReadVocabulary(JsonPlace json)
    {
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var (token, id) in json.Members())
            vocabulary[token] = id.Id();
        return vocabulary.Count > 0 ? vocabulary : throw json.Wrong("holds no tokens");
    }

    /// <summary>The two tokens of a merge written with a space between them; null when it is something else.</summary>
    public static (string Left, string Right)? SplitMerge(string line)
    {
        int space = line.IndexOf(' ', StringComparison.Ordinal);
        return space > 0 && space < line.Length - 1 && line.LastIndexOf(' ') == space
            ? (line[..space], line[(space + 1)..]) : null;
    }

    private static ByteLevelBpeTokenizer ReadByteLevelBpe(
        string folder, JsonPlace json, JsonPlace model, JsonPlace? configuration, string? tokenizerClass, List<AddedToken> listed)
    {
        const string Understood = "is not byte-level BPE as GPT-2 and RoBERTa write it";
        if (json["normalizer"] is { } normalizer)
            throw normalizer.Wrong(Understood + " (no normalizer)");
        var split = json.Required("pre_tokenizer");
        if (split.Text("type") != "ByteLevel" || !split.Flag("use_regex", true))
            throw split.Wrong(Understood + " (pre_tokenizer ByteLevel)");
        foreach (var affix in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
            if (model.Text(affix) is { Length: > 0 })
                throw model.Required(affix).Wrong(Understood);
        foreach (var flag in new[] { "byte_fallback", "ignore_merges", "fuse_unk" })
            if (model.Flag(flag))
                throw model.Required(flag).Wrong(Understood);
        var merges = model.Required("merges").Items().Select(ReadMerge).ToList();
        return AutoTokenizer.ByteLevelBpe(
            folder, ReadVocabulary(model.Required("vocab")), merges, configuration, tokenizerClass, listed, PostProcessor(json),
            split.Flag("add_prefix_space"), model.Text("unk_token") is { Length: > 0 } unknown ? unknown : null);
    }

    private static WordPieceTokenizer ReadWordPiece(
        string folder, JsonPlace json, JsonPlace model, JsonPlace? configuration, string? tokenizerClass, List<AddedToken> listed)
    {
        const string Understood = "is not WordPiece as BERT writes it";
        if (json.Required("pre_tokenizer") is var split && split.Text("type") != "BertPreTokenizer")
            throw split.Wrong(Understood + " (pre_tokenizer BertPreTokenizer)");
        if (json["normalizer"] is { } other && other.Text("type") != "BertNormalizer")
            throw other.Wrong(Understood + " (normalizer BertNormalizer)");
        var description = new WordPieceModel
        {
            Normalizer = json["normalizer"] is { } normalizer
                ? new(normalizer.Flag("clean_text", true), normalizer.Flag("handle_chinese_chars", true),
                    normalizer["strip_accents"]?.Flag(), normalizer.Flag("lowercase", true))
                : new(false, false, false, false),
            UnknownToken = model.Text("unk_token"),
            ContinuingPrefix = model.Text("continuing_subword_prefix") ?? "##",
            MaxWordLength = model["max_input_chars_per_word"]?.Limit() ?? 100,
            CleanUpSpaces = json["decoder"]?.Flag("cleanup", true) ?? true,
        };
        return AutoTokenizer.WordPiece(
            folder, ReadVocabulary(model.Required("vocab")), configuration, tokenizerClass, listed, PostProcessor(json),
            description);
    }

    /// <summary>What the file says about the ids around texts; null when it does not.</summary>
    private static SequenceTemplate? PostProcessor(JsonPlace json) =>
        json["post_processor"] is { } processor ? ReadTemplate(processor)
        : json.Has("post_processor") ? SequenceTemplate.None : null;

    private static (string, string) ReadMerge(JsonPlace merge)
    {
        if (merge.Kind == JsonValueKind.String)
            return SplitMerge(merge.Text()) ?? throw merge.Wrong("is not two tokens with one space between them");
        var pair = merge.Items().Select(x => x.Text()).ToArray();
        return pair.Length == 2 ? (pair[0], pair[1]) : throw merge.Wrong("is not a pair of tokens");
    }

    /// <summary>What the post-processor adds around texts.</summary>
    internal static SequenceTemplate ReadTemplate(JsonPlace processor)
    {
        switch (processor.Required("type").Text())
        {
            case "ByteLevel":
                return SequenceTemplate.None;
            case "BertProcessing":
                return SequenceTemplate.Bert(Id("cls"), Id("sep"));
            case "RobertaProcessing":
                return SequenceTemplate.Roberta(Id("cls"), Id("sep")) with { MarksSecondText = false };
            case "Sequence":
                return processor.Required("processors").Items().Select(p => ReadTemplate(p))
                    .LastOrDefault(t => t.Ids.Any()) ?? SequenceTemplate.None;
            case "TemplateProcessing":
                return ReadTemplateProcessing(processor);
            case var other:
                throw processor.Wrong($"has the type '{other}', which is not known");
        }

        int Id(string name)
        {
            var entry = processor.Required(name).Items().ToArray();
            return entry.Length == 2 ? entry[1].Id() : throw processor.Required(name).Wrong("must be a token and its id");
        }
    }

    private static SequenceTemplate ReadTemplateProcessing(JsonPlace processor)
    {
        var tokens = processor["special_tokens"]?.Members().ToDictionary(
            x => x.Name, x => x.Value.Required("ids").Items().Select(i => i.Id()).ToArray(), StringComparer.Ordinal) ?? [];
        var single = Parts(processor.Required("single"), "A");
        var pair = Parts(processor.Required("pair"), "A", "B");
        bool marks = processor.Required("pair").Items().Any(
            p => p["Sequence"] is { } text && text.Text("id") == "B" && text["type_id"]?.Id() == 1);
        return new(single[0], single[1], pair[0], pair[1], pair[2]) { MarksSecondText = marks };

        List<int>[] Parts(JsonPlace list, params string[] sequences)
        {
            var parts = new List<List<int>> { new() };
            foreach (var piece in list.Items())
            {
                if (piece["SpecialToken"] is { } token)
                    parts[^1].AddRange(tokens.TryGetValue(token.Required("id").Text(), out var found)
                        ? found : throw token.Wrong("is not among special_tokens"));
                else if (parts.Count <= sequences.Length && piece.Required("Sequence").Text("id") == sequences[parts.Count - 1])
                    parts.Add([]);
                else
                    throw piece.Wrong($"is out of place; the texts must come in the order {string.Join(", ", sequences)}");
            }
            return parts.Count == sequences.Length + 1
                ? [.. parts] : throw list.Wrong($"must name {string.Join(" and ", sequences)}");
        }
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
