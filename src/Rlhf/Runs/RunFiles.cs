using Rlhf.Runtime.Files;
using Rlhf.Tracking;

namespace Rlhf.Runs;

/// <summary>Names of the files and folders in a run's folder, for all who write or read one.</summary>
internal static class RunFiles
{
    /// <summary>The settings that repeat the run.</summary>
    public const string Config = "config.yaml";

    /// <summary>What made the run, and how it ended.</summary>
    public const string Info = "run.json";

    /// <summary>One JSON object per step.</summary>
    public const string Metrics = JsonlSink.MetricsFile;

    /// <summary>One JSON object per row of a table: sampled texts, warnings.</summary>
    public const string Samples = JsonlSink.SamplesFile;

    /// <summary>What the run came to.</summary>
    public const string Summary = "summary.json";

    /// <summary>The evaluation before and after, with every query and response.</summary>
    public const string Evaluation = "evaluation.json";

    /// <summary>The report that a run ends with.</summary>
    public const string Report = "report.html";

    /// <summary>Is there when all steps are done and everything is saved.</summary>
    public const string Finished = ".finished";

    /// <summary>Locked by the process that has the folder.</summary>
    public const string Lock = ".lock";

    /// <summary>Says which process that is.</summary>
    public const string LockOwner = ".lock-owner";

    /// <summary>What a run says that was resumed from the studio.</summary>
    public const string ResumeLog = "resume.log";

    /// <summary>Folder of the checkpoints.</summary>
    public const string Checkpoints = "checkpoints";

    /// <summary>Folder of the trained model.</summary>
    public const string Model = "model";

    /// <summary>Does a folder hold anything but a lock, and what processes left that were killed while they wrote a file?</summary>
    /// <param name="folder">A folder that exists.</param>
    public static bool IsTaken(string folder) => Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName)
        .Any(name => name is not (Lock or LockOwner) && !AtomicFile.IsUnfinished(name!));

    /// <summary>
    /// Are all of a run's steps done? A run that is stopped writes its summary, too; only those of versions before checkpoints, which had
    /// no lock, end with it.
    /// </summary>
    /// <param name="folder">The run's folder.</param>
    public static bool IsFinished(string folder) => File.Exists(Path.Combine(folder, Finished))
        || File.Exists(Path.Combine(folder, Summary)) && !File.Exists(Path.Combine(folder, Lock));

    /// <summary>The verb that made a run, as its config.yaml begins: "# rlhf ppo --config config.yaml repeats this run."</summary>
    /// <param name="folder">The run's folder.</param>
    /// <returns>That of one of <see cref="TrainingKinds.All"/>; empty where the file is not there or does not say.</returns>
    /// <exception cref="IOException">The file cannot be read, or is a pipe, a socket or a device.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static string VerbOf(string folder)
    {
        string path = Path.Combine(folder, Config);
        if (!File.Exists(path))
            return "";
        using var reader = new StreamReader(RegularFile.Open(path));
        var start = new char[40];
        return VerbIn(new string(start, 0, reader.ReadBlock(start)));
    }

    /// <summary>The verb that a text names which begins as config.yaml does; empty where it names none.</summary>
    /// <param name="text">The file's text, or its first line.</param>
    public static string VerbIn(string text) =>
        text.Split([' ', '\r', '\n'], 4) is ["#", "rlhf", var verb, ..] && TrainingKinds.Find(verb) is not null ? verb : "";
}
