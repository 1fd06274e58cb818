using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;

namespace Rlhf.Tokenizers;

/// <summary>
/// Byte-level byte-pair encoding as GPT-2 and RoBERTa use it. Any text is encoded without loss; a lone surrogate counts as
/// U+FFFD.
/// </summary>
/// <remarks>
/// Microsoft.ML.Tokenizers (2.0.1) is not used. Its CodeGenTokenizer adds CodeGen's own ids (50257 and up) for runs of spaces and
/// leaves &lt;|endoftext|&gt; out of decoded text. Its BpeTokenizer splits words by .NET regular expressions, which see a
/// character outside the basic plane as two symbols and not as the letter or number that it is.
/// </remarks>
public sealed class ByteLevelBpeTokenizer : PretrainedTokenizer
{
    private readonly IReadOnlyList<(string Left, string Right)> merges;
    private readonly MergeTable table;
    private readonly int[] byteIds = new int[256];
    private readonly int? unknownId;
    private readonly WordCache cache = new();

    /// <summary>Looked for once the others are found, as in the reference.</summary>
    private readonly AddedTokenMatcher normalizedTokens;

    /// <summary>A tokenizer from its parts.</summary>
    /// <param name="vocabulary">Tokens, spelt in the byte alphabet, and their ids.</param>
    /// <param name="merges">Pairs of tokens that are joined, the first ones first.</param>
    /// <param name="settings">Special tokens and the like.</param>
    /// <param name="addPrefixSpace">Text that does not begin with a space is read as if it did.</param>
    /// <param name="unknownToken">Stands for a byte that the vocabulary lacks; null (GPT-2) leaves such bytes out.</param>
    /// <exception cref="ArgumentException">
    /// A merge or the unknown token names a token that is not in the vocabulary, or ids clash.
    /// </exception>
    public ByteLevelBpeTokenizer(IReadOnlyDictionary<string, int> vocabulary, IReadOnlyList<(string Left, string Right)> merges,
        TokenizerSettings settings, bool addPrefixSpace = false, string? unknownToken = null)
        : base(vocabulary, settings)
    {
        this.merges = merges;
        AddPrefixSpace = addPrefixSpace;
        UnknownToken = unknownToken;
        unknownId = unknownToken is null ? null : Known(unknownToken, "unknown token");
        normalizedTokens = NormalizedTokens(text => text);
        table = new(merges.Count);
        for (int rank = 0; rank < merges.Count; rank++)
        {
            var (left, right) = merges[rank];
            var where = $"merge '{left} {right}'";
            table.Add(Known(left, where), Known(right, where), Known(left + right, where));
        }
        for (int b = 0; b < 256; b++)
            byteIds[b] = vocabulary.TryGetValue(ByteLevel.Symbol((byte)b).ToString(), out int id) ? id : unknownId ?? -1;
    }

    /// <summary>Text that does not begin with a space is read as if it did.</summary>
    public bool AddPrefixSpace { get; }

    /// <summary>Stands for a byte that the vocabulary lacks; null leaves such bytes out.</summary>
    public string? UnknownToken { get; }

    /// <inheritdoc/>
    public override bool SplitsAtSpaces => true;

    private protected override void EncodeText(ReadOnlySpan<char> text, List<int> ids, TextPlace place)
    {
        for (int at = 0; at < text.Length;)
        {
            var token = normalizedTokens.Next(text, at, out int start, out int end);
            if (start > at)
                EncodeWords(text[at..start], ids, at == 0 ? place : TextPlace.Inside);
            if (token is not null)
                ids.Add(token.Id);
            at = end;
        }
    }

    private void EncodeWords(ReadOnlySpan<char> text, List<int> ids, TextPlace place)
    {
        if (AddPrefixSpace && place != TextPlace.Continuation && text[0] != ' ')
            text = string.Concat(" ", text);
        for (int at = 0; at < text.Length;)
        {
            int end = ByteLevel.WordEnd(text, at);
            var word = text[at..end];
            if (!cache.TryAppend(word, ids))
            {
                int before = ids.Count;
                MergeWord(word, ids);
                cache.Remember(word, CollectionsMarshal.AsSpan(ids)[before..]);
            }
            at = end;
        }
    }

    private void MergeWord(ReadOnlySpan<char> word, List<int> ids)
    {
        int capacity = Encoding.UTF8.GetMaxByteCount(word.Length);
        byte[]? rentedBytes = null;
        int[]? rentedSymbols = null;
        Span<byte> bytes = capacity <= 256 ? stackalloc byte[256] : rentedBytes = ArrayPool<byte>.Shared.Rent(capacity);
        int count = Encoding.UTF8.GetBytes(word, bytes);
        Span<int> symbols = count <= 256 ? stackalloc int[256] : rentedSymbols = ArrayPool<int>.Shared.Rent(count);
        int length = 0;
        foreach (byte b in bytes[..count])
            if (byteIds[b] >= 0)
                symbols[length++] = byteIds[b];
        ids.AddRange(symbols[..table.Apply(symbols[..length])]);
        if (rentedBytes is not null)
            ArrayPool<byte>.Shared.Return(rentedBytes);
        if (rentedSymbols is not null)
            ArrayPool<int>.Shared.Return(rentedSymbols);
    }

    private protected override string Join(List<string> pieces, bool continues)
    {
        var bytes = new List<byte>(pieces.Count * 5);
        foreach (var piece in pieces)
            ByteLevel.AppendBytes(piece, bytes);
        return Encoding.UTF8.GetString(CollectionsMarshal.AsSpan(bytes));
    }

    private protected override void SaveVocabulary(string folder)
    {
        TokenizerFiles.WriteJson(Path.Combine(folder, "vocab.json"), TokenizerJson.Vocabulary(ModelVocabulary), indented: false);
        TokenizerFiles.WriteText(Path.Combine(folder, "merges.txt"),
            merges.Select(m => $"{m.Left} {m.Right}").Prepend("#version: 0.2"));
    }

    internal override JsonObject? AlgorithmJson() => new()
    {
        ["normalizer"] = null,
        ["pre_tokenizer"] = Step(AddPrefixSpace),
        ["decoder"] = Step(true),
        ["model"] = new JsonObject
        {
            ["type"] = "BPE",
            ["dropout"] = null,
            ["unk_token"] = UnknownToken,
            ["continuing_subword_prefix"] = "",
            ["end_of_word_suffix"] = "",
            ["fuse_unk"] = false,
            ["byte_fallback"] = false,
            ["vocab"] = TokenizerJson.Vocabulary(ModelVocabulary),
            ["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)$"{m.Left} {m.Right}")]),
        },
    };

    internal override IEnumerable<(string Name, JsonNode? Value)> AlgorithmConfiguration() =>
        [("add_prefix_space", AddPrefixSpace)];

    private static JsonObject Step(bool addPrefixSpace) => new()
    {
        ["type"] = "ByteLevel",
        ["add_prefix_space"] = addPrefixSpace,
        ["trim_offsets"] = true,
        ["use_regex"] = true,
    };

    private int Known(string token, string where) => ModelVocabulary.TryGetValue(token, out int id) ? id
        : throw new ArgumentException($"The {where} needs the token '{token}', which is not in the vocabulary.");
}
