using System.Text.RegularExpressions;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Terminal;
using Rlhf.Hub;
using Rlhf.Runtime;

namespace Rlhf.Cli.Models;

/// <summary>Models and data sets of the Hub, where a verb is given an id instead of a path.</summary>
internal static partial class HubFiles
{
    // The Hub's oldest repositories, the only ones without an owner, as far as their models can be read here. The list is closed:
    // any other bare name is a misspelt folder, and nobody's business but the user's.
    private static readonly HashSet<string> ModelsWithoutOwner =
    [
        "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2", "distilbert-base-uncased", "distilbert-base-cased",
        "distilbert-base-multilingual-cased", "distilbert-base-german-cased", "distilbert-base-uncased-distilled-squad",
        "distilbert-base-cased-distilled-squad", "distilbert-base-uncased-finetuned-sst-2-english", "bert-base-uncased",
        "bert-base-cased", "bert-large-uncased", "bert-large-cased", "bert-base-multilingual-uncased",
        "bert-base-multilingual-cased", "bert-base-chinese", "bert-base-german-cased", "bert-large-uncased-whole-word-masking",
        "bert-large-cased-whole-word-masking", "bert-base-cased-finetuned-mrpc", "roberta-base", "roberta-large",
        "roberta-large-mnli", "distilroberta-base", "roberta-base-openai-detector", "roberta-large-openai-detector",
    ];

    private static readonly HashSet<string> DatasetsWithoutOwner =
        ["imdb", "rotten_tomatoes", "ag_news", "yelp_polarity", "sst2", "glue"];

    private static readonly string[] FileEndings =
    [
        ".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".gz", ".tar", ".tgz", ".zip", ".yaml", ".safetensors",
        ".bin",
    ];

    /// <summary>The snapshot of a model of the Hub, brought when it is not here; null when the text is no model's id.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="flag">The flag that names it.</param>
    /// <param name="text">What it names: org/name or org/name@revision.</param>
    /// <param name="parts">What is needed of it.</param>
    /// <exception cref="ConfigurationException">There are two revisions.</exception>
    /// <exception cref="HubException">It cannot be had.</exception>
    public static string? Model(VerbContext context, string flag, string text, HubModelParts parts)
    {
        if (!CanBeName(text))
            return null;
        using var hub = new HubClient();
        if (Meant(HubRepoType.Model, text, hub.Cache) is not { } meant)
            return null;
        string? revision = OneRevision($"{flag} {text}", meant.Revision, RevisionOf(context, flag));
        var snapshot = Bring(context, hub, flag, text, meant.Repo, progress => hub.DownloadModelAsync(
            meant.Repo.Id, revision, progress, parts, context.Stop));
        return snapshot.Folder;
    }

    /// <summary>Where texts lie and their split there: the path itself, or for a data set of the Hub, its files in the
    /// cache.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="flag">The flag that names it.</param>
    /// <param name="text">A path, or org/name or org/name@revision.</param>
    /// <param name="split">The split; null: train where there are several.</param>
    /// <param name="subset">The configuration of a data set of the Hub; null: the only one.</param>
    /// <exception cref="ConfigurationException">There is a subset of a path.</exception>
    /// <exception cref="HubException">It cannot be had.</exception>
    public static (string Path, string? Split) Dataset(
        VerbContext context, string flag, string text, string? split, string? subset)
    {
        using var hub = CanBeName(text) ? new HubClient() : null;
        if (hub is null || Meant(HubRepoType.Dataset, text, hub.Cache) is not { } meant)
            return subset is null ? (text, split) : throw new ConfigurationException(
                [$"--subset belongs to a data set of the Hub; {flag} {text} is a path."]);
        var snapshot = Bring(context, hub, flag, text, meant.Repo, progress => hub.DownloadDatasetAsync(
            meant.Repo.Id, split, subset, meant.Revision, progress, context.Stop));
        return (Pattern(snapshot.Files), null);
    }

    /// <summary>The revision that a name has after its @, or else that of --revision.</summary>
    /// <exception cref="ConfigurationException">There are two.</exception>
    public static string? OneRevision(string named, string? ofName, string? ofFlag) => ofName is null || ofFlag is null ? ofName ?? ofFlag
        : throw new ConfigurationException([$"{named} names a revision, and so does --revision; name one."]);

    /// <summary>The --revision of a verb, for the flag that it is about.</summary>
    public static string? RevisionOf(VerbContext context, string flag) =>
        flag == "--model" ? context.Settings.Find<HubFlags>()?.Revision : null;

    /// <summary>
    /// The repository and revision (org/name@revision) that a text means when there is no such path; null when it can only be
    /// a path.
    /// </summary>
    public static (HubRepo Repo, string? Revision)? Meant(HubRepoType type, string text, HubCache cache)
    {
        if (!CanBeName(text))
            return null;
        var parts = text.Split('@', 2);
        var repo = new HubRepo(type, parts[0]);
        // A path whose folder is here was meant as a path, unless the repository is here, too.
        bool isPlausible = text.Split('/') is [var owner, _]
            ? !Directory.Exists(owner)
            : (type == HubRepoType.Model ? ModelsWithoutOwner : DatasetsWithoutOwner).Contains(parts[0]);
        return isPlausible || cache.Holds(repo) ? (repo, parts.ElementAtOrDefault(1)) : null;
    }

