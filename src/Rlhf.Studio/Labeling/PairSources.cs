using System.Collections.Concurrent;
using System.Text.Json;
using Rlhf.Runs;
using Rlhf.Runtime.Files;
using Rlhf.Studio.Files;

namespace Rlhf.Studio.Labeling;

/// <summary>Pairs that can be labeled, and where the labels go.</summary>
/// <param name="Key">Tells sources apart in an address; empty for the one that was named.</param>
/// <param name="Title">Its name for people.</param>
/// <param name="Pairs">Path of the pairs.</param>
/// <param name="Labels">Path of the labels for training.</param>
public sealed record PairSource(string Key, string Title, string Pairs, string Labels)
{
    internal const string LabelsEnding = "-labelled.jsonl", JournalEnding = ".journal.jsonl";

    /// <summary>Path of the journal, beside the labels.</summary>
    public string Journal => WithoutExtension(Labels) + JournalEnding;

    /// <summary>Where labels go when nothing is said: <c>pairs.jsonl</c> to <c>pairs-labelled.jsonl</c>.</summary>
    public static string LabelsOf(string pairs) => WithoutExtension(pairs) + LabelsEnding;

    private static string WithoutExtension(string path) => path[..^Path.GetExtension(path).Length];
}

/// <summary>Finds pairs: the file that was named, and those that lie in the runs folder or in a folder there that is no run.</summary>
public sealed class PairSources(StudioOptions options)
{
    private const int MostFolders = 200, MostFound = 50, FirstLineBytes = 1 << 16;
    private readonly FolderGuard guard = new(options.RunsFolder);
    private readonly ConcurrentDictionary<string, (DateTime Written, bool ArePairs)> looked = new();

    /// <summary>Where pairs are looked for.</summary>
    public string Folder => guard.Folder;

    /// <summary>All sources, the named one first.</summary>
    public IReadOnlyList<PairSource> List()
    {
        List<PairSource> sources = [];
        if (options.Pairs is { } named)
        {
            string pairs = Path.GetFullPath(named);
            sources.Add(new("", Path.GetFileName(pairs), pairs, Path.GetFullPath(options.Labels ?? PairSource.LabelsOf(pairs))));
        }
        foreach (var key in Files().Take(MostFound))
            if (guard.Resolve(key) is { } path && sources.All(s => s.Pairs != path))
                sources.Add(new(key, key, path, PairSource.LabelsOf(path)));
        return sources;
    }

    /// <summary>One of them, or null.</summary>
    public PairSource? Find(string key) => List().FirstOrDefault(s => s.Key == key);

    private IEnumerable<string> Files()
    {
        if (guard.Resolve("") is not { } root)
            return [];
        var folders = Entries(root, Directory.EnumerateDirectories)
            .Where(f => !File.Exists(Path.Combine(root, f, RunFiles.Config))).Take(MostFolders);
        return folders.Prepend("").SelectMany(folder => guard.Resolve(folder) is not { } real ? []
            : Entries(real, path => Directory.EnumerateFiles(path, "*.jsonl"))
            .Select(name => folder.Length == 0 ? name : $"{folder}/{name}"))
            .Where(key => guard.Resolve(key) is { } path && ArePairs(path));
    }

    private static string[] Entries(string folder, Func<string, IEnumerable<string>> list)
    {
        try
        {
            return [.. list(folder).Select(e => Path.GetFileName(e)).Where(n => !n.StartsWith('.')).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    // Pairs before labeling show themselves by their first line.
    private bool ArePairs(string path)
    {
        try
        {
            var written = File.GetLastWriteTimeUtc(path);
            if (looked.TryGetValue(path, out var known) && known.Written == written)
                return known.ArePairs;
            using var stream = RegularFile.Open(path, FileShare.ReadWrite | FileShare.Delete);
            var begin = new byte[FirstLineBytes];
            int count = stream.ReadAtLeast(begin, begin.Length, throwOnEndOfStream: false);
            int end = begin.AsSpan(0, count).IndexOf((byte)'\n');
            bool arePairs = HasAnswers(begin.AsMemory(0, end < 0 ? count : end));
            looked[path] = (written, arePairs);
            return arePairs;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static bool HasAnswers(ReadOnlyMemory<byte> line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            return json.RootElement.ValueKind == JsonValueKind.Object
                && json.RootElement.TryGetProperty("response_a", out _) && json.RootElement.TryGetProperty("response_b", out _);
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
