using System.CommandLine;
using System.ComponentModel;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Hub;
using Rlhf.Models;
using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary>What to download.</summary>
internal sealed record HubDownloadOptions
{
    [Description("Branch, tag or commit; default: main.")]
    [ValueName("NAME")]
    public string? Revision { get; init; }

    [Description("What the repository holds.")]
    public HubRepoType RepoType { get; init; }

    [Description("Split of a data set; default: train.")]
    [ValueName("NAME")]
    public string? Split { get; init; }

    [Description("Subset (configuration) of a data set that has several.")]
    [ValueName("NAME")]
    public string? Subset { get; init; }

    public IEnumerable<string> Validate()
    {
        if (RepoType != HubRepoType.Dataset && (Split ?? Subset) is not null)
            yield return "Split and Subset belong to a data set; add RepoType dataset.";
    }
}

/// <summary>How to push.</summary>
internal sealed record HubPushFlags
{
    [Description("Make the repository private when it is new.")]
    public bool Private { get; init; }

    [Description("Branch to push to; it is made when it does not exist.")]
    [ValueName("NAME")]
    public string Revision { get; init; } = "main";

    [Description("Message of the commit.")]
    public string Message { get; init; } = "Upload model";

    public IEnumerable<string> Validate()
    {
        if (string.IsNullOrWhiteSpace(Revision)) yield return "Revision has no value; name a branch such as main.";
        if (string.IsNullOrWhiteSpace(Message)) yield return "Message has no value; say what is pushed.";
    }
}

/// <summary>What to remove from the cache.</summary>
internal sealed record HubCacheOptions
{
    [Description("Delete this repository from the cache.")]
    [ValueName("ORG/NAME")]
    public string? Remove { get; init; }

    [Description("What that repository holds.")]
    public HubRepoType RepoType { get; init; }
}

/// <summary><c>rlhf hub</c>: Hugging Face's Hub and its cache.</summary>
internal static class HubVerbs
{
    public static Command Create()
    {
        var command = new Command("hub", "brings models and data sets from Hugging Face's Hub, and takes yours there.");
        command.Add(CreateDownload());
        command.Add(CreatePush());
        command.Add(new VerbCommand(
            "whoami", "shows whose token is used.", ["rlhf hub whoami"], new SettingsBinder(), WhoAmI));
        command.Add(new VerbCommand(
            "cache", "lists what the cache holds, or removes something from it.",
            ["rlhf hub cache", "rlhf hub cache --remove stanfordnlp/imdb --repo-type dataset"],
            new SettingsBinder().Add("Cache", new HubCacheOptions()), Cache));
        return command;
    }

    private static VerbCommand CreateDownload()
    {
        var id = new Argument<string>("id") { Description = "The repository: org/name." };
        var files = new Argument<string[]>("file")
        {
            Arity = ArgumentArity.ZeroOrMore,
            Description = "Files of it; none: what a run needs (configuration, tokenizer, weights; of a data set, one split; of "
                + "a space, all).",
        };
        var command = new VerbCommand(
            "download", "brings a model or a data set into the cache.",
            [
                "rlhf hub download lvwerra/gpt2-imdb",
                "rlhf hub download stanfordnlp/imdb --repo-type dataset --split test",
                "rlhf hub download lvwerra/gpt2-imdb README.md",
            ],
            new SettingsBinder().Add("Download", new HubDownloadOptions(), o => o.Validate()),
            context => Download(context, context.Command.GetValue(id)!, context.Command.GetValue(files) ?? []));
        command.Add(id);
        command.Add(files);
        return command;
    }

    private static int Download(VerbContext context, string id, string[] files)
    {
        var (options, screen) = (context.Settings.Get<HubDownloadOptions>(), context.Screen);
        using var hub = new HubClient();
        var named = id.Split('@', 2);
        string name = named[0];
        string? revision = HubFiles.OneRevision(id, named.ElementAtOrDefault(1), options.Revision);
        var repo = new HubRepo(options.RepoType, name);
        var snapshot = HubFiles.Noted(screen, HubFiles.Fetch(screen, $"Downloading {id}", progress =>
            HubFiles.OrOtherType(hub, repo, files.Length > 0 || options.RepoType == HubRepoType.Space
                ? hub.DownloadFilesAsync(repo, files, revision, progress, context.Stop)
                : options.RepoType == HubRepoType.Dataset
                ? hub.DownloadDatasetAsync(name, options.Split, options.Subset, revision, progress, context.Stop)
                : hub.DownloadModelAsync(name, revision, progress, cancellation: context.Stop), HubFiles.AsOtherType, context.Stop)));
        long bytes = snapshot.Files.Select(f => new FileInfo(f))
            .Sum(f => f.ResolveLinkTarget(returnFinalTarget: true) is FileInfo blob ? blob.Length : f.Length);
        if (screen.Json)
            screen.WriteJson(new { Id = snapshot.Repo.Id, snapshot.Commit, snapshot.Folder, snapshot.Files, Bytes = bytes });
        else
            screen.Facts(snapshot.Repo.ToString(),
            [
                ("commit", snapshot.Commit), ("files", $"{snapshot.Files.Count:N0}, {Megabytes(bytes)}"),
                ("folder", snapshot.Folder),
            ]);
        return ExitCode.Success;
    }

