using System.Text.Json.Nodes;

namespace Rlhf.Tokenizers;

/// <summary>What byte-level BPE and WordPiece have in common: added tokens, templates, truncation, saving.</summary>
public abstract class PretrainedTokenizer : ITokenizer
{
    /// <summary>Ids lie below this.</summary>
    internal const int MostTokens = 1 << 22;

    private static readonly string[] SpacedOut = [" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"];

    private readonly Dictionary<string, int> vocabulary;
    private readonly string?[] tokens;
    private readonly HashSet<string> specialTokens;
    private readonly Dictionary<int, string> respelled = [];
    private readonly AddedTokenMatcher matcher;

    /// <summary>Takes over a vocabulary and settings; added tokens that the vocabulary lacks are joined to it.</summary>
    /// <param name="vocabulary">Tokens of the algorithm and their ids.</param>
    /// <param name="settings">Everything else.</param>
    /// <exception cref="ArgumentException">Ids are negative, too large or used twice.</exception>
    private protected PretrainedTokenizer(IReadOnlyDictionary<string, int> vocabulary, TokenizerSettings settings)
    {
        ModelVocabulary = vocabulary;
        Settings = settings;
        this.vocabulary = new(vocabulary, StringComparer.Ordinal);
        foreach (var token in settings.AddedTokens)
            this.vocabulary[token.Content] = token.Id;
        tokens = InvertVocabulary(this.vocabulary);
        specialTokens = settings.AddedTokens.Where(t => t.Special).Select(t => t.Content).ToHashSet(StringComparer.Ordinal);
        matcher = new(settings.AddedTokens.Where(t => !t.Normalized));
        var special = settings.SpecialTokens;
        BosTokenId = Role(special.Bos);
        EosTokenId = Role(special.Eos);
        UnkTokenId = Role(special.Unk);
        SepTokenId = Role(special.Sep);
        PadTokenId = Role(special.Pad);
        ClsTokenId = Role(special.Cls);
        MaskTokenId = Role(special.Mask);
        foreach (int id in settings.Template.Ids)
            if (id >= tokens.Length || tokens[id] is null)
                throw new ArgumentException($"The template names the id {id}, which no token has.", nameof(settings));
    }

    /// <summary>Everything besides vocabulary and algorithm.</summary>
    public TokenizerSettings Settings { get; }

    /// <summary>The vocabulary of the algorithm itself, without added tokens that it does not know.</summary>
    protected IReadOnlyDictionary<string, int> ModelVocabulary { get; }

    /// <inheritdoc/>
    public int VocabSize => tokens.Length;

    /// <inheritdoc/>
    public int ModelMaxLength => Settings.ModelMaxLength;

    /// <inheritdoc/>
    public SequenceTemplate Template => Settings.Template;

    /// <inheritdoc/>
    public int? BosTokenId { get; }

    /// <inheritdoc/>
    public int? EosTokenId { get; }

    /// <inheritdoc/>
    public int? PadTokenId { get; }

    /// <inheritdoc/>
    public int? UnkTokenId { get; }

    /// <inheritdoc/>
    public int? ClsTokenId { get; }

    /// <inheritdoc/>
    public int? SepTokenId { get; }

    /// <summary>Id of the token that stands for a hidden one, or null.</summary>
    public int? MaskTokenId { get; }

    /// <inheritdoc/>
    public int[] Encode(string text, bool addSpecialTokens = true)
    {
        var ids = EncodeContent(text);
        if (!addSpecialTokens || Settings.Template.SingleCount == 0)
            return [.. ids];
        return [.. Settings.Template.Before, .. ids, .. Settings.Template.After];
    }

    /// <inheritdoc/>
    public int[] EncodeContinuation(string text) => [.. EncodeContent(text, continues: true)];

