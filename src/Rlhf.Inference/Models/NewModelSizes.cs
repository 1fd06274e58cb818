namespace Rlhf.Models;

/// <summary>What somebody wants of a new model; null takes what is usual for its family.</summary>
public sealed record NewModelSizes
{
    /// <summary>Number of token ids.</summary>
    public int? VocabSize { get; init; }

    /// <summary>Number of layers.</summary>
    public int? Layers { get; init; }

    /// <summary>Width of hidden states.</summary>
    public int? HiddenSize { get; init; }

    /// <summary>Attention heads.</summary>
    public int? Heads { get; init; }

    /// <summary>Heads of keys and values, where queries share them; null: as many as <see cref="Heads"/>.</summary>
    public int? KeyValueHeads { get; init; }

    /// <summary>Width inside the feed-forward layers.</summary>
    public int? IntermediateSize { get; init; }

    /// <summary>Longest row in tokens.</summary>
    public int? MaxPositions { get; init; }

    /// <summary>Dropout while training.</summary>
    public double? Dropout { get; init; }

    /// <summary>Begin-of-sequence token.</summary>
    public int? BosTokenId { get; init; }

    /// <summary>End-of-sequence token.</summary>
    public int? EosTokenId { get; init; }

    /// <summary>Padding token.</summary>
    public int? PadTokenId { get; init; }

    /// <summary>Label names, for a classifier.</summary>
    public IReadOnlyList<string>? Labels { get; init; }
}
