using System.Collections.Concurrent;
using Rlhf.Runs;
using Rlhf.Runtime.Files;
using Rlhf.Studio.Files;
using Rlhf.Tracking;
using Rlhf.Training.Checkpoints;
using Rlhf.Weights;

namespace Rlhf.Studio.Runs;

/// <summary>Finds the runs under the runs folder and tells how they stand. Everything is read anew when its file has changed.</summary>
public sealed class RunCatalog(StudioOptions options)
{
    private const int MostDepth = 2, MostRuns = 500, TailBytes = 1 << 16;
    private static readonly TimeSpan FreshFor = TimeSpan.FromMilliseconds(400);
    private readonly FolderGuard guard = new(options.RunsFolder);
    private readonly ConcurrentDictionary<string, Ends> ends = new();
    private readonly ConcurrentDictionary<string, (DateTime Written, RunConfig Config)> configs = new();
    private readonly ConcurrentDictionary<string, ((DateTime Info, DateTime Summary) Written, RunTimes Times)> times = new();
    private readonly Lock listing = new();
    private IReadOnlyList<RunListing> listed = [];
    private long listedAt = long.MinValue;

    /// <summary>First and last line of a metrics file of this length and time.</summary>
    private sealed record Ends(long Length, DateTime Written, DateTime? Started, long Step, DateTime? Updated, Dictionary<string, double> Latest);

    /// <summary>The runs folder's full path.</summary>
    public string Folder => guard.Folder;

