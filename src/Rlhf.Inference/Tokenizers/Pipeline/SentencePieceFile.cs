using System.Text.Json.Nodes;
using Google.Protobuf;

namespace Rlhf.Tokenizers.Pipeline;

/// <summary>
/// A SentencePiece model (sentencepiece_model.proto, a protobuf message) as the tokenizer.json that transformers' converters make of it:
/// Llama's form for BPE, T5's for unigram.
/// </summary>
internal static class SentencePieceFile
{
    private const string Mark = "\u2581";

    /// <summary>Types of pieces in the file.</summary>
    private const int Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Byte = 6;

    /// <summary>Kinds of models in the file.</summary>
    private const int Unigram = 1, Bpe = 2;

    private readonly record struct Piece(string Text, float Score, int Type);

    private sealed class Model
    {
        public List<Piece> Pieces { get; } = [];
        public int Kind { get; set; } = Unigram;
        public bool AddsDummyPrefix { get; set; } = true;
        public bool RemovesExtraSpaces { get; set; } = true;
        public byte[] Rules { get; set; } = [];
    }

    /// <summary>The tokenizer.json.</summary>
    /// <exception cref="InvalidDataException">The file is no SentencePiece model, or of a kind that is not known.</exception>
    public static JsonObject ToTokenizerJson(ReadOnlyMemory<byte> content, string file)
    {
        var model = Read(content, file);
        if (model.Pieces.Count == 0)
            throw new InvalidDataException($"{file} holds no pieces; fetch it again.");
        if (model.Kind is not (Unigram or Bpe))
            throw new InvalidDataException($"{file} is a SentencePiece model of characters or words; BPE and unigram can be read. "
                + "Put the tokenizer.json of the model beside it.");
        int unknown = model.Pieces.FindIndex(p => p.Type == Unknown);
        if (unknown < 0)
            throw new InvalidDataException($"{file} has no unknown piece; fetch it again.");
        bool bytes = model.Pieces.Exists(p => p.Type == Byte);
        var json = new JsonObject { ["version"] = "1.0", ["truncation"] = null, ["padding"] = null };
        json["added_tokens"] = new JsonArray([.. model.Pieces.Select((p, id) => (p, id)).Where(x => x.p.Type is Unknown or Control or UserDefined)
            .Select(x => (JsonNode)Added(x.p, x.id))]);
        json["normalizer"] = Sequence("normalizers", Normalizers(model));
        json["pre_tokenizer"] = model.Kind == Bpe ? null : Metaspace(model);
        json["post_processor"] = Template(model);
        json["decoder"] = Sequence("decoders", Decoders(model, bytes));
        json["model"] = model.Kind == Bpe ? BpeModel(model, unknown, bytes) : UnigramModel(model, unknown, bytes);
        return json;
    }

    private static JsonObject Added(Piece piece, int id) => new()
    {
        ["id"] = id,
        ["content"] = piece.Text,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = piece.Type != UserDefined,
    };

    private static IEnumerable<JsonObject> Normalizers(Model model)
    {
        if (model.Rules.Length > 0)
            yield return new() { ["type"] = "Precompiled", ["precompiled_charsmap"] = Convert.ToBase64String(model.Rules) };
        if (model.Kind == Unigram)
        {
            if (model.RemovesExtraSpaces)
            {
                yield return new() { ["type"] = "Strip", ["strip_left"] = false, ["strip_right"] = true };
                yield return Replace(new() { ["Regex"] = " {2,}" }, Mark);
            }
            yield break;
        }
        if (model.AddsDummyPrefix)
            yield return new() { ["type"] = "Prepend", ["prepend"] = Mark };
        yield return Replace(new() { ["String"] = " " }, Mark);
    }

    private static JsonObject Metaspace(Model model) => new()
    {
        ["type"] = "Metaspace",
        ["replacement"] = Mark,
        ["prepend_scheme"] = model.AddsDummyPrefix ? "always" : "never",
        ["split"] = true,
    };

    private static IEnumerable<JsonObject> Decoders(Model model, bool bytes)
    {
        if (model.Kind == Unigram && !bytes)
        {
            yield return Metaspace(model);
            yield break;
        }
        yield return Replace(new() { ["String"] = Mark }, " ");
        yield return new() { ["type"] = "ByteFallback" };
        yield return new() { ["type"] = "Fuse" };
        if (model.AddsDummyPrefix)
            yield return new() { ["type"] = "Strip", ["content"] = " ", ["start"] = 1, ["stop"] = 0 };
    }

    /// <summary>Llama's beginning, or T5's end.</summary>
    private static JsonObject? Template(Model model)
    {
        string token = model.Kind == Bpe ? "<s>" : "</s>";
        int id = model.Pieces.FindIndex(p => p.Text == token && p.Type == Control);
        if (id < 0 && model.Kind == Bpe)
            id = model.Pieces.FindIndex(p => p.Text == (token = "<bos>") && p.Type == Control);
        if (id < 0)
            return null;
        JsonObject Special() => new() { ["SpecialToken"] = new JsonObject { ["id"] = token, ["type_id"] = 0 } };
        JsonObject Text(string name) => new() { ["Sequence"] = new JsonObject { ["id"] = name, ["type_id"] = 0 } };
        JsonArray Around(params string[] names) => new([.. names.SelectMany(name => model.Kind == Bpe
            ? new JsonNode[] { Special(), Text(name) } : [Text(name), Special()])]);
        return new()
        {
            ["type"] = "TemplateProcessing",
            ["single"] = Around("A"),
            ["pair"] = Around("A", "B"),
            ["special_tokens"] = new JsonObject
            {
                [token] = new JsonObject { ["id"] = token, ["ids"] = new JsonArray(id), ["tokens"] = new JsonArray(token) },
            },
        };
    }

