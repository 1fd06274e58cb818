using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary>Finds model folders that the user names, and those that ship with the program.</summary>
internal static class ModelFolders
{
    /// <summary>Names of what ships in models/.</summary>
    public const string ShippedPolicy = "imdb-gpt2-tiny", ShippedReward = "imdb-distilbert-tiny",
        ShippedQueries = "queries.jsonl", ShippedPpoSettings = "ppo.yaml";

    /// <summary>A model folder; the folder of a run stands for the model that it saved.</summary>
    /// <exception cref="ConfigurationException">None was named, or there is no model.</exception>
    public static string Resolve(string flag, string? path)
    {
        if (path is null)
            throw new ConfigurationException([$"{flag} is missing; name a model folder."]);
        foreach (var folder in (string[])[path, Path.Combine(path, "model")])
            if (File.Exists(Path.Combine(folder, "config.json")))
                return folder;
        throw new ConfigurationException([Directory.Exists(path)
            ? $"{flag} {path} is no model folder: it holds no config.json."
            : $"{flag} {path} does not exist; name a model folder."]);
    }

    /// <summary>The folder that was named, or else one that ships.</summary>
    /// <exception cref="ConfigurationException">There is no model.</exception>
    public static string ResolveOrShipped(string flag, string? path, string shipped) =>
        path is not null ? Resolve(flag, path)
        : Shipped(shipped) ?? throw new ConfigurationException(
            [$"{flag} is not given, and models/{shipped} was not found beside the program or in a folder above."]);

    /// <summary>A model's name for people: its folder's, or that of the run that saved it.</summary>
    public static string NameOf(string folder)
    {
        string path = Path.GetFullPath(Path.TrimEndingDirectorySeparator(folder));
        string name = Path.GetFileName(path);
        return name == "model" && Path.GetDirectoryName(path) is { } run ? Path.GetFileName(run) : name;
    }

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
