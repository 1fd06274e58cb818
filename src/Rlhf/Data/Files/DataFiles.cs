using System.Text.RegularExpressions;

namespace Rlhf.Data.Files;

/// <summary>The files that are read for a split, and what else is there.</summary>
/// <param name="Files">The files, in ordinal order of their paths.</param>
/// <param name="Split">The split that they are; null where nothing names a split.</param>
/// <param name="Splits">All splits that names tell apart.</param>
/// <param name="Others">Files of the same kind that belong to no split and are left out.</param>
internal sealed record DataSelection(
    IReadOnlyList<string> Files, string? Split, IReadOnlyList<string> Splits, IReadOnlyList<string> Others);

/// <summary>Finds the files that a path stands for: a file, a pattern, or a folder, with the split that names of files and folders tell.</summary>
/// <remarks>
/// Splits are known as the datasets library knows them (DataFilesPatterns): shards <c>data/NAME-00000-of-00005</c>, else folders that are
/// called by a keyword, else files with a keyword between separators. The first of these ways that knows any split is taken, so that a
/// file which belongs to none is left out rather than mixed in.
/// </remarks>
internal static partial class DataFiles
{
    /// <summary>Kinds of table files, the richest first: a folder is read as the first kind it has.</summary>
    private static readonly string[][] Kinds =
    [
        [".parquet"],
        [".jsonl", ".ndjson", ".csv", ".tsv", ".jsonl.gz", ".ndjson.gz", ".csv.gz", ".tsv.gz"],
        [".txt", ".txt.gz"],
    ];

    /// <summary>The files of one split, in ordinal order of their paths.</summary>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    /// <exception cref="ArgumentException">The split is not there, or several are and none was chosen.</exception>
    public static IReadOnlyList<string> Find(string path, string? split) => Select(path, split).Files;

    /// <summary>The same, with what else is there.</summary>
    /// <inheritdoc cref="Find"/>
    public static DataSelection Select(string path, string? split)
    {
        if (File.Exists(path))
            return OfSplit([path], Path.GetDirectoryName(path) ?? "", path, split);
        return Directory.Exists(path) ? OfSplit(InFolder(path), path, path, split)
            : OfSplit(Matching(path), Path.GetDirectoryName(path) ?? "", path, split);
    }

    /// <summary>A file's extension in lower case, with that of the compressed file: .csv, .csv.gz.</summary>
    internal static string Extension(string file)
    {
        string extension = Path.GetExtension(file).ToLowerInvariant();
        return extension == ".gz" ? Path.GetExtension(file[..^3]).ToLowerInvariant() + extension : extension;
    }

    private static string[] Matching(string pattern)
    {
        var name = Path.GetFileName(pattern);
        var folder = Path.GetDirectoryName(pattern) is { Length: > 0 } parent ? parent : ".";
        bool isPattern = name.AsSpan().ContainsAny('*', '?') && Directory.Exists(folder);
        string[] files = isPattern ? [.. Directory.EnumerateFiles(folder, name).Order(StringComparer.Ordinal)] : [];
        return files.Length > 0 ? files : throw new FileNotFoundException(
            isPattern ? $"No file matches {pattern}." : $"There is no file or folder {pattern}.", pattern);
    }

