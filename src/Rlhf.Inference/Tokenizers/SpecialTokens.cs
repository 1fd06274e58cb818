namespace Rlhf.Tokenizers;

/// <summary>The texts of the tokens with a role; null where the tokenizer has none.</summary>
public sealed record SpecialTokens
{
    /// <summary>Begins a sequence.</summary>
    public string? Bos { get; init; }

    /// <summary>Ends a sequence.</summary>
    public string? Eos { get; init; }

    /// <summary>Stands for unknown text.</summary>
    public string? Unk { get; init; }

    /// <summary>Separates two texts.</summary>
    public string? Sep { get; init; }

    /// <summary>Fills rows up.</summary>
    public string? Pad { get; init; }

    /// <summary>Begins an encoder's input.</summary>
    public string? Cls { get; init; }

    /// <summary>Stands for a hidden token.</summary>
    public string? Mask { get; init; }

    /// <summary>Further special tokens without a role.</summary>
    public IReadOnlyList<string> Additional { get; init; } = [];

    /// <summary>GPT-2's: one token for everything.</summary>
    public static SpecialTokens Gpt2 { get; } = new() { Bos = "<|endoftext|>", Eos = "<|endoftext|>", Unk = "<|endoftext|>" };

    /// <summary>RoBERTa's.</summary>
    public static SpecialTokens Roberta { get; } =
        new() { Bos = "<s>", Eos = "</s>", Unk = "<unk>", Sep = "</s>", Pad = "<pad>", Cls = "<s>", Mask = "<mask>" };

    /// <summary>BERT's and DistilBERT's.</summary>
    public static SpecialTokens Bert { get; } =
        new() { Unk = "[UNK]", Sep = "[SEP]", Pad = "[PAD]", Cls = "[CLS]", Mask = "[MASK]" };

    /// <summary>Role names as Hugging Face's files spell them, with the tokens that are set.</summary>
    internal IEnumerable<(string Role, string Token)> Named() =>
        new (string Role, string? Token)[]
        {
            ("bos_token", Bos), ("eos_token", Eos), ("unk_token", Unk), ("sep_token", Sep),
            ("pad_token", Pad), ("cls_token", Cls), ("mask_token", Mask),
        }.Where(x => x.Token is not null).Select(x => (x.Role, x.Token!));

    /// <summary>The same with one role changed; a role that does not exist is ignored.</summary>
    internal SpecialTokens With(string role, string? token) => role switch
    {
        "bos_token" => this with { Bos = token },
        "eos_token" => this with { Eos = token },
        "unk_token" => this with { Unk = token },
        "sep_token" => this with { Sep = token },
        "pad_token" => this with { Pad = token },
        "cls_token" => this with { Cls = token },
        "mask_token" => this with { Mask = token },
        _ => this,
    };
}

/// <summary>Ids that a model expects around one text and around two.</summary>
/// <param name="Before">Before one text.</param>
/// <param name="After">After one text.</param>
/// <param name="PairBefore">Before the first of two texts.</param>
/// <param name="PairBetween">Between them.</param>
/// <param name="PairAfter">After the second.</param>
public sealed record SequenceTemplate(
    IReadOnlyList<int> Before, IReadOnlyList<int> After,
    IReadOnlyList<int> PairBefore, IReadOnlyList<int> PairBetween, IReadOnlyList<int> PairAfter)
{
    /// <summary>Nothing is added (GPT-2).</summary>
    public static SequenceTemplate None { get; } = new([], [], [], [], []);

    /// <summary>[CLS] A [SEP], and [CLS] A [SEP] B [SEP].</summary>
    public static SequenceTemplate Bert(int cls, int sep) => new([cls], [sep], [cls], [sep], [sep]);

    /// <summary>&lt;s&gt; A &lt;/s&gt;, and &lt;s&gt; A &lt;/s&gt;&lt;/s&gt; B &lt;/s&gt;.</summary>
    public static SequenceTemplate Roberta(int bos, int eos) => new([bos], [eos], [bos], [eos, eos], [eos]);

    /// <summary>Ids added to one text.</summary>
    public int SingleCount => Before.Count + After.Count;

    /// <summary>Ids added to two texts.</summary>
    public int PairCount => PairBefore.Count + PairBetween.Count + PairAfter.Count;

    /// <summary>All ids that occur.</summary>
    internal IEnumerable<int> Ids => Before.Concat(After).Concat(PairBefore).Concat(PairBetween).Concat(PairAfter);

    /// <summary>
    /// Token types of what stands around one text and of the text itself, in their order; null is 0 everywhere.
    /// </summary>
    internal IReadOnlyList<int>? SingleTypes { get; init; }

    /// <summary>The same of two texts; null is 1 from the second text on where <see cref="MarksSecondText"/>, else 0.</summary>
    internal IReadOnlyList<int>? PairTypes { get; init; }

    /// <summary>BERT's token types mark the second text with 1; RoBERTa's template gives it 0 everywhere.</summary>
    public bool MarksSecondText { get; init; } = true;
}

/// <summary>Where padding goes.</summary>
public enum PaddingSide
{
    /// <summary>Behind the text (the default).</summary>
    Right,

    /// <summary>Before the text, as batched generation wants it.</summary>
    Left,
}

/// <summary>What a tokenizer has besides its vocabulary and its algorithm.</summary>
public sealed record TokenizerSettings
{
    /// <summary>Tokens with a role.</summary>
    public SpecialTokens SpecialTokens { get; init; } = new();

    /// <summary>Tokens that are recognized in text; default none.</summary>
    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    /// <summary>What is put around a text; default nothing.</summary>
    public SequenceTemplate Template { get; init; } = SequenceTemplate.None;

    /// <summary>Longest input of the model in tokens; <see cref="int.MaxValue"/> (the default) is no limit.</summary>
    public int ModelMaxLength { get; init; } = int.MaxValue;

    /// <summary>Where padding goes; default right.</summary>
    public PaddingSide PaddingSide { get; init; }

    /// <summary>Class that transformers opens the files with, for example <c>GPT2Tokenizer</c>.</summary>
    public string TokenizerClass { get; init; } = "PreTrainedTokenizerFast";

    /// <summary>
    /// Further entries of tokenizer_config.json that are kept when saving (chat templates and the like), as JSON text; null is
    /// none.
    /// </summary>
    public string? FurtherConfiguration { get; init; }
}