    /// <inheritdoc/>
    public int[] EncodeTruncated(string text, int maxLength)
    {
        int room = Room(maxLength, Settings.Template.SingleCount);
        var ids = EncodeContent(text);
        return [.. Settings.Template.Before, .. ids.Take(room), .. Settings.Template.After];
    }

    /// <inheritdoc/>
    public int[] EncodePair(string text, string pair, int maxLength = int.MaxValue) => EncodePair(text, pair, maxLength, out _);

    /// <summary>
    /// The same, and where the second text's tokens begin in the result (its length when there is no second text): from there
    /// BERT's token type is 1.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxLength"/> has no room for the special tokens.</exception>
    public int[] EncodePair(string text, string pair, int maxLength, out int secondStart)
    {
        ArgumentNullException.ThrowIfNull(pair);
        if (pair.Length == 0)
        {
            // An empty second text is no second text, as in transformers.
            var alone = EncodeTruncated(text, maxLength);
            secondStart = alone.Length;
            return alone;
        }
        var template = Settings.Template;
        int room = Room(maxLength, template.PairCount);
        var first = EncodeContent(text);
        var second = EncodeContent(pair);
        var (firstLength, secondLength) = LongestFirst(first.Count, second.Count, room);
        secondStart = template.PairBefore.Count + firstLength + template.PairBetween.Count;
        return
        [
            .. template.PairBefore, .. first.Take(firstLength),
            .. template.PairBetween, .. second.Take(secondLength), .. template.PairAfter,
        ];
    }

    /// <inheritdoc/>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false) =>
        DecodeTokens(ids, skipSpecialTokens, continues: false);

    /// <inheritdoc/>
    public string DecodeContinuation(IEnumerable<int> ids, bool skipSpecialTokens = false) =>
        DecodeTokens(ids, skipSpecialTokens, continues: true);

