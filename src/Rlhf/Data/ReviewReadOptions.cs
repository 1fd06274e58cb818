namespace Rlhf.Data;

/// <summary>What becomes of the HTML line breaks (<c>&lt;br /&gt;</c>) that IMDB's reviews contain.</summary>
public enum HtmlLineBreaks
{
    /// <summary>They stay in the text, as in TRL's lesson.</summary>
    Keep,

    /// <summary>Each becomes a line feed.</summary>
    Newline,

    /// <summary>A run of them becomes one space.</summary>
    Space,
}

/// <summary>Which rows and columns <see cref="ReviewDataset"/> reads, and how.</summary>
public sealed record ReviewReadOptions
{
    /// <summary>Column of the text; null: <c>text</c>, else <c>review</c>.</summary>
    public string? TextColumn { get; init; }

    /// <summary>Column of the label; null: <c>label</c>, else <c>sentiment</c>, else reviews have no label. A named column must exist.</summary>
    public string? LabelColumn { get; init; }

    /// <summary>
    /// Which split of a source that has several: <c>train</c>, <c>test</c>, <c>unsupervised</c> or any other that file names begin with.
    /// Null: <c>train</c> where the source has it, and everything where files name no split.
    /// </summary>
    public string? Split { get; init; }

    /// <summary>Keep only texts with more than this many characters (code points, as Python counts); the lesson uses 200. Null: all.</summary>
    public int? LongerThan { get; init; }

    /// <summary>Keep only reviews for which this is true. Null: all.</summary>
    public Func<Review, bool>? Filter { get; init; }

    /// <summary>
    /// Order the kept reviews by this seed before <see cref="Limit"/> is applied. IMDB's files list all negative reviews first, so a limit
    /// without it yields one class only. Null: the order of the source.
    /// </summary>
    public long? ShuffleSeed { get; init; }

    /// <summary>At most this many reviews, counted after all filters. Null: all.</summary>
    public int? Limit { get; init; }

    /// <summary>What becomes of <c>&lt;br /&gt;</c>; kept by default. Applied before the filters.</summary>
    public HtmlLineBreaks LineBreaks { get; init; }

    /// <summary>Longest text accepted, in characters or, for members of an archive, bytes; a longer one is refused. Default 16 Mi.</summary>
    public int MaxTextLength { get; init; } = 16 << 20;

    /// <summary>How much an archive may unpack to, in bytes; more is refused. Default 4 GiB.</summary>
    public long MaxArchiveBytes { get; init; } = 4L << 30;

    internal void Validate()
    {
        if (LongerThan < 0 || Limit < 0 || MaxTextLength < 1 || MaxArchiveBytes < 1)
            throw new ArgumentException(
                "LongerThan and Limit must not be negative, and MaxTextLength and MaxArchiveBytes must be positive: "
                + $"they are {LongerThan?.ToString() ?? "null"}, {Limit?.ToString() ?? "null"}, {MaxTextLength} and {MaxArchiveBytes}.");
    }
}
