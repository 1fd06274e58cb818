namespace Rlhf.Tokenizers;

/// <summary>Which of two texts becomes shorter when they are too long.</summary>
public enum TruncationStrategy
{
    /// <summary>Nothing is cut.</summary>
    None,

    /// <summary>The longer one first, until both have the same length.</summary>
    LongestFirst,

    /// <summary>The first; it is an error when that is not enough.</summary>
    OnlyFirst,

    /// <summary>The second; it is an error when that is not enough.</summary>
    OnlySecond,
}

/// <summary>Where tokens are cut off.</summary>
public enum TruncationSide
{
    /// <summary>At the end (the default).</summary>
    Right,

    /// <summary>At the beginning, as prompts want it.</summary>
    Left,
}

/// <summary>How far rows are filled up.</summary>
public enum PaddingStrategy
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>To the longest row.</summary>
    Longest,

    /// <summary>To <see cref="EncodingOptions.MaxLength"/>.</summary>
    MaxLength,
}

/// <summary>How texts become rows of ids: the arguments of transformers' tokenizers.</summary>
public sealed record EncodingOptions
{
    /// <summary>Put the special tokens around texts; default true.</summary>
    public bool AddSpecialTokens { get; init; } = true;

    /// <summary>Most ids of a row, special tokens included; <see cref="int.MaxValue"/> (the default) is no limit.</summary>
    public int MaxLength { get; init; } = int.MaxValue;

    /// <summary>What is cut; default <see cref="TruncationStrategy.LongestFirst"/>.</summary>
    public TruncationStrategy Truncation { get; init; } = TruncationStrategy.LongestFirst;

    /// <summary>Where it is cut; default right.</summary>
    public TruncationSide TruncationSide { get; init; }

    /// <summary>How far rows are filled up; default not at all.</summary>
    public PaddingStrategy Padding { get; init; }

    /// <summary>Where padding goes; null (the default) is the tokenizer's own side.</summary>
    public PaddingSide? PaddingSide { get; init; }

    /// <summary>Filled rows have a multiple of this many ids; default 1.</summary>
    public int PadToMultipleOf { get; init; } = 1;

    /// <summary>Id that fills up; null (the default) is the tokenizer's padding token, else its end token.</summary>
    public int? PadTokenId { get; init; }
}

/// <summary>One or two texts as ids.</summary>
/// <param name="InputIds">Token ids, special tokens included.</param>
/// <param name="TokenTypeIds">Which text each belongs to, as the tokenizer's template says.</param>
public sealed record TextEncoding(int[] InputIds, int[] TokenTypeIds);
