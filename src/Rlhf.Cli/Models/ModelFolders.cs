using Rlhf.Cli.Flags;
using Rlhf.Cli.Settings;
using Rlhf.Hub;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Runtime.Text;
using Rlhf.Tokenizers;
using Rlhf.Weights;

namespace Rlhf.Cli.Models;

/// <summary>Finds model folders that the user names, and those that ship with the program.</summary>
internal static class ModelFolders
{
    /// <summary>Names of what ships in models/.</summary>
    public const string ShippedPolicy = "imdb-gpt2-tiny", ShippedReward = "imdb-distilbert-tiny", ShippedJudge = "imdb-bert-tiny",
        ShippedQueries = "queries.jsonl", ShippedPpoSettings = "ppo.yaml", ShippedGroupSettings = "groups.yaml";

    /// <summary>What is said of a flag that names no model but has to: the end of a sentence.</summary>
    public const string Missing = "is missing; name a model folder, or a model of the Hub.";

    /// <summary>
    /// A model folder. The folder of a run stands for the model that it saved; where no such folder is, the name of a model that
    /// ships stands for it, and an id such as org/name or org/name@revision for a model of the Hub, which is downloaded unless
    /// the cache holds it.
    /// </summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="flag">The flag that names the model.</param>
    /// <param name="path">What it names.</param>
    /// <param name="parts">What is needed of a model of the Hub.</param>
    /// <exception cref="ConfigurationException">None was named, or there is no model.</exception>
    /// <exception cref="HubException">The Hub's model cannot be had.</exception>
    public static string Resolve(VerbContext context, string flag, string? path, HubModelParts parts = HubModelParts.All)
    {
        if (path is null)
            throw new ConfigurationException([$"{flag} {Missing}"]);
        if ((Local(path, parts) ?? Named(path)) is { } folder)
            return HubFiles.RevisionOf(context, flag) is null ? WithBase(context, flag, folder, parts) : throw new ConfigurationException(
                [$"--revision belongs to a model of the Hub; {flag} {path} is a folder here."]);
        if (HubFiles.Model(context, flag, path, parts) is { } snapshot)
            return WithBase(context, flag, snapshot, parts);
        throw new ConfigurationException([$"{flag} {path} {NoModel(path)}"]);
    }

    /// <summary>
    /// A model folder, whose base is found first where it is an adapter's: for --model the one that --base-model names, otherwise what
    /// adapter_config.json says, which may be on the Hub or, moved, among those that ship.
    /// </summary>
    /// <exception cref="ConfigurationException">The base is not found.</exception>
    private static string WithBase(VerbContext context, string flag, string folder, HubModelParts parts)
    {
        string? given = context.Settings.Find<HubFlags>()?.BaseModel;
        if (!AdapterFolder.IsAdapter(folder))
            return flag != "--model" || given is null ? folder : throw new ConfigurationException(
                [$"--base-model belongs to an adapter; {flag} {folder} is a whole model."]);
        if (parts == HubModelParts.Tokenizer && AutoTokenizer.HasOwn(folder))
            return folder;
        if (flag == "--model" && given is not null)
            AdapterFolder.UseBase(folder, Resolve(context, "--base-model", given, parts));
        else if (AdapterFolder.FindBase(folder) is null)
        {
            var (name, revision) = AdapterFolder.BaseName(folder);
            string? found = name is null ? null : Moved(name)
                ?? HubFiles.Model(context, "--base-model", revision is null ? name : $"{name}@{revision}", parts);
            if ((found ?? (given is null ? null : Resolve(context, "--base-model", given, parts))) is not { } place)
                throw new ConfigurationException([$"{flag} {folder} is an adapter "
                    + (name is null ? "that does not say what its base is" : $"of {UntrustedText.Clean(name)}, which is neither a folder here nor a model of the Hub")
                    + (context.Settings.Find<HubFlags>() is null ? "; merge it with its base first (rlhf merge)." : "; name its base with --base-model.")]);
            AdapterFolder.UseBase(folder, place);
        }
        return folder;
    }

    /// <summary>The model that ships under the name of a folder models/NAME that is not there any more, or null.</summary>
    private static string? Moved(string path) =>
        Path.GetFileName(Path.GetDirectoryName(path)) == "models" ? Named(Path.GetFileName(path)) : null;

    /// <summary>Why a name can be no model's, without asking the Hub: the end of a sentence; null when it can.</summary>
    public static string? Problem(string path, HubModelParts parts = HubModelParts.All) =>
        (Local(path, parts) ?? Named(path)) is not null || HubFiles.CanMean(HubRepoType.Model, path) ? null : NoModel(path);

    /// <summary>The folder that was named, or else one that ships.</summary>
    /// <exception cref="ConfigurationException">There is no model.</exception>
    /// <exception cref="HubException">The Hub's model cannot be had.</exception>
    public static string ResolveOrShipped(VerbContext context, string flag, string? path, string shipped) =>
        path is not null || HubFiles.RevisionOf(context, flag) is not null ? Resolve(context, flag, path)
        : Shipped(shipped) ?? throw new ConfigurationException(
            [$"{flag} is not given, and models/{shipped} was not found beside the program or in a folder above."]);

