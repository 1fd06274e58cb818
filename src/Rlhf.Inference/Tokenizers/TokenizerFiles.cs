using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Runtime.Files;

namespace Rlhf.Tokenizers;

/// <summary>tokenizer_config.json, special_tokens_map.json, added_tokens.json: read into settings and written back.</summary>
internal static class TokenizerFiles
{
    private static readonly string[] SpecialTokenRoles =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    /// <summary>Entries of tokenizer_config.json that are read and written here, or no longer hold after saving.</summary>
    private static readonly HashSet<string> KnownEntries =
    [
        .. SpecialTokenRoles, "tokenizer_class", "model_max_length", "padding_side", "added_tokens_decoder",
        "additional_special_tokens", "extra_special_tokens", "add_prefix_space", "do_lower_case", "strip_accents",
        "tokenize_chinese_chars", "clean_up_tokenization_spaces", "name_or_path", "tokenizer_file", "special_tokens_map_file",
        "backend", "is_local",
    ];

    private static readonly Dictionary<string, string> ClassOfModelType = new()
    {
        ["gpt2"] = "GPT2Tokenizer",
        ["roberta"] = "RobertaTokenizer",
        ["bert"] = "BertTokenizer",
        ["distilbert"] = "DistilBertTokenizer",
    };

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private static readonly JsonSerializerOptions Compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly JsonSerializerOptions Readable = new(Compact) { WriteIndented = true };

    /// <summary>The class that tokenizer_config.json names or config.json's model_type implies, without "Fast".</summary>
    public static string? TokenizerClass(string folder, JsonPlace? configuration)
    {
        var named = configuration?.Text("tokenizer_class");
        if (named is null or "PreTrainedTokenizerFast" or "TokenizersBackend")
            named = JsonPlace.ReadObject(Path.Combine(folder, "config.json"))?.Text("model_type") is { } type
                && ClassOfModelType.TryGetValue(type, out var known) ? known : named;
        bool fast = named != "PreTrainedTokenizerFast" && named?.EndsWith("TokenizerFast", StringComparison.Ordinal) == true;
        return fast ? named![..^"Fast".Length] : named;
    }

    /// <summary>Settings from the folder's files.</summary>
    /// <param name="folder">The model folder.</param>
    /// <param name="configuration">Its tokenizer_config.json, if it has one.</param>
    /// <param name="tokenizerClass">Class that transformers opens the files with.</param>
    /// <param name="family">Special tokens of the family, used where the vocabulary has them and the files say nothing.</param>
    /// <param name="vocabulary">Tokens and ids of the algorithm.</param>
    /// <param name="listed">Added tokens that tokenizer.json lists.</param>
    public static TokenizerSettings ReadSettings(string folder, JsonPlace? configuration, string tokenizerClass,
        SpecialTokens family, IReadOnlyDictionary<string, int> vocabulary, IEnumerable<AddedToken> listed)
    {
        var map = JsonPlace.ReadObject(Path.Combine(folder, "special_tokens_map.json"));
        var added = new AddedTokenList(vocabulary);
        foreach (var token in listed)
            added.Put(token);
        foreach (var (id, token) in configuration?["added_tokens_decoder"]?.Members() ?? [])
            added.Put(ReadAddedToken(token, int.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
                ? number : throw token.Wrong("is not named by a token id")));
        foreach (var (content, id) in JsonPlace.ReadObject(Path.Combine(folder, "added_tokens.json"))?.Members() ?? [])
            added.PutMissing(new AddedToken(content, id.Id(), Special: false));

        // transformers reads the older map only when the configuration does not list the added tokens itself.
        bool configurationWins = configuration?.Has("added_tokens_decoder") == true;
        var sources = configurationWins ? new[] { map, configuration } : [configuration, map];
        var special = new SpecialTokens();
        foreach (var (role, token) in family.Named())
            if (added.Contains(token))
                special = special.With(role, token);
        var flags = new Dictionary<string, JsonPlace>(StringComparer.Ordinal);
        var additional = new List<string>();
        foreach (var source in sources.OfType<JsonPlace>())
        {
            foreach (var role in SpecialTokenRoles)
                if (source.Has(role))
                    special = special.With(role, source[role] is { } token ? Content(token, flags) : null);
            foreach (var list in new[] { "additional_special_tokens", "extra_special_tokens" })
                if (source[list] is { Kind: JsonValueKind.Array } tokens)
                    additional.AddRange(tokens.Items().Select(t => Content(t, flags)));
        }
        special = special with { Additional = [.. additional.Distinct()] };
        foreach (var token in special.Named().Select(x => x.Token).Concat(special.Additional))
        {
            JsonPlace? detail = flags.TryGetValue(token, out var place) ? place : null;
            added.PutSpecial(token, detail, leftStrip: token == SpecialTokens.Roberta.Mask);
        }

        return new TokenizerSettings
        {
            SpecialTokens = special,
            AddedTokens = added.ToList(),
            ModelMaxLength = configuration?["model_max_length"]?.Limit() ?? int.MaxValue,
            PaddingSide = configuration?.Text("padding_side") switch
            {
                null or "right" => PaddingSide.Right,
                "left" => PaddingSide.Left,
                _ => throw configuration.Value.Required("padding_side").Wrong("must be \"left\" or \"right\""),
            },
            TokenizerClass = tokenizerClass,
            FurtherConfiguration = Further(configuration),
        };
    }

