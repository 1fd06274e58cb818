using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using System.Text.Json;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Training.Checkpoints;

namespace Rlhf.Cli.Runs;

/// <summary>Where a run writes.</summary>
internal sealed record OutputFlags
{
    [Description("Folder for everything that the run writes; default: runs/VERB-DATE-TIME.")]
    [ValueName("DIR")]
    [NotRecorded]
    public string? Output { get; init; }

    [Description("Replace what an earlier run left in the output folder.")]
    [NotRecorded]
    public bool Overwrite { get; init; }

    /// <summary>The folder that the user named for something new.</summary>
    /// <exception cref="ConfigurationException">None was named, something is in the way, or it cannot be made.</exception>
    public string Required(string what)
    {
        string folder = Output ?? throw new ConfigurationException([$"--output is missing; name the folder of the new {what}."]);
        RunFolder.RefuseIfTaken(folder, Overwrite);
        RunFolder.Attempt(folder, "--output", () => Directory.CreateDirectory(folder));
        return folder;
    }
}

/// <summary>
/// The folder of one run: config.yaml, metrics.jsonl, samples.jsonl, summary.json, report.html, checkpoints/, the model in model/ and what
/// docs/configuration.md lists beside them. The process has it for itself until it is disposed.
/// </summary>
internal sealed class RunFolder : IDisposable
{
    // What a run writes and what --overwrite may therefore remove; nothing else is ever touched.
    private static readonly string[] OwnFiles = [RunFiles.Config, RunFiles.Metrics, RunFiles.Samples, RunFiles.Summary, RunFiles.Evaluation,
        RunFiles.Info, RunFiles.Report, RunFiles.Finished];
    private static readonly string[] OwnFolders =
        [RunFiles.Model, TrackingFlags.TensorBoard, TrackingFlags.Wandb, RunFiles.Checkpoints];

    private readonly RunLock guard;
    private IReadOnlyDictionary<string, FileEntry>? recorded;
    private bool settingsChanged;

    private RunFolder(string path, RunLock guard) => (Path, this.guard) = (path, guard);

    public string Path { get; }