    private string DecodeTokens(IEnumerable<int> ids, bool skipSpecialTokens, bool continues)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var pieces = new List<string>();
        foreach (int id in ids)
        {
            if ((uint)id >= (uint)tokens.Length)
                throw new ArgumentOutOfRangeException(
                    nameof(ids), id, $"Token id {id} is outside the vocabulary (0 to {tokens.Length - 1}).");
            // Ids that no token has are left out, as transformers does. What is special goes by the spelling, there, too.
            var token = respelled.Count > 0 && respelled.TryGetValue(id, out var spelled) ? spelled : tokens[id];
            if (token is not null && !(skipSpecialTokens && specialTokens.Contains(token)))
                pieces.Add(token);
        }
        return Join(pieces, continues);
    }

    /// <inheritdoc/>
    public string IdToToken(int id)
    {
        if ((uint)id >= (uint)tokens.Length || tokens[id] is not { } token)
            throw new ArgumentOutOfRangeException(
                nameof(id), id, $"No token has the id {id}; the vocabulary ends at {tokens.Length - 1}.");
        return token;
    }

    /// <inheritdoc/>
    public int? TokenToId(string token) => vocabulary.TryGetValue(token, out int id) ? id : null;

    /// <inheritdoc/>
    public void SavePretrained(string folder)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(folder);
        Directory.CreateDirectory(folder);
        SaveVocabulary(folder);
        WriteNew("tokenizer.json", TokenizerJson.Write(this));
        WriteNew("tokenizer_config.json", TokenizerFiles.Configuration(this));
        WriteNew("special_tokens_map.json", TokenizerFiles.SpecialTokensMap(Settings.SpecialTokens));
        Source?.Write(folder);

        void WriteNew(string name, JsonObject? json)
        {
            if (json is not null && Source?.Has(name) != true)
                TokenizerFiles.WriteJson(Path.Combine(folder, name), json);
        }
    }

    /// <summary>The files that this was read from, which saving writes back as they were; null: it was made otherwise.</summary>
    internal SourceFiles? Source { get; set; }

    /// <summary>
    /// Removes spaces before punctuation and short forms: what transformers 4 does after decoding when
    /// clean_up_tokenization_spaces is set, and transformers 5 no longer does. <see cref="Decode"/> does not do it.
    /// </summary>
    public static string CleanUpSpaces(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        foreach (var spaced in SpacedOut)
            text = text.Replace(spaced, spaced.Trim(' '), StringComparison.Ordinal);
        return text;
    }

    /// <inheritdoc/>
    public abstract bool SplitsAtSpaces { get; }

    /// <summary>
    /// The added tokens that are looked for in normalized text, as the normalizer leaves them; decoding then spells them so, too, as in the
    /// reference.
    /// </summary>
    private protected AddedTokenMatcher NormalizedTokens(Func<string, string> normalize)
    {
        var normalized = Settings.AddedTokens.Where(t => t.Normalized).Select(t => t with { Content = normalize(t.Content) }).ToArray();
        foreach (var token in normalized)
            respelled[token.Id] = token.Content;
        return new(normalized);
    }

    /// <summary>Appends the ids of text that holds no added token.</summary>
    /// <param name="text">The text.</param>
    /// <param name="ids">Where they go.</param>
    /// <param name="place">Where the text stands.</param>
    private protected abstract void EncodeText(ReadOnlySpan<char> text, List<int> ids, TextPlace place);

    /// <summary>The text of tokens, which may continue others.</summary>
    private protected abstract string Join(List<string> pieces, bool continues);

    /// <summary>Writes the vocabulary in the family's own format.</summary>
    private protected abstract void SaveVocabulary(string folder);

    /// <summary>The parts of tokenizer.json that belong to the algorithm: normalizer, pre_tokenizer, decoder, model.</summary>
    internal abstract JsonObject? AlgorithmJson();

    /// <summary>The entries of tokenizer_config.json that belong to the algorithm.</summary>
    internal abstract IEnumerable<(string Name, JsonNode? Value)> AlgorithmConfiguration();

    private List<int> EncodeContent(string text, bool continues = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>(text.Length / 4 + 8);
        for (int at = 0; at < text.Length;)
        {
            var token = matcher.Next(text, at, out int start, out int end);
            if (start > at)
                EncodeText(text.AsSpan(at, start - at), ids,
                    at > 0 ? TextPlace.Inside : continues ? TextPlace.Continuation : TextPlace.Beginning);
            if (token is not null)
                ids.Add(token.Id);
            at = end;
        }
        return ids;
    }

    private static int Room(int maxLength, int added) => maxLength >= added ? maxLength - added
        : throw new ArgumentOutOfRangeException(nameof(maxLength), maxLength, $"The special tokens alone take {added} ids.");

    /// <summary>Lengths of two texts cut to <paramref name="room"/> ids; one that takes at most half stays whole.</summary>
    internal static (int First, int Second) LongestFirst(int first, int second, int room)
    {
        if (first <= room - second)
            return (first, second);
        int shorter = Math.Min(first, second), longer = Math.Max(shorter, room - shorter);
        if (shorter > room - longer)
            (shorter, longer) = (room / 2, room - room / 2);
        return first > second ? (longer, shorter) : (shorter, longer);
    }

    private int? Role(string? token) => token is null ? null : TokenToId(token);

    private static string?[] InvertVocabulary(Dictionary<string, int> vocabulary)
    {
        if (vocabulary.Count == 0)
            throw new ArgumentException("The vocabulary is empty.", nameof(vocabulary));
        int last = vocabulary.Values.Max();
        if (vocabulary.Values.Min() < 0 || last >= MostTokens)
            throw new ArgumentException($"Token ids must lie between 0 and {MostTokens - 1}.", nameof(vocabulary));
        var tokens = new string?[last + 1];
        foreach (var (token, id) in vocabulary)
            tokens[id] = tokens[id] is null ? token
                : throw new ArgumentException($"The tokens '{tokens[id]}' and '{token}' share the id {id}.", nameof(vocabulary));
        return tokens;
    }
}
