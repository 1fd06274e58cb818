using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Rlhf.Runtime;

namespace Rlhf.Data;

/// <summary>Reads labelled reviews from the forms in which they are found.</summary>
/// <remarks>
/// A path is a parquet file; a folder or a pattern (<c>data/train-*.parquet</c>) of them. Labels are class numbers (-1: none), booleans or
/// the words positive and negative.
/// </remarks>
public static partial class ReviewDataset
{
    /// <summary>All reviews of a source, in its order unless <see cref="ReviewReadOptions.ShuffleSeed"/> is set.</summary>
    /// <exception cref="FileNotFoundException">There is nothing at the path.</exception>
    /// <exception cref="InvalidDataException">Content that cannot be used; the message names the file and the line or row.</exception>
    /// <exception cref="ArgumentException">Options that cannot be met, such as a split that the source does not have.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static IReadOnlyList<Review> Load(string path, ReviewReadOptions? options = null) => [.. Stream(path, options)];

    /// <summary>
    /// As <see cref="Load"/>, one review at a time: a parquet file's memory is one row group, other forms' one row. With a shuffle seed all
    /// kept reviews are held. Exceptions come while enumerating.
    /// </summary>
    public static IEnumerable<Review> Stream(string path, ReviewReadOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new ReviewReadOptions();
        options.Validate();
        var kept = Read(path, options).Select(review => WithLineBreaks(review, options.LineBreaks)).Where(review => Keeps(review, options));
        if (options.ShuffleSeed is { } seed)
            kept = Shuffled(kept, seed);
        return options.Limit is { } limit ? kept.Take(limit) : kept;
    }

    private static IEnumerable<Review> Read(string path, ReviewReadOptions options)
    {
        TableColumn[] columns =
        [
            TableColumn.Of("text", options.TextColumn, required: true, "text", "review"),
            TableColumn.Of("label", options.LabelColumn, required: false, "label", "sentiment"),
        ];
        return DataFiles.Find(path, options.Split)
            .SelectMany(file => ParquetTable.Read(file, columns))
            .Select(row => new Review(row.Text(0, "text", options.MaxTextLength), Label(row, 1)));
    }

    private static int? Label(TableRow row, int column) => row.Cells[column] switch
    {
        null or -1L or -1.0 => null,
        long number and >= 0 and <= int.MaxValue => (int)number,
        double number and >= 0 and <= int.MaxValue when number == Math.Floor(number) => (int)number,
        bool positive => positive ? 1 : 0,
        string word => Label(row, word.Trim()),
        var other => throw row.Error($"the label {Convert.ToString(other, CultureInfo.InvariantCulture)} is not a class number (0, 1, ..., or -1 for none)."),
    };

    private static int? Label(TableRow row, string word) => word.ToLowerInvariant() switch
    {
        "" or "-1" or "unsup" => null,
        "negative" or "neg" or "false" => 0,
        "positive" or "pos" or "true" => 1,
        _ when int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out int number) => number,
        _ => throw row.Error($"the label \"{(word.Length > 40 ? word[..40] + "..." : word)}\" is neither a class number nor positive or negative; "
            + "correct it or choose another label column."),
    };

    private static Review WithLineBreaks(Review review, HtmlLineBreaks breaks) => breaks switch
    {
        HtmlLineBreaks.Newline => review with { Text = LineBreak().Replace(review.Text, "\n") },
        HtmlLineBreaks.Space => review with { Text = LineBreakRun().Replace(review.Text, " ") },
        _ => review,
    };

    private static bool Keeps(Review review, ReviewReadOptions options) =>
        (options.LongerThan is not { } bound || IsLongerThan(review.Text, bound)) && (options.Filter?.Invoke(review) ?? true);

    /// <summary>Whether a text has more code points than a bound; most texts are decided by their UTF-16 length alone.</summary>
    internal static bool IsLongerThan(string text, int bound) =>
        text.Length > bound && (text.Length / 2 > bound || text.EnumerateRunes().Skip(bound).Any());

    private static IEnumerable<Review> Shuffled(IEnumerable<Review> reviews, long seed)
    {
        var all = reviews.ToArray();
        foreach (int index in new RandomStream(seed, "data/reviews").NextPermutation(all.Length))
            yield return all[index];
    }

    [GeneratedRegex(@"<br\s*/?>", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex LineBreak();

    [GeneratedRegex(@"\s*(?:<br\s*/?>\s*)+", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex LineBreakRun();
}
