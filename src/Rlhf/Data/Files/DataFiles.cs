using System.Text.RegularExpressions;

namespace Rlhf.Data.Files;

/// <summary>Finds the files that a path stands for: a file, a pattern, or a folder with files that name their split.</summary>
internal static partial class DataFiles
{
    /// <summary>Kinds of table files, the richest first: a folder is read as the first kind it has.</summary>
    private static readonly string[][] Kinds = [[".parquet"], [".jsonl", ".ndjson", ".csv", ".tsv"], [".txt"]];

    /// <summary>The files of one split, in ordinal order of their paths.</summary>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    /// <exception cref="ArgumentException">The split is not there, or several are and none was chosen.</exception>
    public static IReadOnlyList<string> Find(string path, string? split)
    {
        if (File.Exists(path))
            return OfSplit([path], path, split);
        var files = Directory.Exists(path) ? InFolder(path) : Matching(path);
        return OfSplit(files, path, split);
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
        foreach (var kinds in Kinds)
        {
            var files = all.Where(file => kinds.Contains(Path.GetExtension(file).ToLowerInvariant())).ToArray();
            if (files.Select(file => Path.GetExtension(file).ToLowerInvariant()).Distinct().Count() > 1)
                throw new ArgumentException(
                    $"{folder} holds files of several kinds; name one, for example {Path.Combine(folder, "*" + kinds[0])}.");
            if (files.Length > 0)
                return files;
        }
        throw new FileNotFoundException($"{folder} holds no parquet, JSONL, CSV or text files and no aclImdb folders.", folder);
    }

    private static IReadOnlyList<string> OfSplit(string[] files, string path, string? split)
    {
        if (split is not null)
        {
            var chosen = files.Where(file => NamesSplit(file, Canonical(split))).ToArray();
            return chosen.Length > 0 ? chosen : throw new ArgumentException(
                $"{path} has no split \"{split}\": no file name begins with it. Name the file itself, or leave the split out.");
        }
        var named = files.Where(file => SplitOf(file) is not null).ToArray();
        var splits = named.Select(file => SplitOf(file)!).Distinct().ToArray();
        if (splits.Length <= 1)
            return files;
        return splits.Contains("train") ? [.. named.Where(file => SplitOf(file) == "train")] : throw new ArgumentException(
            $"{path} has the splits {string.Join(", ", splits)}; choose one of them.");
    }

    /// <summary>unsup is aclImdb's name for what the Hub calls unsupervised, and so on.</summary>
    internal static string Canonical(string split) => split.ToLowerInvariant() switch
    {
        "unsup" => "unsupervised",
        "valid" or "val" or "dev" => "validation",
        var name => name,
    };

    private static string? SplitOf(string file) =>
        SplitName().Match(Path.GetFileName(file)) is { Success: true } match ? Canonical(match.Groups[1].Value) : null;

    private static bool NamesSplit(string file, string split) =>
        SplitOf(file) == split || Path.GetFileName(file) is var name && name.StartsWith(split, StringComparison.OrdinalIgnoreCase)
            && !char.IsLetterOrDigit(name.ElementAtOrDefault(split.Length));

    [GeneratedRegex("^(train|test|validation|valid|val|dev|unsupervised|unsup)(?![a-z0-9])", RegexOptions.IgnoreCase)]
    private static partial Regex SplitName();
}
