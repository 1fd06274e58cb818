namespace Rlhf.Tokenizers;

/// <summary>Text to token ids and back, with the special tokens of a model folder.</summary>
/// <remarks>Implementations are immutable and safe to use from several threads.</remarks>
public interface ITokenizer
{
    /// <summary>Number of token ids, special and added tokens included.</summary>
    int VocabSize { get; }

    /// <summary>
    /// Longest input of the model in tokens (<c>model_max_length</c>); <see cref="int.MaxValue"/> when the folder does not say.
    /// </summary>
    int ModelMaxLength { get; }

    /// <summary>Id of the beginning-of-sequence token, or null.</summary>
    int? BosTokenId { get; }

    /// <summary>Id of the end-of-sequence token, or null.</summary>
    int? EosTokenId { get; }

    /// <summary>Id of the padding token, or null (GPT-2 has none; the lesson uses its end token).</summary>
    int? PadTokenId { get; }

    /// <summary>Id of the token that stands for unknown text, or null.</summary>
    int? UnkTokenId { get; }

    /// <summary>Id of the classification token that begins an encoder's input ([CLS], &lt;s&gt;), or null.</summary>
    int? ClsTokenId { get; }

    /// <summary>Id of the separator that ends an encoder's input ([SEP], &lt;/s&gt;), or null.</summary>
    int? SepTokenId { get; }

    /// <summary>
    /// Ids that the model expects around a text, which <see cref="Encode"/> adds: [CLS] … [SEP] for BERT, BOS for Llama, none
    /// (<see cref="SequenceTemplate.None"/>) for GPT-2.
    /// </summary>
    SequenceTemplate Template { get; }

    /// <summary>
    /// Words are cut at a single space between two letters, whatever stands there: the tokens of a text's beginning up to such a place
    /// are the first tokens of the whole text, and long texts need not be read whole. The default is false, which is always right.
    /// </summary>
    bool SplitsAtSpaces => false;

    /// <summary>
    /// Token ids of a text. With <paramref name="addSpecialTokens"/>, what the model expects around it ([CLS] … [SEP] for BERT,
    /// nothing for GPT-2).
    /// </summary>
    int[] Encode(string text, bool addSpecialTokens = true);

    /// <summary>
    /// Token ids of a text that continues another one: no special tokens, and none of what some tokenizers put before the beginning of a
    /// text (Llama 2's first space). The default is <see cref="Encode"/> without special tokens.
    /// </summary>
    int[] EncodeContinuation(string text) => Encode(text, addSpecialTokens: false);

    /// <summary>
    /// Token ids of a text and its pair, as sequence classifiers read two texts, cut to <paramref name="maxLength"/> by
    /// shortening the longer one first. An empty pair is no pair.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxLength"/> has no room for the special tokens.</exception>
    int[] EncodePair(string text, string pair, int maxLength = int.MaxValue);

    /// <summary>
    /// Token ids with special tokens, cut on the right to at most <paramref name="maxLength"/> ids; the closing special token
    /// stays.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxLength"/> has no room for the special tokens.</exception>
    int[] EncodeTruncated(string text, int maxLength);

    /// <summary>The text of token ids. What is no valid UTF-8 becomes U+FFFD, as in Hugging Face's decoder.</summary>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false);

    /// <summary>
    /// The text of token ids that continue others, so that the texts of both can be joined: a space at the beginning stays, where
    /// <see cref="Decode"/> of some tokenizers (Llama 2's) removes it. The default is <see cref="Decode"/>.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    string DecodeContinuation(IEnumerable<int> ids, bool skipSpecialTokens = false) => Decode(ids, skipSpecialTokens);

    /// <summary>The token of an id, as the vocabulary spells it.</summary>
    string IdToToken(int id);

    /// <summary>The id of a token as the vocabulary spells it, or null.</summary>
    int? TokenToId(string token);

    /// <summary>
    /// Writes the tokenizer files that transformers opens (vocabulary, tokenizer.json, tokenizer_config.json,
    /// special_tokens_map.json).
    /// </summary>
    void SavePretrained(string folder);
}
