using System.ComponentModel;
using Rlhf.Cli.Settings;
using Rlhf.Data;
using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary>Texts to work on.</summary>
internal sealed record DatasetOptions
{
    [Description("Texts: a parquet, CSV, JSONL or text file, a folder of them, aclImdb/ or its tar.gz.")]
    [ValueName("PATH")]
    public string? Dataset { get; init; }

    [Description("Split of a data set that has several; unset: train.")]
    [ValueName("NAME")]
    public string? Split { get; init; }

    [Description("Column of the text; unset: text, else review.")]
    [ValueName("NAME")]
    public string? TextColumn { get; init; }

    [Description("Column of the label; unset: label, else sentiment.")]
    [ValueName("NAME")]
    public string? LabelColumn { get; init; }

    [Description("Keep only texts of more than so many characters; unset: 200 for queries of PPO, as in the lesson, else all.")]
    public int? LongerThan { get; init; }

    [Description("HTML line breaks in the texts.")]
    public HtmlLineBreaks LineBreaks { get; init; } = HtmlLineBreaks.Keep;

    [Description("Use at most so many texts, drawn at random.")]
    public int? MaxTexts { get; init; }

    public IEnumerable<string> Validate()
    {
        if (LongerThan < 0) yield return $"LongerThan is {LongerThan}; it must be 0 or more, or left out.";
        if (MaxTexts < 1) yield return $"MaxTexts is {MaxTexts}; it must be at least 1, or left out.";
    }

    /// <summary>Refuses a missing --dataset.</summary>
    /// <exception cref="ConfigurationException">It is missing.</exception>
    public string Required() =>
        Dataset ?? throw new ConfigurationException(["--dataset is missing; name a file or folder of texts."]);

    /// <summary>The texts in an order drawn from the seed.</summary>
    public IReadOnlyList<Review> Load(long seed, string? path = null, string? split = null, int? limit = null)
    {
        path ??= Required();
        var reviews = ReviewDataset.Load(path, new ReviewReadOptions
        {
            Split = split ?? Split,
            TextColumn = TextColumn,
            LabelColumn = LabelColumn,
            LongerThan = LongerThan,
            LineBreaks = LineBreaks,
            Limit = limit ?? MaxTexts,
            ShuffleSeed = seed,
        });
        return reviews.Count > 0 ? reviews : throw new InvalidDataException($"{path} holds no text"
            + (LongerThan is { } bound ? $" of more than {bound} characters; lower --longer-than." : "."));
    }
}