    /// <summary>
    /// The judge that was named; where none was and the reward model is the one that ships, named or not, the judge that ships beside it.
    /// A file that names that reward model and says <c>judge: null</c> wants none.
    /// </summary>
    public static string? Judge(VerbContext context, string? judge, string? rewardModel) =>
        judge is not null ? Resolve(context, "--judge", judge)
        : rewardModel is null || (IsShipped(rewardModel, ShippedReward) && !context.Settings.IsGiven(nameof(Judge))) ? Shipped(ShippedJudge)
        : null;

    /// <summary>Is a model the one that ships under a name, by that name or by a path that leads to it?</summary>
    public static bool IsShipped(string model, string name) => Folder(model) is { } folder && Path.GetFileName(folder) == name
        && File.Exists(Path.Combine(folder, "..", ShippedPpoSettings));

    /// <summary>The settings that suit the policy that ships; null for another policy.</summary>
    /// <param name="model">What --model says; null: the one that ships is meant.</param>
    /// <param name="settings">Their file: PPO's, or that of trainings that compare answers.</param>
    /// <exception cref="ConfigurationException">The file cannot be read.</exception>
    public static SettingsLayer? ShippedSettings(string? model, string settings = ShippedPpoSettings)
    {
        string? file = model is null ? Shipped(settings)
            : IsShipped(model, ShippedPolicy) ? Path.Combine(Folder(model)!, "..", settings) : null;
        return file is null ? null : new($"models/{settings}", YamlSettingsFile.Read(file));
    }

    /// <summary>The full path of a model's folder, links followed; null when it is none here.</summary>
    private static string? Folder(string model)
    {
        if ((Local(model) ?? Named(model)) is not { } found)
            return null;
        string path = Path.GetFullPath(Path.TrimEndingDirectorySeparator(found));
        return Directory.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path;
    }

    /// <summary>The model folder that a path names, or null.</summary>
    public static string? Local(string path, HubModelParts parts = HubModelParts.All) => parts == HubModelParts.Tokenizer
        ? Directory.Exists(path) ? path : null
        : new[] { path, Path.Combine(path, RunFiles.Model) }
            .FirstOrDefault(folder => File.Exists(Path.Combine(folder, "config.json")) || AdapterFolder.IsAdapter(folder));

    /// <summary>Why a path is no model's, for one where <see cref="Local"/> found none: the end of a sentence.</summary>
    public static string NoModel(string path) =>
        File.Exists(Path.Combine(path, RunFiles.Config))
            ? "is the folder of a run that has saved no model yet; wait for its end, or name one of its checkpoints."
        : Directory.Exists(path) ? "is no model folder: it holds no config.json."
        : File.Exists(path) ? "is a file; a model is a folder with config.json, the weights and the tokenizer's files: name the folder."
        : "does not exist; name a model folder, or a model of the Hub such as lvwerra/gpt2-imdb.";

    /// <summary>
    /// A model's place for people and settings files: its folder, or for one of the Hub, org/name@commit. For one that an
    /// installed tool carries, it is models/name: the tool's own folder goes with its version.
    /// </summary>
    public static string PlaceOf(string folder) =>
        HubCache.Identify(folder) is { } known ? $"{known.Repo.Id}@{known.Commit}"
        : Path.GetDirectoryName(folder) == Path.Combine(AppContext.BaseDirectory, "models") ? $"models/{Path.GetFileName(folder)}"
        : folder;

    /// <summary>The Hub's name of a model that came from there, or null.</summary>
    public static string? BaseModelOf(string folder) => HubCache.Identify(folder)?.Repo.Id;

    /// <summary>A model's name for people: its folder's, or that of the run that saved it.</summary>
    public static string NameOf(string folder)
    {
        if (HubCache.Identify(folder) is { } known)
            return known.Repo.Id;
        string path = Path.GetFullPath(Path.TrimEndingDirectorySeparator(folder));
        string name = Path.GetFileName(path);
        return name == RunFiles.Model && Path.GetDirectoryName(path) is { } run ? Path.GetFileName(run) : name;
    }

    /// <summary>The model that ships under this name, with models/ before it or without, or null.</summary>
    private static string? Named(string path) =>
        (path.StartsWith("models/", StringComparison.Ordinal) ? path[7..] : path) is var name && name.Length > 0
        && name.AsSpan().IndexOfAny("/\\") < 0 && name is not ("." or "..")
        && Shipped(name) is { } folder && Directory.Exists(folder) ? folder : null;

    /// <summary>A file or folder of models/, looked for above the current folder and above the program, or null.</summary>
    public static string? Shipped(string name)
    {
        foreach (var start in (string[])[Directory.GetCurrentDirectory(), AppContext.BaseDirectory])
            for (string? folder = start; folder is not null; folder = Path.GetDirectoryName(folder))
            {
                string candidate = Path.Combine(folder, "models", name);
                if (File.Exists(candidate) || File.Exists(Path.Combine(candidate, "config.json")))
                    return Path.GetRelativePath(Directory.GetCurrentDirectory(), candidate) is var relative
                        && !relative.StartsWith("..", StringComparison.Ordinal)
                        ? relative : candidate;
            }
        return null;
    }
}