    private static VerbCommand CreatePush()
    {
        var folder = new Argument<string>("folder") { Description = "The model's folder, or the folder of a run." };
        var id = new Argument<string>("id") { Description = "The repository: org/name. It is made when it does not exist." };
        var command = new VerbCommand(
            "push", "pushes a model's folder as one commit; needs a token in HF_TOKEN.",
            ["rlhf hub push runs/my-run my-name/my-model", "rlhf hub push runs/my-run my-name/my-model --private --revision v2"],
            new SettingsBinder().Add("Push", new HubPushFlags(), o => o.Validate()),
            context => Push(context, context.Command.GetValue(folder)!, context.Command.GetValue(id)!));
        command.Add(folder);
        command.Add(id);
        return command;
    }

    private static int Push(VerbContext context, string path, string id)
    {
        var (options, screen) = (context.Settings.Get<HubPushFlags>(), context.Screen);
        if (!Directory.Exists(path))
            throw new ConfigurationException([$"{path} is no folder; name the folder of a model or of a run."]);
        string folder = ModelFolders.Local(path) ?? throw new ConfigurationException([$"{path} {ModelFolders.NoModel(path)}"]);
        using var hub = new HubClient();
        var result = HubFiles.Fetch(screen, $"Pushing {id}", progress => hub.PushFolderAsync(folder, id, new()
        {
            Private = options.Private,
            Revision = options.Revision,
            Message = options.Message,
            ModelCard = new ModelCard(id.Split('/')[^1], "A model made with Rlhf.") { Tags = ["rlhf"] }.ToMarkdown(),
        }, progress, context.Stop));
        Report(screen, result);
        if (screen.Json)
            screen.WriteJson(new
            {
                result.Repo.Id,
                result.Commit,
                result.Address,
                result.Files,
                result.Unchanged,
                result.UploadedBytes,
            });
        return ExitCode.Success;
    }

    /// <summary>Says what a push did.</summary>
    public static void Report(Screen screen, HubPushResult result) => screen.Line(Screen.Safe(result.Commit is null
        ? $"{result.Address} holds all of it already; there is nothing to push."
        : $"Pushed {result.Files.Count:N0} files to {result.Address}; {Megabytes(result.UploadedBytes)} were uploaded. "
            + $"The commit is {result.Commit}."));

    private static int WhoAmI(VerbContext context)
    {
        using var hub = new HubClient();
        var user = hub.WhoAmIAsync(context.Stop).GetAwaiter().GetResult();
        if (context.Screen.Json)
            context.Screen.WriteJson(user);
        else
            context.Screen.Facts(user.Name,
            [
                ("organizations", user.Organizations.Count > 0 ? string.Join(", ", user.Organizations) : "none"),
                ("token", user.Role is null ? "does not say what it may do" : MayDo(user.Role)),
                ("Hub", hub.Options.Endpoint.ToString()),
            ]);
        return ExitCode.Success;
    }

    private static string MayDo(string role) => role switch
    {
        "write" => "may write",
        "read" => "may only read",
        "fineGrained" => "may do what was chosen when it was made (fine-grained)",
        _ => role,
    };

    private static int Cache(VerbContext context)
    {
        var screen = context.Screen;
        using var hub = new HubClient();
        var options = context.Settings.Get<HubCacheOptions>();
        if (options.Remove is { } id)
        {
            var repo = new HubRepo(options.RepoType, id);
            var repos = hub.Cache.List();
            var held = repos.FirstOrDefault(r => r.Repo == repo) ?? throw new ConfigurationException(
                [$"--remove {id}: the cache {hub.Cache.Folder} does not hold the {repo}; "
                + (repos.FirstOrDefault(r => r.Repo.Id == repo.Id)?.Repo is { } other
                    ? HubFiles.AsOtherType(other) : "rlhf hub cache lists what it holds.")]);
            hub.Cache.Remove(repo);
            if (screen.Json)
                screen.WriteJson(new { Removed = repo.Id, held.Bytes });
            screen.Line($"Removed the {Screen.Safe(repo.ToString())}: {Megabytes(held.Bytes)}.");
            return ExitCode.Success;
        }
        var all = hub.Cache.List();
        if (screen.Json)
            screen.WriteJson(new
            {
                hub.Cache.Folder,
                Bytes = all.Sum(r => r.Bytes),
                Repos = all.Select(r => new
                {
                    Type = r.Repo.Type.ToString().ToLowerInvariant(),
                    r.Repo.Id,
                    r.Bytes,
                    r.PartialBytes,
                    r.Snapshots,
                    r.LastUsed,
                }),
            });
        else
            screen.Facts(hub.Cache.Folder, [.. all.Select(r => (r.Repo.ToString(), Megabytes(r.Bytes)
                + (r.PartialBytes > 0 ? $", of which {Megabytes(r.PartialBytes)} are unfinished" : ""))),
                ("in all", Megabytes(all.Sum(r => r.Bytes)))]);
        return ExitCode.Success;
    }

    private static string Megabytes(long bytes) => $"{ProgressDisplay.Number(bytes / 1e6, 1)} MB";
}