    private static string[] InFolder(string folder)
    {
        // Files may be links (as in the Hugging Face cache), so links are followed, to a bounded depth.
        var options = new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 3 };
        var all = Directory.EnumerateFiles(folder, "*", options).Order(StringComparer.Ordinal).ToArray();
        if (all.Any(file => Path.GetFileName(file) is "state.json" or "dataset_dict.json")
            && all.Any(file => Path.GetExtension(file).Equals(".arrow", StringComparison.OrdinalIgnoreCase)))
            throw new ArgumentException($"{folder} is a data set that the datasets library saved with save_to_disk (Arrow files), which is not "
                + "read; write it with to_parquet or to_json, and name that file.");
        foreach (var kinds in Kinds)
        {
            var files = all.Where(file => kinds.Contains(Extension(file))).ToArray();
            if (files.Select(file => Extension(file).Replace(".gz", "", StringComparison.Ordinal)).Distinct().Count() > 1)
                throw new ArgumentException(
                    $"{folder} holds files of several kinds; name one, for example {Path.Combine(folder, "*" + Extension(files[0]))}.");
            if (files.Length > 0)
                return files;
        }
        throw new FileNotFoundException($"{folder} holds no parquet, JSONL, CSV or text files and no aclImdb folders.", folder);
    }

    private static DataSelection OfSplit(string[] files, string root, string path, string? split)
    {
        var splitOf = Known(files, root);
        string[] splits = [.. splitOf.Values.Distinct().Order(StringComparer.Ordinal)];
        string? chosen = split is not null ? Canonical(split)
            : splits.Length <= 1 ? splits.FirstOrDefault()
            : splits.Contains("train") ? "train"
            : throw new ArgumentException($"{path} has the splits {string.Join(", ", splits)}; choose one of them with Split.");
        if (chosen is null)
            return new(files, null, [], []);
        string[] taken = [.. files.Where(file => splitOf.GetValueOrDefault(file) == chosen)];
        // A split by another name: files that begin with it.
        if (taken.Length == 0)
            taken = [.. files.Where(file => NamesSplit(file, split!))];
        return taken.Length > 0 ? new(taken, chosen, splits, [.. files.Where(file => !splitOf.ContainsKey(file)).Except(taken)])
            : throw new ArgumentException($"{path} has no split \"{split}\": "
                + (splits.Length > 0 ? $"its names tell {string.Join(", ", splits)}." : "no name of a file or folder in it tells a split.")
                + " Choose another Split, leave it out, or name the file itself.");
    }

    /// <summary>The split of each file that has one, by the first way that knows any.</summary>
    private static Dictionary<string, string> Known(string[] files, string root)
    {
        foreach (var way in (Func<string, string?>[])[OfShard, OfFolder, OfName])
        {
            var known = files.Select(file => (file, Split: way(Path.GetRelativePath(root.Length > 0 ? root : ".", file).Replace('\\', '/'))))
                .Where(pair => pair.Split is not null).ToDictionary(pair => pair.file, pair => pair.Split!);
            if (known.Count > 0)
                return known;
        }
        return [];
    }

    private static string? OfShard(string file) => Shard().Match(Path.GetFileName(file)) is { Success: true } match
        ? Canonical(match.Groups[1].Value) : null;

    /// <summary>The innermost folder that is called by a keyword.</summary>
    private static string? OfFolder(string file) => Path.GetDirectoryName(file)!.Replace('\\', '/').Split('/').Reverse()
        .Select(KeywordIn).FirstOrDefault(split => split is not null);

    private static string? OfName(string file) => KeywordIn(Path.GetFileName(file));

    private static string? KeywordIn(string name) => Keyword().Match(name) is { Success: true } match ? Canonical(match.Groups[1].Value) : null;

    /// <summary>The name of a split among those that mean the same: unsup is aclImdb's name for what the Hub calls unsupervised, and so on.</summary>
    internal static string Canonical(string split) => split.ToLowerInvariant() switch
    {
        "training" => "train",
        "testing" or "eval" or "evaluation" => "test",
        "unsup" => "unsupervised",
        "valid" or "val" or "dev" => "validation",
        var name => name,
    };

    private static bool NamesSplit(string file, string split) =>
        Path.GetFileName(file) is var name && name.StartsWith(split, StringComparison.OrdinalIgnoreCase)
            && !char.IsLetterOrDigit(name.ElementAtOrDefault(split.Length));

    [GeneratedRegex(@"^(\w+(?:\.\w+)*)-\d{5}-of-\d{5}\b", RegexOptions.CultureInvariant)]
    private static partial Regex Shard();

    // Separators are those of the datasets library: - . _ space and digits.
    [GeneratedRegex("(?<![^-._ 0-9])(train|training|test|testing|eval|evaluation|validation|valid|val|dev|unsupervised|unsup)(?![^-._ 0-9])",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Keyword();
}
