using System.Globalization;
using System.Text.Json;

namespace Rlhf.Tokenizers.Pipeline.Models;

/// <summary>The models of tokenizer.json.</summary>
internal static class ModelReader
{
    /// <summary>What was read: the vocabulary, and the model for text or for text in GPT-2's byte alphabet.</summary>
    /// <param name="Vocabulary">Tokens and ids.</param>
    /// <param name="Model">The last station of text.</param>
    /// <param name="ByteModel">One that takes the text itself, where a byte-level pre-tokenizer stands before it; null: there is none.</param>
    internal sealed record Result(Dictionary<string, int> Vocabulary, Stage Model, Stage? ByteModel = null);

    public static Result Read(JsonPlace model) => Type(model) switch
    {
        "BPE" => Bpe(model),
        "Unigram" => Unigram(model),
        "WordPiece" => WordPiece(model),
        "WordLevel" => WordLevel(model),
        var other => throw model.Required("type").Wrong($"is '{other}'; BPE, Unigram, WordPiece and WordLevel can be read"),
    };

    /// <summary>The kind of model; files of early versions do not name it.</summary>
    public static string Type(JsonPlace model) => model.Text("type") ?? (model["merges"] is not null ? "BPE"
        : model["vocab"]?.Kind == JsonValueKind.Array ? "Unigram" : "WordPiece");

    private static Result Bpe(JsonPlace model)
    {
        if (model["dropout"] is { } dropout && !(dropout.Kind == JsonValueKind.Number && dropout.Value.GetDouble() == 0))
            throw dropout.Wrong("asks for random merges, which make ids that cannot be repeated; set it to null");
        var vocabulary = TokenizerJson.ReadVocabulary(model.Required("vocab"));
        var options = new BpeOptions
        {
            UnknownId = model["unk_token"] is { } unknown && unknown.Text().Length > 0 ? Known(unknown, vocabulary) : null,
            FusesUnknown = model.Flag("fuse_unk"),
            ByteFallback = model.Flag("byte_fallback"),
            IgnoresMerges = model.Flag("ignore_merges"),
            ContinuingPrefix = model.Text("continuing_subword_prefix") ?? "",
            EndSuffix = model.Text("end_of_word_suffix") ?? "",
        };
        var merges = MergeReader.Read(model.Required("merges"), vocabulary, options.ContinuingPrefix.Length);
        return new(vocabulary, new BpeModel(vocabulary, merges, options), ByteBpeModel.For(vocabulary, merges, options));
    }

    private static Result Unigram(JsonPlace model)
    {
        var pieces = new List<(string, double)>();
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var entry in model.Required("vocab").Items())
        {
            var pair = entry.Items().ToArray();
            if (pair.Length != 2 || pair[1].Kind != JsonValueKind.Number || !double.IsFinite(pair[1].Value.GetDouble()))
                throw entry.Wrong("must be a piece and its score");
            if (!vocabulary.TryAdd(pair[0].Text(), pieces.Count))
                throw entry.Wrong($"repeats the piece '{pair[0].Text()}'; each may stand once");
            pieces.Add((pair[0].Text(), pair[1].Value.GetDouble()));
        }
        if (pieces.Count == 0)
            throw model.Required("vocab").Wrong("holds no tokens");
        var unknown = model.Required("unk_id");
        if (unknown.Id() >= pieces.Count)
            throw unknown.Wrong($"must be below the number of pieces, {pieces.Count.ToString(CultureInfo.InvariantCulture)}");
        return new(vocabulary, new UnigramModel(pieces, unknown.Id(), model.Flag("byte_fallback")));
    }

    private static Result WordPiece(JsonPlace model)
    {
        var vocabulary = TokenizerJson.ReadVocabulary(model.Required("vocab"));
        return new(vocabulary, new WordPieceModel(vocabulary, Known(model.Required("unk_token"), vocabulary),
            model.Text("continuing_subword_prefix") ?? "##", model["max_input_chars_per_word"]?.Limit() ?? 100));
    }

    private static Result WordLevel(JsonPlace model)
    {
        var vocabulary = TokenizerJson.ReadVocabulary(model.Required("vocab"));
        return new(vocabulary, new WordModel(vocabulary, Known(model.Required("unk_token"), vocabulary)));
    }

    private static int Known(JsonPlace token, Dictionary<string, int> vocabulary) =>
        vocabulary.TryGetValue(token.Text(), out int id) ? id : throw token.Wrong($"names '{token.Text()}', which is not in model.vocab");
}