    /// <summary>The folder's own name.</summary>
    public string Name => System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(Path)));

    /// <summary>Where the run saves its model.</summary>
    public string Model => this[RunFiles.Model];

    /// <summary>Where the run's checkpoints lie.</summary>
    public string Checkpoints => this[RunFiles.Checkpoints];

    /// <summary>Does an earlier process' run go on?</summary>
    public bool Resumes => recorded is not null;

    /// <summary>Use no checkpoint of a later step, when one was named to go on from.</summary>
    public long ResumeAtMost { get; private init; } = long.MaxValue;

    /// <summary>Path of a file of the run.</summary>
    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>Makes the folder of a new run, or opens that of the run to resume, and locks it.</summary>
    /// <exception cref="ConfigurationException">It holds something and neither --overwrite nor --resume was given, the path is a file,
    /// there is no such run, or another process has it.</exception>
    public static RunFolder Open(VerbContext context)
    {
        string verb = context.Kind.Verb;
        var (output, resume) = (context.Settings.Get<OutputFlags>(), context.Settings.Get<CheckpointFlags>().Resume);
        if (resume is not null && output.Overwrite)
            throw new ConfigurationException(["--resume continues a run and --overwrite removes it; give one of the two."]);
        var (found, atMost) = resume is null ? (null, long.MaxValue) : Find(verb, resume, output.Output);
        string path = found ?? output.Output ?? NewPath(verb);
        if (found is null)
            RefuseIfTaken(path, output.Overwrite);
        var folder = Lock(path, found is null ? "--output" : "--resume", mustBeFree: found is null && !output.Overwrite, atMost);
        try
        {
            if (found is not null)
                folder.recorded = YamlSettingsFile.Read(folder[RunFiles.Config]).ToDictionary(e => e.Key);
            else
                folder.Clear();
            return folder;
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Makes a folder, if need be, and locks it.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="flag">The flag that named it.</param>
    /// <param name="mustBeFree">Refuse one that holds files: another process may have begun and ended since that was last asked.</param>
    /// <param name="resumeAtMost">Use no checkpoint of a later step.</param>
    internal static RunFolder Lock(string path, string flag, bool mustBeFree, long resumeAtMost = long.MaxValue)
    {
        Attempt(path, flag, () => Directory.CreateDirectory(path));
        var guard = Attempt(path, flag, () => RunLock.Take(path));
        try
        {
            if (mustBeFree)
                RefuseIfTaken(path, overwrite: false);
            return new RunFolder(path, guard) { ResumeAtMost = resumeAtMost };
        }
        catch
        {
            guard.Dispose();
            throw;
        }
    }

    /// <summary>Makes or opens something in a folder that a flag names.</summary>
    /// <exception cref="ConfigurationException">It cannot be done; the message names flag, folder and reason.</exception>
    public static T Attempt<T>(string path, string flag, Func<T> make)
    {
        try
        {
            return make();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException([$"{flag} {path} cannot be made or written: {e.Message}"]);
        }
    }

    /// <summary>The settings file of the run that --resume names on a command line, or null.</summary>
    public static string? ConfigOf(string verb, ParseResult command)
    {
        string? resume = command.GetResult("--resume") is null ? null
            : command.GetValue<string>("--resume") ?? CheckpointFlags.Auto; // given without a value
        string? output = command.GetResult("--output") is null ? null : command.GetValue<string>("--output");
        return resume is { Length: > 0 } && Find(verb, resume, output).Folder is { } folder
            ? System.IO.Path.Combine(folder, RunFiles.Config) : null;
    }

    /// <summary>Refuses a path where something is in the way.</summary>
    /// <exception cref="ConfigurationException">It is a file, or a folder with files that may not be overwritten.</exception>
    public static void RefuseIfTaken(string path, bool overwrite)
    {
        if (File.Exists(path))
            throw new ConfigurationException([$"--output {path} is a file; name a folder."]);
        if (!overwrite && Directory.Exists(path) && RunFiles.IsTaken(path))
            throw new ConfigurationException([$"--output {path} already holds files; choose another folder or add --overwrite"
                + (File.Exists(System.IO.Path.Combine(path, RunFiles.Config)) ? $", or resume that run: --resume {path}." : ".")]);
    }

    /// <summary>
    /// Writes the settings of the run, so that --config can repeat it. Where a run is resumed, refuses settings that it cannot resume with.
    /// </summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="resolved">Values that were resolved later than binding, by property name.</param>
    /// <exception cref="ConfigurationException">Lists every other setting that is not the run's.</exception>
    public void WriteConfig(
        VerbContext context, IReadOnlyDictionary<string, object?>? resolved = null)
    {
        string text = context.Settings.ToYaml($"rlhf {context.Kind.Verb} --config config.yaml repeats this run.", resolved, context.Pins);
        if (recorded is not null)
            CompareSettings(context, text);
        AtomicFile.WriteAllText(this[RunFiles.Config], text);
    }

    /// <summary>The settings that were written.</summary>
    public IReadOnlyList<FileEntry> ReadConfig() => YamlSettingsFile.Read(this[RunFiles.Config]);

    /// <summary>Rows that a printed plan ends with: where settings come from, what computes, and where the run writes.</summary>
    public IEnumerable<(string Name, string Value)> Facts(VerbContext context, TorchSharp.torch.Device device) =>
        [.. context.SettingsFacts(), ("device", LanguageModels.DeviceName(device)), ("output", Path)];

    /// <summary>Writes summary.json.</summary>
    public void WriteSummary<T>(T summary) =>
        AtomicFile.WriteAllText(this[RunFiles.Summary], JsonSerializer.Serialize(summary, Screen.JsonOptions) + "\n");

    /// <summary>
    /// True, and says so, where the run to resume is done and no changed setting asks for more. Else it is not done any more.
    /// </summary>
    public bool SayIfFinished(Screen screen)
    {
        if (!Resumes || settingsChanged || !RunFiles.IsFinished(Path))
        {
            File.Delete(this[RunFiles.Finished]);
            return false;
        }
        screen.Line($"{Screen.Safe(Path)} is finished: its model is in {Screen.Safe(Model)}. There is nothing to resume.");
        return true;
    }

    public void Dispose() => guard.Dispose();

    private void Clear()
    {
        foreach (var path in Directory.EnumerateFiles(Path).Where(path => AtomicFile.IsUnfinished(System.IO.Path.GetFileName(path))))
            File.Delete(path);
        foreach (var name in OwnFiles)
            File.Delete(this[name]);
        foreach (var name in OwnFolders.Where(name => Directory.Exists(this[name])))
            Directory.Delete(this[name], recursive: true);
    }

    /// <summary>
    /// The folder of the run to resume, and the step of the checkpoint if one was named; null for auto when there is none.
    /// </summary>
    private static (string? Folder, long AtMost) Find(string verb, string resume, string? output)
    {
        bool IsRun(string folder) => File.Exists(System.IO.Path.Combine(folder, RunFiles.Config));
        if (resume == CheckpointFlags.Auto)
            return (output is not null ? IsRun(output) ? output : null
                : Directory.Exists(RunsFolder) ? Directory.EnumerateDirectories(RunsFolder, verb + "-*").Where(IsRun)
                    .MaxBy(folder => File.GetLastWriteTimeUtc(System.IO.Path.Combine(folder, RunFiles.Config))) : null, long.MaxValue);
        string named = System.IO.Path.TrimEndingDirectorySeparator(resume);
        if (!Directory.Exists(named))
            throw new ConfigurationException([$"--resume {resume} does not exist; name the folder of a run, or auto."]);
        long step = CheckpointStore.StepOf(named);
        string folder = step < 0 ? named
            : System.IO.Path.GetDirectoryName(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(named))) ?? named;
        if (!IsRun(folder))
            throw new ConfigurationException([$"--resume {resume} is no run: there is no {RunFiles.Config} in {folder}."]);
        if (RunFiles.VerbOf(folder) is { Length: > 0 } other && other != verb)
            throw new ConfigurationException(
                [$"--resume {resume} is a run of rlhf {other}; resume it with: rlhf {other} --resume {folder}"]);
        if (output is not null && System.IO.Path.GetFullPath(output) != System.IO.Path.GetFullPath(folder))
            throw new ConfigurationException([$"--resume {resume} resumes in its own folder; leave --output {output} out."]);
        return (folder, step < 0 ? long.MaxValue : step);
    }

    private void CompareSettings(VerbContext context, string text)
    {
        var allowed = context.Settings.MayChange();
        List<string> refused = [];
        foreach (var entry in YamlSettingsFile.Parse(text, RunFiles.Config))
            if (recorded!.TryGetValue(entry.Key, out var was) && (was.Value, was.IsNull) != (entry.Value, entry.IsNull))
            {
                string flag = context.Settings.FlagOf(entry.Key);
                settingsChanged = true;
                string change = $"{flag} is {Shown(entry)}, and the run began with {Shown(was)}";
                if (!allowed.Contains(flag))
                    refused.Add($"{change}.");
                else
                    context.Screen.Line($"[yellow]{Screen.Safe(change)}.[/]");
            }
        if (refused.Count > 0)
            throw new ConfigurationException([.. refused, $"{Path} resumes with its own settings; only these may change: "
                + string.Join(", ", allowed) + ". Begin a new run in another folder for others."]);
    }

    private static string Shown(FileEntry entry) => entry.IsNull ? "unset" : entry.Value;

    private const string RunsFolder = "runs";

    private static string NewPath(string verb)
    {
        string time = DateTime.Now.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture);
        string path = System.IO.Path.Combine(RunsFolder, $"{verb}-{time}");
        string candidate = path;
        for (int n = 2; Directory.Exists(candidate); n++)
            candidate = $"{path}-{n}";
        return candidate;
    }
}
