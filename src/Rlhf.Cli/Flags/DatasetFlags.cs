using System.ComponentModel;
using System.Globalization;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Data;
using Rlhf.Runtime;

namespace Rlhf.Cli.Flags;

/// <summary>Texts to work on.</summary>
internal sealed record DatasetFlags
{
    [Description("Texts: a parquet, CSV, JSONL or text file, a folder of them, aclImdb/ or its tar.gz, or the Hub's org/name.")]
    [ValueName("PATH|ORG/NAME")]
    [DataInput]
    public string? Dataset { get; init; }

    [Description("Split of a data set that has several; unset: train.")]
    [ValueName("NAME")]
    public string? Split { get; init; }

    [Description("Subset (configuration) of a data set of the Hub that has several.")]
    [ValueName("NAME")]
    public string? Subset { get; init; }

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

    [Description("Use part K of N of the texts only: 1/2 and 2/2 are halves that share no text.")]
    [ValueName("K/N")]
    public string? Part { get; init; }

    public IEnumerable<string> Validate()
    {
        if (LongerThan < 0) yield return $"LongerThan is {LongerThan}; it must be 0 or more, or left out.";
        if (MaxTexts < 1) yield return $"MaxTexts is {MaxTexts}; it must be at least 1, or left out.";
        if (Part is not null && (ReadPart() is not { } part || part.Number < 1 || part.Number > part.Count))
            yield return $"Part is '{Part}'; write 1/2 for the first of two parts.";
    }

    private (int Number, int Count)? ReadPart() => Part?.Split('/') is [var k, var n]
        && int.TryParse(k, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
        && int.TryParse(n, NumberStyles.None, CultureInfo.InvariantCulture, out int count) ? (number, count) : null;

    /// <summary>What a verb says that cannot do without --dataset.</summary>
    public const string Missing = "--dataset is missing; name a file or folder of texts.";

    /// <summary>The problem of a verb that cannot do without --dataset.</summary>
    public static IEnumerable<string> Needed(BoundSettings settings) => settings.Get<DatasetFlags>().Dataset is null ? [Missing] : [];

    /// <summary>Where the texts lie, and the split of what lies there; brings a data set of the Hub.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="path">Other data than --dataset, from --eval-dataset.</param>
    /// <param name="split">Another split than --split.</param>
    public (string Path, string? Split) Locate(VerbContext context, string? path = null, string? split = null) =>
        HubFiles.Dataset(context, path is null ? "--dataset" : "--eval-dataset", path ?? Dataset
            ?? throw new ConfigurationException([Missing]), split ?? Split, Subset);

    /// <summary>The texts in an order drawn from the seed.</summary>
    public IReadOnlyList<Review> Load(
        VerbContext context, long seed, string? path = null, string? split = null, int? limit = null)
    {
        var (source, chosen) = Locate(context, path, split);
        var reviews = ReviewDataset.Load(source, new ReviewReadOptions
        {
            Split = chosen,
            TextColumn = TextColumn,
            LabelColumn = LabelColumn,
            LongerThan = LongerThan,
            LineBreaks = LineBreaks,
            Limit = limit ?? MaxTexts,
            // Other data, to evaluate on, is taken whole.
            Part = path is null && split is null ? ReadPart() : null,
            ShuffleSeed = seed,
        });
        return reviews.Count > 0 ? reviews : throw new InvalidDataException($"{source} holds no text"
            + (LongerThan is { } bound ? $" of more than {bound} characters; lower --longer-than." : "."));
    }
}
