using System.Text.Json;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;
using Rlhf.Tokenizers.Pipeline;
using Rlhf.Weights;

namespace Rlhf.Tokenizers;

/// <summary>Opens the tokenizer of a model folder in Hugging Face's layout.</summary>
public static class AutoTokenizer
{
    /// <summary>
    /// Reads tokenizer.json, or vocab.json with merges.txt (byte-level BPE), or vocab.txt (WordPiece), or a SentencePiece model
    /// (tokenizer.model), together with tokenizer_config.json, special_tokens_map.json and added_tokens.json where they exist.
    /// </summary>
    /// <param name="folder">The model folder.</param>
    /// <exception cref="DirectoryNotFoundException">The folder does not exist.</exception>
    /// <exception cref="FileNotFoundException">The folder holds no tokenizer.</exception>
    /// <exception cref="InvalidDataException">
    /// A file is malformed, or asks for something that this library does not do.
    /// </exception>
    public static ITokenizer FromPretrained(string folder)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(folder);
        if (!Directory.Exists(folder))
            throw new DirectoryNotFoundException($"The model folder {folder} does not exist.");
        folder = OfBase(folder);
        var source = SourceFiles.Read(folder);
        var tokenizer = Read(folder, source);
        tokenizer.Source = source;
        return tokenizer;
    }

    /// <summary>An adapter's folder without a tokenizer takes that of its base.</summary>
    internal static string OfBase(string folder) =>
        AdapterFolder.IsAdapter(folder) && !HasOwn(folder) ? AdapterFolder.BaseOf(folder) : folder;

    /// <summary>Does a folder hold the files of a tokenizer?</summary>
    internal static bool HasOwn(string folder) =>
        ((string[])["tokenizer.json", "vocab.json", "vocab.txt", .. SentencePieceModels]).Any(f => File.Exists(Path.Combine(folder, f)));

    private static PretrainedTokenizer Read(string folder, SourceFiles source)
    {
        var configuration = JsonPlace.ReadObject(Path.Combine(folder, "tokenizer_config.json"));
        var tokenizerClass = TokenizerFiles.TokenizerClass(folder, configuration);
        string json = Path.Combine(folder, "tokenizer.json"), vocab = Path.Combine(folder, "vocab.json"),
            merges = Path.Combine(folder, "merges.txt"), words = Path.Combine(folder, "vocab.txt");
        try
        {
            if (JsonPlace.ReadObject(json) is { } all)
                return TokenizerJson.Read(folder, all, configuration, tokenizerClass);
            if (File.Exists(vocab) && File.Exists(merges))
                return ReadVocabularyAndMerges(folder, vocab, merges, configuration, tokenizerClass);
            if (File.Exists(vocab) || File.Exists(merges))
                throw new FileNotFoundException($"{folder} holds one of vocab.json and merges.txt; byte-level BPE needs both.");
            if (File.Exists(words))
                return ReadVocabularyLines(folder, words, configuration, tokenizerClass);
            if (SentencePieceModels.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists) is { } model)
                return ReadSentencePiece(folder, model, source, configuration, tokenizerClass);
        }
        catch (ArgumentException e)
        {
            throw NoFit(folder, e);
        }
        throw new FileNotFoundException(
            $"{folder} holds no tokenizer: it needs tokenizer.json, or vocab.json with merges.txt, or vocab.txt, "
            + "or tokenizer.model.");
    }

    private static readonly string[] SentencePieceModels = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"];

    /// <summary>A SentencePiece model becomes the tokenizer.json that transformers would make of it, which saving then writes, too.</summary>
    private static PretrainedTokenizer ReadSentencePiece(
        string folder, string model, SourceFiles source, JsonPlace? configuration, string? tokenizerClass)
    {
        var json = SentencePieceFile.ToTokenizerJson(BoundedFile.Read(model, JsonPlace.SizeLimit, "a tokenizer file"), model);
        var content = JsonSerializer.SerializeToUtf8Bytes(json);
        source.Put("tokenizer.json", content);
        return TokenizerJson.Read(folder, JsonPlace.ParseObject(content, model), configuration, tokenizerClass);
    }

    /// <summary>A refusal of parts that the constructors of tokenizers do not take.</summary>
    internal static InvalidDataException NoFit(string folder, ArgumentException error) => new(
        $"The tokenizer files in {folder} do not fit together: "
        + UntrustedText.Clean(error.Message.Split(" (Parameter '")[0]), error);

    private static ByteLevelBpeTokenizer ReadVocabularyAndMerges(
        string folder, string vocab, string merges, JsonPlace? configuration, string? tokenizerClass)
    {
        CheckClass(folder, tokenizerClass, "GPT2Tokenizer", "RobertaTokenizer", "DistilRobertaTokenizer");
        var vocabulary = TokenizerJson.ReadVocabulary(JsonPlace.ReadObject(vocab)!.Value);
        var pairs = new List<(string, string)>();
        int number = 0;
        foreach (var line in TokenizerFiles.ReadLines(merges))
        {
            number++;
            if (line.Length > 0 && !line.StartsWith("#version", StringComparison.Ordinal))
                pairs.Add(TokenizerJson.SplitMerge(line)
                    ?? throw new InvalidDataException($"{merges}: line {number} is not two tokens with one space between them."));
        }
        return ByteLevelBpe(folder, vocabulary, pairs, configuration, tokenizerClass, [], null, false, null);
    }

    /// <summary>A byte-level BPE tokenizer of the family that the folder names or the vocabulary shows.</summary>
    internal static ByteLevelBpeTokenizer ByteLevelBpe(string folder, IReadOnlyDictionary<string, int> vocabulary,
        IReadOnlyList<(string, string)> merges, JsonPlace? configuration, string? tokenizerClass,
        IReadOnlyList<AddedToken> listed, SequenceTemplate? template, bool addPrefixSpace, string? unknownToken)
    {
        bool roberta = IsGeneral(tokenizerClass) ? SpecialTokens.Roberta.Named().All(x => vocabulary.ContainsKey(x.Token))
            : tokenizerClass!.Contains("Roberta", StringComparison.Ordinal);
        tokenizerClass ??= roberta ? "RobertaTokenizer" : "GPT2Tokenizer";
        var family = roberta ? SpecialTokens.Roberta : SpecialTokens.Gpt2;
        var settings = TokenizerFiles.ReadSettings(folder, configuration, tokenizerClass, family, vocabulary, listed);
        var ids = WithAddedTokens(vocabulary, settings);
        if (template is not null)
            settings = settings with { Template = template };
        else if (roberta && Find(ids, settings.SpecialTokens.Cls) is { } cls && Find(ids, settings.SpecialTokens.Sep) is { } sep)
            settings = settings with { Template = SequenceTemplate.Roberta(cls, sep) with { MarksSecondText = false } };
        return new(vocabulary, merges, settings, configuration?["add_prefix_space"]?.Flag() ?? addPrefixSpace, unknownToken);
    }

    private static WordPieceTokenizer ReadVocabularyLines(
        string folder, string words, JsonPlace? configuration, string? tokenizerClass)
    {
        CheckClass(folder, tokenizerClass, "BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer");
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        int id = 0;
        foreach (var line in TokenizerFiles.ReadLines(words))
            vocabulary[line] = id++;
        return WordPiece(folder, vocabulary, configuration, tokenizerClass, [], null, new());
    }

    /// <summary>A WordPiece tokenizer; tokenizer_config.json's settings go before those of <paramref name="model"/>.</summary>
    internal static WordPieceTokenizer WordPiece(
        string folder, IReadOnlyDictionary<string, int> vocabulary, JsonPlace? configuration, string? tokenizerClass,
        IReadOnlyList<AddedToken> listed, SequenceTemplate? template, WordPieceSettings model)
    {
        var settings = TokenizerFiles.ReadSettings(
            folder, configuration, tokenizerClass ?? "BertTokenizer", SpecialTokens.Bert, vocabulary, listed);
        var ids = WithAddedTokens(vocabulary, settings);
        if (template is not null)
            settings = settings with { Template = template };
        else if (Find(ids, settings.SpecialTokens.Cls) is { } cls && Find(ids, settings.SpecialTokens.Sep) is { } sep)
            settings = settings with { Template = SequenceTemplate.Bert(cls, sep) };
        var normalizer = model.Normalizer;
        normalizer = normalizer with
        {
            Lowercase = configuration?["do_lower_case"]?.Flag() ?? normalizer.Lowercase,
            StripAccents = configuration?["strip_accents"]?.Flag() ?? normalizer.StripAccents,
            HandleChineseCharacters = configuration?["tokenize_chinese_chars"]?.Flag() ?? normalizer.HandleChineseCharacters,
        };
        return new(vocabulary, settings, normalizer, model.UnknownToken ?? settings.SpecialTokens.Unk ?? "[UNK]",
            model.ContinuingPrefix, model.MaxWordLength, model.CleanUpSpaces);
    }

    /// <summary>Refuses vocabulary files of other families, which look alike and split text in another way.</summary>
    private static void CheckClass(string folder, string? tokenizerClass, params string[] known)
    {
        if (!IsGeneral(tokenizerClass) && !known.Contains(tokenizerClass))
            throw new InvalidDataException($"{folder}: the tokenizer's class is {UntrustedText.Clean(tokenizerClass)}; "
                + $"without a tokenizer.json these vocabulary files can be read as {string.Join(", ", known)}.");
    }

    /// <summary>The class says nothing about the family.</summary>
    private static bool IsGeneral(string? tokenizerClass) =>
        tokenizerClass is null or "PreTrainedTokenizerFast" or "PreTrainedTokenizer" or "TokenizersBackend";

    private static Dictionary<string, int> WithAddedTokens(
        IReadOnlyDictionary<string, int> vocabulary, TokenizerSettings settings)
    {
        var ids = new Dictionary<string, int>(vocabulary, StringComparer.Ordinal);
        foreach (var token in settings.AddedTokens)
            ids[token.Content] = token.Id;
        return ids;
    }

    private static int? Find(Dictionary<string, int> ids, string? token) =>
        token is not null && ids.TryGetValue(token, out int id) ? id : null;
}

/// <summary>What a file says about a WordPiece model.</summary>
internal sealed record WordPieceSettings
{
    public BertNormalizer Normalizer { get; init; } = new();

    /// <summary>Null is the unknown token of the special tokens.</summary>
    public string? UnknownToken { get; init; }

    public string ContinuingPrefix { get; init; } = "##";

    public int MaxWordLength { get; init; } = 100;

    public bool CleanUpSpaces { get; init; } = true;
}