    /// <summary>An entry of a list of added tokens.</summary>
    public static AddedToken ReadAddedToken(JsonPlace token, int id) => new(
        token.Required("content").Text(), id, token.Flag("special"), token.Flag("single_word"), token.Flag("lstrip"),
        token.Flag("rstrip"), token.Flag("normalized"));

    /// <summary>tokenizer_config.json of a tokenizer.</summary>
    public static JsonObject Configuration(PretrainedTokenizer tokenizer)
    {
        var settings = tokenizer.Settings;
        var json = settings.FurtherConfiguration is { } further ? JsonNode.Parse(further)!.AsObject() : [];
        json["added_tokens_decoder"] = new JsonObject(settings.AddedTokens.OrderBy(t => t.Id).Select(
            t => KeyValuePair.Create(t.Id.ToString(CultureInfo.InvariantCulture), (JsonNode?)AddedTokenJson(t))));
        foreach (var (role, token) in settings.SpecialTokens.Named())
            json[role] = token;
        if (settings.SpecialTokens.Additional.Count > 0)
            json["additional_special_tokens"] = new JsonArray([.. settings.SpecialTokens.Additional.Select(t => (JsonNode)t)]);
        foreach (var (name, value) in tokenizer.AlgorithmConfiguration())
            json[name] = value;
        json["clean_up_tokenization_spaces"] = false;
        json["model_max_length"] = Limit(settings.ModelMaxLength);
        json["padding_side"] = settings.PaddingSide == PaddingSide.Left ? "left" : "right";
        json["tokenizer_class"] = settings.TokenizerClass;
        return json;
    }

    /// <summary>A length as transformers writes it; no limit is int(1e30) there.</summary>
    public static JsonNode Limit(int length) =>
        length == int.MaxValue ? JsonNode.Parse("1000000000000000019884624838656")! : JsonValue.Create(length);

    /// <summary>special_tokens_map.json.</summary>
    public static JsonObject SpecialTokensMap(SpecialTokens special)
    {
        var json = new JsonObject(special.Named().Select(x => KeyValuePair.Create(x.Role, (JsonNode?)x.Token)));
        if (special.Additional.Count > 0)
            json["additional_special_tokens"] = new JsonArray([.. special.Additional.Select(t => (JsonNode)t)]);
        return json;
    }

    /// <summary>An added token without its id.</summary>
    public static JsonObject AddedTokenJson(AddedToken token) => new()
    {
        ["content"] = token.Content,
        ["lstrip"] = token.LeftStrip,
        ["normalized"] = token.Normalized,
        ["rstrip"] = token.RightStrip,
        ["single_word"] = token.SingleWord,
        ["special"] = token.Special,
    };

    /// <summary>Lines of a UTF-8 file.</summary>
    public static IReadOnlyList<string> ReadLines(string path) =>
        ParseLines(BoundedFile.Read(path, JsonPlace.SizeLimit, "a tokenizer file"), path);

    /// <summary>Lines of a file's content; the path is for messages.</summary>
    public static IReadOnlyList<string> ParseLines(byte[] content, string path)
    {
        var lines = new List<string>();
        using var reader = new StreamReader(new MemoryStream(content), StrictUtf8);
        try
        {
            while (reader.ReadLine() is { } line)
            {
                if (lines.Count == PretrainedTokenizer.MostTokens)
                    throw new InvalidDataException($"{path} has more than {PretrainedTokenizer.MostTokens:N0} lines.");
                lines.Add(line);
            }
            return lines;
        }
        catch (DecoderFallbackException e)
        {
            throw new InvalidDataException($"{path}, in or after line {lines.Count + 1}: the bytes are not UTF-8.", e);
        }
    }

    /// <summary>JSON as files have it.</summary>
    public static byte[] Serialize(JsonNode json) => JsonSerializer.SerializeToUtf8Bytes(json, Readable);

    /// <summary>Writes JSON, all or nothing.</summary>
    public static void WriteJson(string path, JsonNode json, bool indented = true) =>
        AtomicFile.Write(path, stream => JsonSerializer.Serialize(stream, json, indented ? Readable : Compact));

    /// <summary>Writes lines that end in a line feed, all or nothing.</summary>
    public static void WriteText(string path, IEnumerable<string> lines) => AtomicFile.Write(path, stream =>
    {
        using var writer = new StreamWriter(stream, leaveOpen: true) { NewLine = "\n" };
        foreach (var line in lines)
            writer.WriteLine(line);
    });

    private static string Content(JsonPlace token, Dictionary<string, JsonPlace> flags)
    {
        if (token.Kind == JsonValueKind.String)
            return token.Text();
        var content = token.Required("content").Text();
        flags[content] = token;
        return content;
    }

    private static string? Further(JsonPlace? configuration)
    {
        if (configuration is not { } present)
            return null;
        var further = JsonObject.Create(present.Value)!;
        foreach (var name in further.Select(x => x.Key).Where(KnownEntries.Contains).ToList())
            further.Remove(name);
        return further.Count == 0 ? null : further.ToJsonString();
    }
}
