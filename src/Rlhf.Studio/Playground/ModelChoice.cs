using Rlhf.Runs;
using Rlhf.Studio.Runs;
using Rlhf.Weights;

namespace Rlhf.Studio.Playground;

/// <summary>An aligned model and what it is compared with.</summary>
/// <param name="Key">Tells choices apart: a run's id, or a folder.</param>
/// <param name="Title">The aligned model's name.</param>
/// <param name="Aligned">Its folder.</param>
/// <param name="BaseTitle">The base model's name.</param>
/// <param name="Base">Its folder; null where it cannot be found.</param>
public sealed record ModelChoice(string Key, string Title, string Aligned, string BaseTitle, string? Base);

/// <summary>Finds the models that the playground can show.</summary>
public sealed class ModelChoices(StudioOptions options, RunCatalog runs)
{
    /// <summary>The model that was named, then those of runs, the newest first.</summary>
    public IReadOnlyList<ModelChoice> List()
    {
        List<ModelChoice> choices = [];
        if (options.Model is { } named)
            choices.Add(Choice(named, NameOf(named), named,
                options.BaseModel ?? (AdapterFolder.IsAdapter(named) ? AdapterFolder.FindBase(named) : null) ?? options.ShippedModel));
        // Those of the later trainings first: what is aligned rather than what is only fine-tuned.
        var kinds = TrainingKinds.All.Where(k => k.Makes == TrainingProduct.Policy).Select(k => k.Verb).Reverse().ToList();
        foreach (var run in runs.List().Where(r => r.HasModel && kinds.Contains(r.Verb)).OrderBy(r => kinds.IndexOf(r.Verb)))
            if (runs.ModelOf(run.Id) is { } folder)
                choices.Add(Choice(run.Id, run.Id, folder,
                    AdapterFolder.IsAdapter(folder) ? BaseOf(run.Id) ?? options.BaseModel : options.BaseModel ?? BaseOf(run.Id)));
        return choices;
    }

    /// <summary>
    /// What a run began with. Settings of a run are a stranger's word: they may lead to the shipped model or into the runs folder, and
    /// nowhere else.
    /// </summary>
    internal string? BaseOf(string run)
    {
        if (runs.ConfigOf(run)["model"] is not { } path)
            return options.ShippedModel;
        if (options.ShippedModel is { } shipped && Path.GetFileName(Path.TrimEndingDirectorySeparator(path)) == Path.GetFileName(shipped))
            return shipped;
        return new[] { path, Path.Combine(path, RunFiles.Model) }.Select(runs.Inside)
            .FirstOrDefault(folder => folder is not null && File.Exists(Path.Combine(folder, "config.json")));
    }

    /// <summary>An adapter is loaded onto the base that it is compared with, whatever path its own file names.</summary>
    private static ModelChoice Choice(string key, string title, string aligned, string? baseFolder)
    {
        if (baseFolder is not null && AdapterFolder.IsAdapter(aligned))
            AdapterFolder.UseBase(aligned, baseFolder);
        return new(key, title, aligned, baseFolder is null ? "" : NameOf(baseFolder), baseFolder);
    }

    private static string NameOf(string folder)
    {
        string path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        return Path.GetFileName(path) == RunFiles.Model ? Path.GetFileName(Path.GetDirectoryName(path)!) : Path.GetFileName(path);
    }
}
