using System.Text.Json.Nodes;
using Rlhf.Tokenizers.Pipeline.Decoders;
using Rlhf.Tokenizers.Pipeline.Models;

namespace Rlhf.Tokenizers;

/// <summary>
/// WordPiece as BERT and DistilBERT use it: words are cut, longest piece first, and a word that cannot be cut is unknown.
/// </summary>
/// <remarks>
/// Microsoft.ML.Tokenizers' BertTokenizer (2.0.1) is not used: it drops ASCII symbols such as $ + &lt; = ^ ` | ~ and currency and
/// mathematical signs, and removes tabs and line ends instead of treating them as spaces, so that 94 of 200 reference strings
/// differ.
/// </remarks>
public sealed class WordPieceTokenizer : PretrainedTokenizer
{
    private readonly WordPieceModel model;
    private readonly WordPieceDecoder decoder;
    private readonly AddedTokenMatcher normalizedTokens;

    /// <summary>A tokenizer from its parts.</summary>
    /// <param name="vocabulary">Pieces and their ids.</param>
    /// <param name="settings">Special tokens and the like.</param>
    /// <param name="normalizer">What is done to the text first; null is BERT's way, with lower-casing.</param>
    /// <param name="unknownToken">Stands for a word that cannot be cut into pieces; default [UNK].</param>
    /// <param name="continuingPrefix">Begins pieces that continue a word; default ##.</param>
    /// <param name="maxWordLength">A word with more characters is unknown; default 100.</param>
    /// <param name="cleanUpSpaces">Decoding removes the space before punctuation; default true.</param>
    /// <exception cref="ArgumentException">The vocabulary lacks the unknown token, or ids clash.</exception>
    public WordPieceTokenizer(
        IReadOnlyDictionary<string, int> vocabulary, TokenizerSettings settings, BertNormalizer? normalizer = null,
        string unknownToken = "[UNK]", string continuingPrefix = "##", int maxWordLength = 100, bool cleanUpSpaces = true)
        : base(vocabulary, settings)
    {
        Normalizer = normalizer ?? new();
        UnknownToken = unknownToken;
        ContinuingPrefix = continuingPrefix;
        MaxWordLength = maxWordLength;
        CleansUpSpaces = cleanUpSpaces;
        if (!vocabulary.TryGetValue(unknownToken, out int unknownId))
            throw new ArgumentException($"The vocabulary lacks the unknown token '{unknownToken}'.", nameof(vocabulary));
        model = new(new(vocabulary, StringComparer.Ordinal), unknownId, continuingPrefix, maxWordLength);
        decoder = new(continuingPrefix, cleanUpSpaces);
        normalizedTokens = NormalizedTokens(text => Normalizer.Normalize(text));
    }

    /// <summary>What is done to the text first.</summary>
    public BertNormalizer Normalizer { get; }

    /// <summary>Stands for a word that cannot be cut into pieces.</summary>
    public string UnknownToken { get; }

    /// <summary>Begins pieces that continue a word.</summary>
    public string ContinuingPrefix { get; }

    /// <summary>A word with more characters is unknown.</summary>
    public int MaxWordLength { get; }

    /// <summary>Decoding removes the space before punctuation.</summary>
    public bool CleansUpSpaces { get; }

    /// <inheritdoc/>
    public override bool SplitsAtSpaces => true;

    private protected override void EncodeText(ReadOnlySpan<char> text, List<int> ids, TextPlace place)
    {
        var normalized = Normalizer.Normalize(text);
        for (int at = 0; at < normalized.Length;)
        {
            var token = normalizedTokens.Next(normalized, at, out int start, out int end);
            EncodeNormalized(normalized.AsSpan(at, start - at), ids);
            if (token is not null)
                ids.Add(token.Id);
            at = end;
        }
    }

    private void EncodeNormalized(ReadOnlySpan<char> text, List<int> ids)
    {
        for (int at = 0; BertNormalizer.NextWord(text, at, out int start, out int end); at = end)
            model.Take(text[start..end], TextPlace.Inside, ids);
    }

    private protected override string Join(List<string> pieces, bool continues)
    {
        decoder.Decode(pieces, continues);
        return string.Concat(pieces);
    }

    private protected override void SaveVocabulary(string folder)
    {
        // A line for each id; an id without a token is an empty line.
        var lines = new string[ModelVocabulary.Values.Max() + 1];
        Array.Fill(lines, "");
        foreach (var (piece, id) in ModelVocabulary)
            lines[id] = piece;
        TokenizerFiles.WriteText(Path.Combine(folder, "vocab.txt"), lines);
    }

    internal override JsonObject? AlgorithmJson() => new()
    {
        ["normalizer"] = new JsonObject
        {
            ["type"] = "BertNormalizer",
            ["clean_text"] = Normalizer.CleanText,
            ["handle_chinese_chars"] = Normalizer.HandleChineseCharacters,
            ["strip_accents"] = Normalizer.StripAccents,
            ["lowercase"] = Normalizer.Lowercase,
        },
        ["pre_tokenizer"] = new JsonObject { ["type"] = "BertPreTokenizer" },
        ["decoder"] = new JsonObject { ["type"] = "WordPiece", ["prefix"] = ContinuingPrefix, ["cleanup"] = CleansUpSpaces },
        ["model"] = new JsonObject
        {
            ["type"] = "WordPiece",
            ["unk_token"] = UnknownToken,
            ["continuing_subword_prefix"] = ContinuingPrefix,
            ["max_input_chars_per_word"] = MaxWordLength,
            ["vocab"] = TokenizerJson.Vocabulary(ModelVocabulary),
        },
    };

    internal override IEnumerable<(string Name, JsonNode? Value)> AlgorithmConfiguration() =>
    [
        ("do_lower_case", Normalizer.Lowercase),
        ("strip_accents", Normalizer.StripAccents),
        ("tokenize_chinese_chars", Normalizer.HandleChineseCharacters),
    ];
}
