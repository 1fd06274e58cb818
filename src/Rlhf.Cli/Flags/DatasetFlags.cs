using System.ComponentModel;
using System.Globalization;
using System.Text.Json.Nodes;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Data.Files;
using Rlhf.Reporting;
using Rlhf.Runtime;

namespace Rlhf.Cli.Flags;

/// <summary>Texts to work on.</summary>
internal sealed record DatasetFlags
{
    [Description("Texts: a parquet, CSV, JSONL or text file, a folder of them, aclImdb/ or its tar.gz, or the Hub's org/name.")]
    [ValueName("PATH|ORG/NAME")]
    [DataInput]
    [MayChange]
    public string? Dataset { get; init; }

    [Description("Split of a data set that has several; default: train.")]
    [ValueName("NAME")]
    public string? Split { get; init; }

    [Description("Subset (configuration) of a data set of the Hub that has several.")]
    [ValueName("NAME")]
    public string? Subset { get; init; }

    [Description("Column of the text; default: text, else review.")]
    [ValueName("NAME")]
    public string? TextColumn { get; init; }

    [Description("Column of the label; default: label, else sentiment.")]
    [ValueName("NAME")]
    public string? LabelColumn { get; init; }

    [Description("Keep only texts of more than this many characters; default: 200 for queries of PPO, as in the lesson, else all.")]
    public int? LongerThan { get; init; }

    [Description("HTML line breaks in the texts.")]
    public HtmlLineBreaks LineBreaks { get; init; } = HtmlLineBreaks.Keep;

    [Description("Use at most this many texts, drawn at random.")]
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
        Announced(context, HubFiles.Dataset(context, path is null ? "--dataset" : "--eval-dataset", path ?? Dataset
            ?? throw new ConfigurationException([Missing]), split ?? Split, Subset));

    /// <summary>Says which files are read where a path stands for several splits, or files are left out.</summary>
    internal static (string Path, string? Split) Announced(VerbContext context, (string Path, string? Split) located)
    {
        if (Directory.Exists(located.Path) ? AclImdb.FindRoot(located.Path) is null : !File.Exists(located.Path))
        {
            var selection = DataFiles.Select(located.Path, located.Split);
            string[] left = [.. selection.Splits.Where(split => split != selection.Split),
                .. selection.Others.Count > 0 ? [Numbers.Count(selection.Others.Count, "file") + " of no split"] : (string[])[]];
            if (selection.Split is not null && left.Length > 0)
                context.Screen.Line(Screen.Safe($"{located.Path}: split {selection.Split}, "
                    + $"{string.Join(", ", selection.Files.Take(3).Select(file => Path.GetRelativePath(RootOf(located.Path), file)))}"
                    + (selection.Files.Count > 3 ? $" and {selection.Files.Count - 3:N0} more" : "") + $"; not read: {string.Join(", ", left)}"));
        }
        return located;

        static string RootOf(string path) => Directory.Exists(path) ? path : Path.GetDirectoryName(path) is { Length: > 0 } parent ? parent : ".";
    }

    /// <summary>The texts in an order drawn from the seed.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="seed">Decides the order, and which texts are drawn.</param>
    /// <param name="path">Other data than --dataset, from --eval-dataset.</param>
    /// <param name="split">Another split than --split.</param>
    /// <param name="limit">Another bound than --max-texts.</param>
    /// <param name="labels">Names of the classes; null where labels are not used, and so not read.</param>
    public IReadOnlyList<Review> Load(
        VerbContext context, long seed, string? path = null, string? split = null, int? limit = null, IReadOnlyList<string>? labels = null)
    {
        var (source, chosen) = Locate(context, path, split);
        var reviews = ReviewDataset.Load(source, ReadOptions(chosen, limit, labels) with
        {
            // Other data, to evaluate on, is taken whole.
            Part = path is null && split is null ? ReadPart() : null,
            ShuffleSeed = seed,
        });
        return reviews.Count > 0 ? reviews : throw Empty(source);
    }

    /// <summary>The texts in the source's order with the other columns of a table, to write them again.</summary>
    public IReadOnlyList<(Review Review, IReadOnlyList<KeyValuePair<string, JsonNode?>>? Columns)> LoadRows(VerbContext context, long seed)
    {
        var (source, chosen) = Locate(context);
        (Review, IReadOnlyList<KeyValuePair<string, JsonNode?>>?)[] rows = [.. ReviewDataset.StreamRows(source, ReadOptions(chosen, null, null) with
        {
            Part = ReadPart(),
            ShuffleSeed = MaxTexts is null ? null : seed,
            InSourceOrder = true,
        }, keepsColumns: true)];
        return rows.Length > 0 ? rows : throw Empty(source);
    }

    private InvalidDataException Empty(string source) => new($"{source} holds no text"
        + (LongerThan is { } bound ? $" of more than {bound} characters; lower --longer-than." : "."));

    private ReviewReadOptions ReadOptions(string? split, int? limit, IReadOnlyList<string>? labels) => new()
    {
        Split = split,
        TextColumn = TextColumn,
        LabelColumn = LabelColumn,
        ReadsLabels = labels is not null,
        LabelNames = labels,
        LongerThan = LongerThan,
        LineBreaks = LineBreaks,
        Limit = limit ?? MaxTexts,
    };
}