    /// <summary>The same for people: with ~ for their home.</summary>
    public string FolderForPeople => Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 1 } home
        && !OperatingSystem.IsWindows() && Folder.StartsWith(home + "/", StringComparison.Ordinal) ? "~" + Folder[home.Length..] : Folder;

    /// <summary>All runs, those that run first and then the newest first.</summary>
    public IReadOnlyList<RunListing> List()
    {
        lock (listing)
        {
            if (listedAt != long.MinValue && Environment.TickCount64 - listedAt < FreshFor.TotalMilliseconds)
                return listed;
            listed = [.. Ids().Take(MostRuns).Select(Find).OfType<RunListing>()
                .OrderBy(r => r.State == RunState.Running ? 0 : 1).ThenByDescending(r => r.Updated ?? DateTime.MinValue).ThenBy(r => r.Id)];
            listedAt = Environment.TickCount64;
            return listed;
        }
    }

    /// <summary>Forgets what was listed, so that the next list is new.</summary>
    public void Refresh()
    {
        lock (listing)
            listedAt = long.MinValue;
    }

    /// <summary>One run, or null.</summary>
    public RunListing? Find(string id)
    {
        if (FolderOf(id) is not { } folder)
            return null;
        // First: what is read after a run has ended is what it ended with.
        var holder = RunHolder.Read(folder);
        bool running = HolderCheck.IsHeld(folder, holder);
        var (config, ending) = (ConfigOf(id), EndsOf(id));
        long? checkpoint = NewestCheckpoint(folder);
        var state = running ? RunState.Running
            : RunFiles.IsFinished(folder) ? RunState.Finished
            : checkpoint is not null && checkpoint >= ending.Step ? RunState.Stopped : RunState.Killed;
        var times = TimesOf(id);
        var started = times.Started ?? ending.Started;
        return new(id, config.Verb, state, ending.Step, times.Steps ?? config.TotalSteps, ending.Latest, started, ending.Updated, holder, checkpoint,
            FileOf(id, RunFiles.Report) is not null || options.MakeReport is not null && ending.Step > 0,
            ModelOf(id) is not null)
        {
            Took = times.SoFar(state is RunState.Finished or RunState.Stopped, started, ending.Updated),
        };
    }

    /// <summary>The real path of a run's folder, or null for what is no run, or lies outside.</summary>
    public string? FolderOf(string id) => id.Length > 0 && guard.Resolve(id) is { } folder && IsRun(folder) ? folder : null;

    /// <summary>The real path of a file of a run, or null where there is none, or it lies outside the runs folder.</summary>
    /// <param name="id">The run.</param>
    /// <param name="name">The file's name, or its path from the run's folder.</param>
    public string? FileOf(string id, string name) =>
        FolderOf(id) is not null && guard.Resolve(id + "/" + name) is { } path && RegularFile.Exists(path) ? path : null;

    /// <summary>The real path of the folder of a run's model, or of its adapter; null where it has saved none.</summary>
    public string? ModelOf(string id) => (FileOf(id, $"{RunFiles.Model}/config.json") ?? FileOf(id, $"{RunFiles.Model}/{AdapterFolder.ConfigName}"))
        is { } file ? Path.GetDirectoryName(file) : null;

    /// <summary>The real path of a run's folder, if every one of these files that is there lies in the runs folder; else null.</summary>
    /// <param name="id">The run.</param>
    /// <param name="names">Files that somebody is going to read.</param>
    public string? FolderToRead(string id, params ReadOnlySpan<string> names)
    {
        if (FolderOf(id) is not { } folder)
            return null;
        foreach (var name in names)
            if (Path.Exists(Path.Combine(folder, name)) && FileOf(id, name) is null)
                return null;
        return folder;
    }

    /// <summary>The real path of a folder in the runs folder, or null.</summary>
    public string? Inside(string path) => guard.Resolve(
        Path.IsPathRooted(path) ? Path.GetRelativePath(Folder, path) : Path.GetRelativePath(Folder, Path.GetFullPath(path)));

    /// <summary>A run's settings; empty where they cannot be read.</summary>
    public RunConfig ConfigOf(string id)
    {
        if (FileOf(id, RunFiles.Config) is not { } path)
            return RunConfig.Empty;
        var written = File.GetLastWriteTimeUtc(path);
        if (configs.TryGetValue(id, out var known) && known.Written == written)
            return known.Config;
        var config = RunConfig.Read(path);
        configs[id] = (written, config);
        return config;
    }

    private RunTimes TimesOf(string id)
    {
        string? info = FileOf(id, RunFiles.Info), summary = FileOf(id, RunFiles.Summary);
        if (info is null && summary is null)
            return default;
        var written = (WrittenAt(info), WrittenAt(summary));
        if (times.TryGetValue(id, out var known) && known.Written == written)
            return known.Times;
        var read = RunTimes.Read(info, summary);
        times[id] = (written, read);
        return read;
    }

    private static DateTime WrittenAt(string? path) => path is null ? default : File.GetLastWriteTimeUtc(path);

    internal FileStream? Open(string id, string name) => FileOf(id, name) is { } path ? JsonlFile.Open(path) : null;

    private static bool IsRun(string folder) => File.Exists(Path.Combine(folder, RunFiles.Config))
        && (File.Exists(Path.Combine(folder, RunFiles.Metrics)) || File.Exists(Path.Combine(folder, RunFiles.Lock)));

    private IEnumerable<string> Ids()
    {
        var waiting = new Queue<(string Id, int Depth)>([("", 0)]);
        while (waiting.TryDequeue(out var next))
        {
            if (guard.Resolve(next.Id) is not { } folder)
                continue;
            if (next.Id.Length > 0 && IsRun(folder))
                yield return next.Id;
            else if (next.Depth < MostDepth)
                foreach (var name in Subfolders(folder))
                    waiting.Enqueue((next.Id.Length == 0 ? name : $"{next.Id}/{name}", next.Depth + 1));
        }
    }

    private static string[] Subfolders(string folder)
    {
        try
        {
            return [.. Directory.EnumerateDirectories(folder).Select(f => Path.GetFileName(f)).Where(n => !n.StartsWith('.')).Order()];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static long? NewestCheckpoint(string folder) => Subfolders(Path.Combine(folder, RunFiles.Checkpoints))
        .Select(CheckpointStore.StepOf).Where(step => step >= 0).Max(step => (long?)step);

    private Ends EndsOf(string id)
    {
        var none = new Ends(0, default, null, 0, null, []);
        try
        {
            using var stream = Open(id, RunFiles.Metrics);
            if (stream is null)
                return none;
            var written = File.GetLastWriteTimeUtc(stream.SafeFileHandle);
            if (ends.TryGetValue(id, out var known) && known.Length == stream.Length && known.Written == written)
                return known;
            return ends[id] = ReadEnds(stream, written);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return none;
        }
    }

    private static Ends ReadEnds(FileStream stream, DateTime written)
    {
        MetricHistory first = new(), last = new();
        var buffer = new byte[(int)Math.Min(TailBytes, stream.Length)];
        stream.ReadExactly(buffer);
        if (buffer.AsSpan().IndexOf((byte)'\n') is var end and > 0)
            first.Add(JsonlRow.Parse(buffer.AsSpan(0, end)));
        // The last line may be that of an evaluation, which has no reward: then earlier ones fill in.
        long length = stream.Length;
        JsonlFile.ReadLines(stream, length - buffer.Length, (_, line) => last.Add(JsonlRow.Parse(line)));
        return new(length, written, first.Started?.UtcDateTime, last.LastStep, last.Updated?.UtcDateTime, last.Latest);
    }
}
