using Rlhf.Cli.Terminal;
using Rlhf.Hub;

namespace Rlhf.Cli.Verbs;

/// <summary>Models and data sets of the Hub, where a verb is given an id instead of a path.</summary>
internal static class HubFiles
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

    private static readonly HashSet<string> DatasetsWithoutOwner = ["imdb", "rotten_tomatoes", "ag_news", "yelp_polarity", "sst2", "glue"];

    private static readonly string[] FileEndings =
        [".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".gz", ".tar", ".tgz", ".zip", ".yaml", ".safetensors", ".bin"];

    /// <summary>The repository and revision (org/name@revision) that a text means when there is no such path; null when it can only
    /// be a path.</summary>
    public static (HubRepo Repo, string? Revision)? Meant(HubRepoType type, string text, HubCache cache)
    {
        if (Directory.Exists(text) || File.Exists(text))
            return null;
        var parts = text.Split('@', 2);
        if (!HubRepo.IsId(parts[0]) || FileEndings.Any(e => parts[0].EndsWith(e, StringComparison.OrdinalIgnoreCase)))
            return null;
        var repo = new HubRepo(type, parts[0]);
        // A path whose folder is here was meant as a path, unless the repository is here, too.
        bool isPlausible = text.Split('/') is [var owner, _]
            ? !Directory.Exists(owner)
            : (type == HubRepoType.Model ? ModelsWithoutOwner : DatasetsWithoutOwner).Contains(parts[0]);
        return isPlausible || cache.Holds(repo) ? (repo, parts.ElementAtOrDefault(1)) : null;
    }

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
                bool ended;
                do
                {
                    ended = Task.WaitAny([work], 100) >= 0;
                    var now = Volatile.Read(ref latest)!;
                    display.ReportOf(Megabytes(now.TotalBytes), Megabytes(now.Bytes), ("files", $"{now.FilesDone}/{now.Files}"));
                }
                while (!ended);
                return 0;
            });
        return work.GetAwaiter().GetResult();
    }

    /// <summary>Says when the cache stood in for the Hub.</summary>
    public static HubSnapshot Noted(Screen screen, HubSnapshot snapshot)
    {
        if (snapshot.Notice is { } notice)
            screen.Line($"[yellow]Taking the {Screen.Safe(snapshot.Repo.ToString())} from the cache: {Screen.Safe(notice)}[/]");
        return snapshot;
    }

    private static long Megabytes(long bytes) => (bytes + 999_999) / 1_000_000;
}