    private static JsonObject BpeModel(Model model, int unknown, bool bytes)
    {
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int id = 0; id < model.Pieces.Count; id++)
            ids.TryAdd(model.Pieces[id].Text, id);
        var lookup = ids.GetAlternateLookup<ReadOnlySpan<char>>();
        var merges = new List<(string Left, string Right, float Score, int Piece, int LeftId, int RightId)>();
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            var (piece, score, type) = model.Pieces[id];
            if (type is not (Normal or UserDefined))
                continue;
            for (int cut = 1; cut < piece.Length; cut++)
                if (lookup.TryGetValue(piece.AsSpan(0, cut), out int left) && lookup.TryGetValue(piece.AsSpan(cut), out int right))
                    merges.Add((piece[..cut], piece[cut..], score, id, left, right));
        }
        // The likelier piece first; of the ways to make one piece, that of the lower ids.
        var sorted = merges.OrderByDescending(m => m.Score).ThenBy(m => m.Piece).ThenBy(m => m.LeftId).ThenBy(m => m.RightId);
        return new()
        {
            ["type"] = "BPE",
            ["dropout"] = null,
            ["unk_token"] = model.Pieces[unknown].Text,
            ["continuing_subword_prefix"] = null,
            ["end_of_word_suffix"] = null,
            ["fuse_unk"] = true,
            ["byte_fallback"] = bytes,
            ["ignore_merges"] = false,
            ["vocab"] = TokenizerJson.Vocabulary(ids),
            ["merges"] = new JsonArray([.. sorted.Select(m => (JsonNode)new JsonArray(m.Left, m.Right))]),
        };
    }

    private static JsonObject UnigramModel(Model model, int unknown, bool bytes) => new()
    {
        ["type"] = "Unigram",
        ["unk_id"] = unknown,
        ["vocab"] = new JsonArray([.. model.Pieces.Select(p => (JsonNode)new JsonArray(p.Text, (double)p.Score))]),
        ["byte_fallback"] = bytes,
    };

    private static JsonObject Replace(JsonObject pattern, string content) =>
        new() { ["type"] = "Replace", ["pattern"] = pattern, ["content"] = content };

    private static JsonObject? Sequence(string name, IEnumerable<JsonObject> steps)
    {
        var list = steps.ToArray();
        return list.Length switch
        {
            0 => null,
            1 => list[0],
            _ => new() { ["type"] = "Sequence", [name] = new JsonArray([.. list]) },
        };
    }

    private static Model Read(ReadOnlyMemory<byte> content, string file)
    {
        var model = new Model();
        try
        {
            ForEachField(content.ToArray(), (field, input) =>
            {
                if (field == 1 && model.Pieces.Count == PretrainedTokenizer.MostTokens)
                    throw new InvalidDataException($"{file} has more than {PretrainedTokenizer.MostTokens:N0} pieces.");
                if (field == 1)
                    model.Pieces.Add(ReadPiece(input.ReadBytes()));
                else if (field == 2)
                    ReadTrainer(input.ReadBytes(), model);
                else if (field == 3)
                    ReadNormalizer(input.ReadBytes(), model);
                else
                    input.SkipLastField();
            });
            return model;
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or FormatException or InvalidOperationException)
        {
            throw new InvalidDataException($"{file} is not a SentencePiece model, or is damaged; fetch it again.", e);
        }
    }

    private static Piece ReadPiece(ByteString content)
    {
        var piece = new Piece("", 0, Normal);
        ForEachField(content, (field, input) =>
        {
            if (field == 1)
                piece = piece with { Text = input.ReadString() };
            else if (field == 2)
                piece = piece with { Score = input.ReadFloat() };
            else if (field == 3)
                piece = piece with { Type = input.ReadEnum() };
            else
                input.SkipLastField();
        });
        return float.IsFinite(piece.Score) ? piece : throw new FormatException("A score is not finite.");
    }

    private static void ReadTrainer(ByteString content, Model model) => ForEachField(content, (field, input) =>
    {
        if (field == 3)
            model.Kind = input.ReadEnum();
        else
            input.SkipLastField();
    });

    private static void ReadNormalizer(ByteString content, Model model) => ForEachField(content, (field, input) =>
    {
        if (field == 2)
            model.Rules = input.ReadBytes().ToByteArray();
        else if (field == 3)
            model.AddsDummyPrefix = input.ReadBool();
        else if (field == 4)
            model.RemovesExtraSpaces = input.ReadBool();
        else
            input.SkipLastField();
    });

    private static void ForEachField(ByteString content, Action<int, CodedInputStream> read) => ForEachField(content.ToByteArray(), read);

    private static void ForEachField(byte[] content, Action<int, CodedInputStream> read)
    {
        using var input = new CodedInputStream(content);
        while (input.ReadTag() is not 0 and uint tag)
            read(WireFormat.GetTagFieldNumber(tag), input);
    }
}
