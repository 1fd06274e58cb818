using System.Globalization;
using System.Text.RegularExpressions;

namespace Rlhf.Hub;

/// <summary>One split of a data set's configuration, as parquet files.</summary>
/// <param name="Configuration">Name of the configuration; empty where there is only one without a name.</param>
/// <param name="Split">Such as train.</param>
/// <param name="Files">Paths in the repository, in order.</param>
internal sealed partial record DatasetSplit(string Configuration, string Split, IReadOnlyList<string> Files)
{
    /// <summary>The branch where the Hub keeps parquet copies of data sets in other forms.</summary>
    public const string ParquetBranch = "refs/convert/parquet";

    /// <summary>The splits among a repository's files, told by their names:
    /// <c>plain_text/train-00000-of-00001.parquet</c>, <c>data/train.parquet</c>, <c>default/train/0000.parquet</c>.</summary>
    public static IReadOnlyList<DatasetSplit> Among(IEnumerable<string> files) =>
        [.. files.Where(f => f.EndsWith(".parquet", StringComparison.OrdinalIgnoreCase)).Order(StringComparer.Ordinal)
            .Select(file => (Key: KeyOf(file), File: file)).Where(f => f.Key.Split.Length > 0).GroupBy(f => f.Key, f => f.File)
            .Select(group => new DatasetSplit(group.Key.Configuration, group.Key.Split, [.. group]))];

    /// <summary>Chooses a split; null takes train, or the only one.</summary>
    /// <exception cref="HubException">It is not there, or several are meant.</exception>
    public static DatasetSplit Choose(HubRepo repo, IReadOnlyList<DatasetSplit> all, string? configuration, string? split)
    {
        var names = all.Select(s => s.Configuration).Distinct().ToArray();
        if (configuration is null && names.Length > 1)
            configuration = names.FirstOrDefault(n => n is "default" or "") ?? throw new HubException(HubError.EntryNotFound,
                $"The {repo} has the configurations {List(names)}; choose one of them.");
        var some = all.Where(s => configuration is null || s.Configuration == configuration).ToArray();
        if (some.Length == 0)
            throw new HubException(HubError.EntryNotFound,
                $"The {repo} has no configuration '{HubText.Clean(configuration)}'; it has {List(names)}.");
        string wanted = Canonical(split ?? (some.Length == 1 ? some[0].Split : "train"));
        var chosen = some.FirstOrDefault(s => Canonical(s.Split) == wanted) ?? throw new HubException(HubError.EntryNotFound,
            $"The {repo} has no split '{HubText.Clean(split ?? wanted)}'; it has {List(some.Select(s => s.Split))}.");
        return chosen.IsWhole() ? chosen : throw new HubException(HubError.EntryNotFound,
            $"Files of the split '{chosen.Split}' of the {repo} are missing: there are only {chosen.Files.Count}.");
    }

    /// <summary>Whether all files are here that the names promise: -of-00003.</summary>
    private bool IsWhole() => Numbered().Match(Path.GetFileName(Files[0])) is not { Success: true } match
        || int.Parse(match.Groups[2].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture) == Files.Count;

    private static (string Configuration, string Split) KeyOf(string file)
    {
        var parts = file.Split('/');
        string name = parts[^1][..^".parquet".Length];
        if (name.All(char.IsAsciiDigit)) // of the parquet branch: configuration/split/0000.parquet
            return parts.Length < 2 ? ("", "") : (string.Join('/', parts[..^2]), parts[^2]);
        string split = Numbered().Match(parts[^1]) is { Success: true } match ? match.Groups[1].Value : name;
        string folder = string.Join('/', parts[..^1]);
        return (folder == "data" ? "" : folder, split);
    }

    private static string Canonical(string split) => split.ToLowerInvariant() switch
    {
        "unsup" => "unsupervised",
        "valid" or "val" or "dev" => "validation",
        var other => other,
    };

    private static string List(IEnumerable<string> names)
    {
        string[] some = [.. names.Select(n => n.Length == 0 ? "default" : HubText.Clean(n)).Take(21)];
        return string.Join(", ", some.Take(20)) + (some.Length > 20 ? ", …" : "");
    }

    [GeneratedRegex(@"\A(.+?)-[0-9]{5}-of-([0-9]{5})(?:-[0-9a-f]+)?\.parquet\z", RegexOptions.IgnoreCase)]
    private static partial Regex Numbered();
}
