using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Rlhf.Data.Files;

namespace Rlhf.Data;

/// <summary>Reads labeled reviews from the forms in which they are found.</summary>
/// <remarks>
/// <para>A path is one of: a parquet, CSV, TSV, JSONL or plain text file (one text per line, blank lines left out); a pattern
/// such as
/// <c>data/train-*.parquet</c>; a folder of such files; IMDB's original folder <c>aclImdb/</c>; or its archive
/// <c>aclImdb_v1.tar.gz</c>, which is streamed without being unpacked to disk.</para>
/// <para>Labels are class numbers (-1 or empty: none), booleans, or the words positive and negative.</para>
/// </remarks>
public static partial class ReviewDataset
{
    /// <summary>The reviews of a source, in its order unless <see cref="DataReadOptions.ShuffleSeed"/> is set.</summary>
    /// <exception cref="FileNotFoundException">There is nothing at the path.</exception>
    /// <exception cref="InvalidDataException">Content that cannot be used; the message names the file and the line or
    /// row.</exception>
    /// <exception cref="ArgumentException">A choice that the source cannot meet, such as a split that it does not
    /// have.</exception>
    /// <exception cref="Runtime.ConfigurationException">Options without meaning, such as a negative limit.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static IReadOnlyList<Review> Load(string path, ReviewReadOptions? options = null) => [.. Stream(path, options)];

    /// <summary>
    /// As <see cref="Load"/>, one review at a time: a parquet file takes the memory of one row group, every other form that of
    /// one row, unless a shuffle seed asks for all of them. Errors in the content come while enumerating.
    /// </summary>
    /// <inheritdoc cref="Load"/>
    public static IEnumerable<Review> Stream(string path, ReviewReadOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new ReviewReadOptions();
        return StreamRows(path, options, keepsColumns: false).Select(row => row.Review);
    }

    /// <summary>The same, with the other columns of a table in its order where they are to be kept.</summary>
    internal static IEnumerable<(Review Review, IReadOnlyList<KeyValuePair<string, JsonNode?>>? Columns)> StreamRows(
        string path, ReviewReadOptions options, bool keepsColumns)
    {
        options.Validate();
        return options.Take(Read(path, options, keepsColumns)
            .Select(row => (WithLineBreaks(row.Review, options.LineBreaks), row.Columns)).Where(row => Keeps(row.Item1, options)));
    }

    /// <summary>Whether a text has more code points than a bound; most are decided by their UTF-16 length alone.</summary>
    internal static bool IsLongerThan(string text, int bound) =>
        text.Length > bound && (text.Length / 2 > bound || text.EnumerateRunes().Skip(bound).Any());

    private static IEnumerable<(Review Review, IReadOnlyList<KeyValuePair<string, JsonNode?>>? Columns)> Read(
        string path, ReviewReadOptions options, bool keepsColumns)
    {
        bool isArchive = AclImdb.IsArchive(path) && File.Exists(path);
        var root = Directory.Exists(path) ? AclImdb.FindRoot(path) : null;
        if ((isArchive || root is not null) && (options.TextColumn ?? options.LabelColumn) is { } column)
            throw new ArgumentException(
                $"{path} has no columns, so \"{column}\" cannot be read: labels come from the folders' names.");
        return isArchive ? Plain(AclImdb.ReadArchive(path, options))
            : root is not null ? Plain(AclImdb.ReadFolder(root, options))
            : ReadTables(DataFiles.Find(path, options.Split), options, keepsColumns);

        static IEnumerable<(Review, IReadOnlyList<KeyValuePair<string, JsonNode?>>?)> Plain(IEnumerable<Review> reviews) =>
            reviews.Select(review => (review, (IReadOnlyList<KeyValuePair<string, JsonNode?>>?)null));
    }

    private static IEnumerable<(Review Review, IReadOnlyList<KeyValuePair<string, JsonNode?>>? Columns)> ReadTables(
        IReadOnlyList<string> files, ReviewReadOptions options, bool keepsColumns)
    {
        TableColumn[] columns =
        [
            TableColumn.Of("text", options.TextColumn, required: true, "text", "review") with { Setting = nameof(options.TextColumn) },
            .. options.ReadsLabels ? [TableColumn.Of("label", options.LabelColumn, required: false, "label", "sentiment")
                with { Setting = nameof(options.LabelColumn) }] : (TableColumn[])[],
        ];
        return TableFile.Read(files, columns, options.MaxTextLength, keepsColumns ? OtherColumns.All : OtherColumns.None).Select(row => (new Review(row.Text(0, "text", options.MaxTextLength),
            options.ReadsLabels ? Label(row, row.Cells[1], options.LabelNames) : null), row.Others));
    }

    private static int? Label(TableRow row, object? cell, IReadOnlyList<string>? names) => cell switch
    {
        null or -1L or -1.0 => null,
        long number and >= 0 and <= int.MaxValue => (int)number,
        double number and >= 0 and <= int.MaxValue when number == Math.Floor(number) => (int)number,
        bool positive => positive ? 1 : 0,
        string word => LabelOfWord(row, word.Trim(), names),
        _ => throw BadLabel(row, Convert.ToString(cell, CultureInfo.InvariantCulture)!, names),
    };

    private static int? LabelOfWord(TableRow row, string word, IReadOnlyList<string>? names) =>
        names?.Index().FirstOrDefault(name => name.Item.Equals(word, StringComparison.OrdinalIgnoreCase)) is { Item: not null } named
            ? named.Index : LabelOfUsualWord(row, word, names);

    private static int? LabelOfUsualWord(TableRow row, string word, IReadOnlyList<string>? names) => word.ToLowerInvariant() switch
    {
        "" or "-1" or "unsup" => null,
        // Where classes have names, only these tell their numbers.
        "negative" or "neg" or "false" when IsUsual(names, 0) => 0,
        "positive" or "pos" or "true" when IsUsual(names, 1) => 1,
        _ when int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out int number) => number,
        _ => throw BadLabel(row, word, names),
    };

    /// <summary>Whether class 0 is the negative one and class 1 the positive one, as far as names tell.</summary>
    private static bool IsUsual(IReadOnlyList<string>? names, int label) => names is null
        || names.Count == 2 && (names[label].StartsWith(label == 0 ? "neg" : "pos", StringComparison.OrdinalIgnoreCase)
            || names[label].Equals($"LABEL_{label}", StringComparison.OrdinalIgnoreCase) || names[label] == (label == 0 ? "0" : "1"));

    private static InvalidDataException BadLabel(TableRow row, string value, IReadOnlyList<string>? names) => row.Error(
        $"the label \"{(value.Length > 40 ? value[..40] + "..." : value)}\" is neither a class number (0, 1, ...; "
        + $"-1: none) nor {(names is null ? "positive or negative" : "one of " + string.Join(", ", names.Take(12)))}; correct it, or choose another "
        + "column with LabelColumn.");

    private static Review WithLineBreaks(Review review, HtmlLineBreaks breaks) => breaks switch
    {
        HtmlLineBreaks.Newline => review with { Text = LineBreak().Replace(review.Text, "\n") },
        HtmlLineBreaks.Space => review with { Text = LineBreakRun().Replace(review.Text, " ") },
        _ => review,
    };

    private static bool Keeps(Review review, ReviewReadOptions options) =>
        (options.LongerThan is not { } bound || IsLongerThan(review.Text, bound)) && (options.Filter?.Invoke(review) ?? true);

    [GeneratedRegex(@"<br\s*/?>", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex LineBreak();

    [GeneratedRegex(@"(?<!\s)\s*(?:<br\s*/?>\s*)+", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex LineBreakRun();
}
