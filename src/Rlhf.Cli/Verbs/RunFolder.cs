using System.ComponentModel;
using System.Globalization;
using System.Text.Json;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary>Where a run writes.</summary>
internal sealed record OutputOptions
{
    [Description("Folder for everything that the run writes; unset: runs/VERB-DATE-TIME.")]
    [ValueName("DIR")]
    public string? Output { get; init; }

    [Description("Replace what an earlier run left in the output folder.")]
    public bool Overwrite { get; init; }

    /// <summary>The folder that the user named for something new.</summary>
    /// <exception cref="ConfigurationException">None was named, or something is in the way.</exception>
    public string Required(string what)
    {
        string folder = Output ?? throw new ConfigurationException([$"--output is missing; name the folder of the new {what}."]);
        RunFolder.RefuseIfTaken(folder, Overwrite);
        return folder;
    }
}

/// <summary>The folder of one run: config.yaml, metrics.jsonl, samples.jsonl, summary.json and the model in model/.</summary>
internal sealed class RunFolder
{
    // What a run writes and what --overwrite may therefore remove; nothing else is ever touched.
    private static readonly string[] OwnFiles = ["config.yaml", "metrics.jsonl", "samples.jsonl", "summary.json"];
    private static readonly string[] OwnFolders = ["model", "tensorboard"];

    private RunFolder(string path) => Path = path;

    public string Path { get; }

    /// <summary>Where the run saves its model.</summary>
    public string Model => this["model"];

    /// <summary>Path of a file of the run.</summary>
    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>Makes the folder, or refuses one that holds something.</summary>
    /// <exception cref="ConfigurationException">It is not empty and --overwrite was not given, or the path is a file.</exception>
    public static RunFolder Create(string verb, OutputOptions options)
    {
        var folder = new RunFolder(options.Output ?? NewPath(verb));
        RefuseIfTaken(folder.Path, options.Overwrite);
        if (Directory.Exists(folder.Path))
        {
            foreach (var name in OwnFiles)
                File.Delete(folder[name]);
            foreach (var name in OwnFolders.Where(name => Directory.Exists(folder[name])))
                Directory.Delete(folder[name], recursive: true);
        }
        Directory.CreateDirectory(folder.Path);
        return folder;
    }

    /// <summary>Refuses a path where something is in the way.</summary>
    /// <exception cref="ConfigurationException">It is a file, or a folder with files that may not be overwritten.</exception>
    public static void RefuseIfTaken(string path, bool overwrite)
    {
        if (File.Exists(path))
            throw new ConfigurationException([$"--output {path} is a file; name a folder."]);
        if (!overwrite && Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any())
            throw new ConfigurationException([$"--output {path} already holds files; choose another folder or add --overwrite."]);
    }

    /// <summary>Writes the settings of the run, so that --config can repeat it.</summary>
    public void WriteConfig(VerbContext context, string verb, IReadOnlyDictionary<string, object?>? resolved = null) =>
        AtomicFile.WriteAllText(this["config.yaml"], context.Settings.ToYaml(
            $"rlhf {verb} --config config.yaml repeats this run.", resolved,
            [
                nameof(OutputOptions.Output), nameof(OutputOptions.Overwrite),
                nameof(HubSettings.PushToHub), nameof(HubSettings.Private), nameof(HubSettings.Revision), // which is pinned
            ], context.Pins));

    /// <summary>Writes summary.json.</summary>
    public void WriteSummary<T>(T summary) =>
        AtomicFile.WriteAllText(this["summary.json"], JsonSerializer.Serialize(summary, Screen.JsonOptions) + "\n");

    private static string NewPath(string verb)
    {
        string time = DateTime.Now.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture);
        string path = System.IO.Path.Combine("runs", $"{verb}-{time}");
        string candidate = path;
        for (int n = 2; Directory.Exists(candidate); n++)
            candidate = $"{path}-{n}";
        return candidate;
    }
}
