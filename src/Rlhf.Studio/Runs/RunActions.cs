using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Rlhf.Runs;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;

namespace Rlhf.Studio.Runs;

/// <summary>What came of stopping or resuming a run.</summary>
/// <param name="Done">Did it happen?</param>
/// <param name="Message">One sentence for the person who asked.</param>
public readonly record struct ActionResult(bool Done, string Message);

/// <summary>Stops runs and lets them go on, by their processes.</summary>
public sealed class RunActions(RunCatalog runs, StudioOptions options)
{
    private const int SigTerm = 15, PidfdOpen = 434, PidfdSendSignal = 424, LogTailBytes = 4096;
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);

    // A second SIGTERM ends a run without saving: each process gets one.
    private readonly ConcurrentDictionary<string, int> stopping = new();

    // In a session of its own the run outlives the studio and its terminal. The last line of the log tells how it ended.
    private const string StartScript = """
        log=$1; shift
        exec >>"$log" 2>&1 </dev/null
        if command -v setsid >/dev/null 2>&1; then
            setsid sh -c '"$@"; echo "rlhf ended with $?"' sh "$@" &
        else
            (trap '' INT; "$@"; echo "rlhf ended with $?") &
        fi
        """;

    /// <summary>Was this run asked to stop, and has not ended yet?</summary>
    public bool IsStopping(RunListing run) =>
        run.State == RunState.Running && run.Holder is { } holder && stopping.TryGetValue(run.Id, out int process) && process == holder.ProcessId;

    /// <summary>Why a running run cannot be stopped from here, or null when it can.</summary>
    public static string? WhyNotStop(RunListing run) =>
        run.Holder is null ? "Its folder does not say which process it is."
        : !run.Holder.IsHere ? $"It runs on {run.Holder.Machine}; stop it there."
        : !OperatingSystem.IsLinux() ? "Runs can be stopped from the studio on Linux only; press Ctrl-C in its terminal." : null;

    /// <summary>
    /// Asks a run to save a checkpoint and end: SIGTERM to the process that its folder names, if that is on this machine, has the
    /// folder's lock, and is a training run of this program.
    /// </summary>
    public ActionResult Stop(string id)
    {
        if (runs.FolderOf(id) is not { } folder || runs.Find(id) is not { } run)
            return new(false, "There is no such run.");
        if (run.State != RunState.Running)
            return new(false, "It does not run any more.");
        if (WhyNotStop(run) is { } reason)
            return new(false, reason);
        int process = run.Holder!.ProcessId;
        if (!stopping.TryAdd(id, process) && stopping[id] == process)
            return new(false, "It was asked already, and ends after the step that it is in.");
        stopping[id] = process;
        // The descriptor means this process and no later one of the same number; so what is checked is what gets the signal.
        long descriptor = SystemCall(PidfdOpen, process, 0, 0, 0);
        try
        {
            bool isRun = descriptor >= 0 && HolderCheck.HoldsLock(folder, process) == true && HolderCheck.IsTraining(process);
            if (isRun && SystemCall(PidfdSendSignal, descriptor, SigTerm, 0, 0) == 0)
                return new(true, "It ends after the step that it is in.");
            stopping.TryRemove(id, out _);
            return new(false, isRun ? $"Process {process} does not take the signal; is it another user's?"
                : $"Process {process} is not the run that its folder names, so nothing was done.");
        }
        finally
        {
            if (descriptor >= 0)
                Close((int)descriptor);
            runs.Refresh();
        }
    }

    /// <summary>The command that resumes a run, for a terminal.</summary>
    public string ResumeCommand(RunListing run) => $"rlhf {run.Verb} --resume {ShellWord.Of(Path.Combine(runs.Folder, run.Id))}";

    /// <summary>Starts <c>rlhf VERB --resume FOLDER</c> as a process of its own, and waits until it has the folder or has ended.</summary>
    public async Task<ActionResult> ResumeAsync(string id, CancellationToken cancellation = default)
    {
        runs.Refresh();
        if (runs.FolderOf(id) is not { } folder || runs.Find(id) is not { } run)
            return new(false, "There is no such run.");
        if (!run.CanResume)
            return new(false, run.State == RunState.Running ? "It runs already." : "It is finished.");
        if (!CanStart)
            return new(false, $"The studio cannot start it here. In a terminal: {ResumeCommand(run)}");
        string log = Path.Combine(folder, RunFiles.ResumeLog);
        if (new FileInfo(log).LinkTarget is not null)
            return new(false, $"{RunFiles.ResumeLog} in its folder is a link, which the studio does not write through.");
        if (Path.Exists(log) && !RegularFile.Exists(log))
            return new(false, $"{RunFiles.ResumeLog} in its folder is no regular file.");
        long before = File.Exists(log) ? new FileInfo(log).Length : 0;
        await Launch(log, [run.Verb, "--resume", folder], cancellation);
        return await Outcome(id, log, before, "It resumes from its last checkpoint.", "It could not be resumed", cancellation);
    }

    /// <summary>Can the studio start runs?</summary>
    public bool CanStart => options.Command.Count > 0 && !OperatingSystem.IsWindows();

    /// <summary>
    /// Starts <c>rlhf VERB ... --output FOLDER</c> for a new run as a process of its own, and waits until it has the folder or has ended.
    /// What it says goes to a log beside the folder.
    /// </summary>
    /// <param name="verb">The verb.</param>
    /// <param name="id">The new run: a name in the runs folder.</param>
    /// <param name="arguments">The rest of the command.</param>
    /// <param name="cancellation">Ends the waiting, not the run.</param>
    public async Task<ActionResult> StartAsync(
        string verb, string id, IEnumerable<string> arguments, CancellationToken cancellation = default)
    {
        string folder = Path.Combine(runs.Folder, id), log = folder + ".log";
        if (!CanStart)
            return new(false, "The studio cannot start it here; use the command.");
        if (id != Path.GetFileName(id) || id.StartsWith('.') || IsTaken(folder) || IsTaken(log))
            return new(false, $"There is something of the name {id} already.");
        Directory.CreateDirectory(runs.Folder);
        await Launch(log, [verb, .. arguments, "--output", folder], cancellation);
        return await Outcome(id, log, 0, "It trains; Runs shows how it goes.", "It could not begin", cancellation);
    }

    // A link is something, even one that leads nowhere.
    private static bool IsTaken(string path) => Path.Exists(path) || new FileInfo(path).LinkTarget is not null;

    private async Task Launch(string log, IEnumerable<string> arguments, CancellationToken cancellation)
    {
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        foreach (var word in (string[])["-c", StartScript, "sh", log, .. options.Command, .. arguments])
            start.ArgumentList.Add(word);
        start.Environment.Remove(StudioOptions.TokenVariable);
        using var shell = Process.Start(start)!;
        await shell.WaitForExitAsync(cancellation);
    }

    private async Task<ActionResult> Outcome(
        string id, string log, long before, string success, string failure, CancellationToken cancellation)
    {
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < StartLimit; await Task.Delay(200, cancellation))
        {
            runs.Refresh();
            if (runs.Find(id) is { State: RunState.Running or RunState.Finished })
                return new(true, success);
            string said = LogTail(log, before);
            if (said.Contains("rlhf ended with", StringComparison.Ordinal))
                return new(false, $"{failure}: " + string.Join(' ', said.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                    .Where(l => !l.StartsWith("rlhf ended with", StringComparison.Ordinal)).TakeLast(2)).Trim());
        }
        return new(false, $"It has not begun after {StartLimit.TotalSeconds:0} seconds; {Path.GetFileName(log)} tells more.");
    }

    private static string LogTail(string log, long from)
    {
        using var stream = new FileStream(log, FileMode.OpenOrCreate, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        stream.Position = Math.Max(from, stream.Length - LogTailBytes);
        return new StreamReader(stream).ReadToEnd();
    }

    [DllImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static extern long SystemCall(long number, long a, long b, long c, long d);

    [DllImport("libc", EntryPoint = "close")]
    private static extern int Close(int descriptor);
}