    /// <summary>Whether a text can be the name of a repository, as far as is known without asking.</summary>
    public static bool CanMean(HubRepoType type, string text)
    {
        if (!CanBeName(text))
            return false;
        try
        {
            return Meant(type, text, new(HubOptions.FromEnvironment().CacheFolder)) is not null;
        }
        catch (ConfigurationException)
        {
            return true; // the client will say which variable is wrong
        }
    }

    /// <summary>What a download brings; where no such repository is, says whether there is one of another type.</summary>
    /// <param name="hub">The Hub.</param>
    /// <param name="repo">What is asked for.</param>
    /// <param name="download">The download.</param>
    /// <param name="hint">What to do about a repository of another type: one sentence.</param>
    /// <param name="cancellation">Stops.</param>
    public static async Task<HubSnapshot> OrOtherType(
        HubClient hub, HubRepo repo, Task<HubSnapshot> download, Func<HubRepo, string> hint, CancellationToken cancellation)
    {
        try
        {
            return await download;
        }
        catch (HubException e) when (e.Error == HubError.RepositoryNotFound)
        {
            var other = new HubRepo(repo.Type == HubRepoType.Model ? HubRepoType.Dataset : HubRepoType.Model, repo.Id);
            if (await hub.ExistsAsync(other, cancellation))
                throw new HubException(e.Error, $"{hub.Options.Endpoint.Host} shows no {repo}; {hint(other)}", e);
            throw;
        }
    }

    /// <summary>How a command of rlhf hub reports that a repository is of another type.</summary>
    public static string AsOtherType(HubRepo other) => other.Type == HubRepoType.Model
        ? $"{other.Id} is a model: leave --repo-type out."
        : $"{other.Id} is a {other.Kind}: add --repo-type {other.Type.ToString().ToLowerInvariant()}.";

    /// <summary>Brings something while a bar shows how far it is; nothing is shown when everything is here.</summary>
    public static T Fetch<T>(Screen screen, string title, Func<Action<HubProgress>, Task<T>> fetch)
    {
        HubProgress? latest = null;
        var work = Task.Run(() => fetch(progress => Volatile.Write(ref latest, progress)));
        while (Volatile.Read(ref latest) is null && Task.WaitAny([work], 50) < 0)
        {
        }
        if (Volatile.Read(ref latest) is not null)
            ProgressDisplay.Run(screen, title, "MB", 0, display =>
            {
                while (Task.WaitAny([work], 100) < 0)
                    if (Volatile.Read(ref latest) is { } now && Megabytes(now.Bytes) < Megabytes(now.TotalBytes))
                        Report(display, now);
                if (work.IsCompletedSuccessfully)
                    Report(display, Volatile.Read(ref latest)!); // the last word comes once
                return 0;
            });
        return work.GetAwaiter().GetResult();
    }

    private static bool CanBeName(string text) => !Path.Exists(text) && HubRepo.IsId(text.Split('@', 2)[0])
        && !FileEndings.Any(ending => text.EndsWith(ending, StringComparison.OrdinalIgnoreCase));

    private static HubSnapshot Bring(
        VerbContext context, HubClient hub, string flag, string text, HubRepo repo,
        Func<Action<HubProgress>, Task<HubSnapshot>> download)
    {
        try
        {
            var snapshot = Noted(context.Screen, Fetch(context.Screen, $"Downloading {repo.Id}", progress =>
                OrOtherType(hub, repo, download(progress),
                    other => $"there is a {other.Kind} of that name, which {flag} does not take.", context.Stop)));
            context.Pins[$"{flag} {text}"] = $"{snapshot.Repo.Id}@{snapshot.Commit}";
            return snapshot;
        }
        catch (HubException e) when (e.Error is HubError.RepositoryNotFound or HubError.NotCached or HubError.Connection
            or HubError.Unavailable)
        {
            // Perhaps a path was meant.
            throw new HubException(e.Error, $"There is no {(repo.Type == HubRepoType.Model ? "folder" : "file or folder")} {text} here, so "
                + $"{flag} {text} was taken for a name on the Hub, and {char.ToLowerInvariant(e.Message[0])}{e.Message[1..]}", e);
        }
    }

    /// <summary>One path or pattern for the files of a split, which lie in one folder.</summary>
    private static string Pattern(IReadOnlyList<string> files)
    {
        if (files.Count == 1)
            return files[0];
        string name = Path.GetFileName(files[0]);
        return Path.Combine(Path.GetDirectoryName(files[0])!,
            Part().Match(name) is { Success: true } part ? part.Groups[1].Value + "-*.parquet" : "*.parquet");
    }

    [GeneratedRegex(@"\A(.+?)-[0-9]{5}-of-[0-9]{5}")]
    private static partial Regex Part();

    /// <summary>Says when the cache stood in for the Hub.</summary>
    public static HubSnapshot Noted(Screen screen, HubSnapshot snapshot)
    {
        if (snapshot.Notice is { } notice)
            screen.Line($"[yellow]Taking the {Screen.Safe(snapshot.Repo.ToString())} from the cache: {Screen.Safe(notice)}[/]");
        return snapshot;
    }

    private static void Report(ProgressDisplay display, HubProgress now) => display.ReportOf(
        Megabytes(now.TotalBytes), Megabytes(now.Bytes), ("files", $"{now.FilesDone}/{now.Files}"));

    private static long Megabytes(long bytes) => (bytes + 999_999) / 1_000_000;
}
