using Rlhf.Data.Files;

namespace Rlhf.Data;

/// <summary>What becomes of the HTML line breaks (<c>&lt;br /&gt;</c>) that IMDB's reviews contain.</summary>
public enum HtmlLineBreaks
{
    /// <summary>They stay in the text, as in TRL's lesson.</summary>
    Keep,

    /// <summary>Each becomes a line feed.</summary>
    Newline,

    /// <summary>A run of them, with the white space around it, becomes one space.</summary>
    Space,
}

/// <summary>Which rows and columns <see cref="ReviewDataset"/> reads, and how.</summary>
public sealed record ReviewReadOptions : DataReadOptions
{
    /// <summary>Column of the text; null: <c>text</c>, else <c>review</c>.</summary>
    public string? TextColumn { get; init; }

    /// <summary>Column of the label; null: <c>label</c>, else <c>sentiment</c>, else reviews have no label.</summary>
    public string? LabelColumn { get; init; }

    /// <summary>Whether labels are read; without them, a label column may hold anything. Default true.</summary>
    public bool ReadsLabels { get; init; } = true;

    /// <summary>
    /// Names of the classes by number, such as a classifier's labels: a label column may hold these words (in any case) besides numbers. Null: numbers,
    /// and the words positive and negative.
    /// </summary>
    public IReadOnlyList<string>? LabelNames { get; init; }

    /// <summary>Keep only texts of more than this many characters (code points, as Python counts); the lesson: 200.</summary>
    public int? LongerThan { get; init; }

    /// <summary>Keep only reviews for which this is true. Null: all.</summary>
    public Func<Review, bool>? Filter { get; init; }

    /// <summary>What becomes of <c>&lt;br /&gt;</c>; kept by default. Applied before the filters.</summary>
    public HtmlLineBreaks LineBreaks { get; init; }

    /// <summary>How much an archive may unpack to, in bytes; more is an error. Default 4 GiB.</summary>
    public long MaxArchiveBytes { get; init; } = 4L << 30;

    private protected override IEnumerable<string> Problems()
    {
        foreach (var problem in base.Problems())
            yield return problem;
        if (LongerThan < 0)
            yield return $"LongerThan is {LongerThan}; it must be 0 or more, or null for all texts.";
        if (!ReadsLabels && LabelColumn is not null)
            yield return "LabelColumn is given, but no labels are read here; leave it out.";
        if (MaxArchiveBytes < 1)
            yield return $"MaxArchiveBytes is {MaxArchiveBytes}; it must be positive.";
    }
}
