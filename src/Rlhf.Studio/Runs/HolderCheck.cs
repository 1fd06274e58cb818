using System.Text;
using Rlhf.Runs;
using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Runs;

/// <summary>Tells whether a run's process really lives and has its folder, so that a file left behind never points at a stranger.</summary>
internal static class HolderCheck
{
    /// <summary>Is the run's folder locked by a living process?</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="holder">Who is said to have it.</param>
    public static bool IsHeld(string folder, RunHolder? holder)
    {
        if (holder is { IsHere: true } && OperatingSystem.IsLinux())
        {
            if (!Directory.Exists($"/proc/{holder.ProcessId}"))
                return false;
            if (HoldsLock(folder, holder.ProcessId) is { } known)
                return known;
        }
        return IsLocked(Path.Combine(folder, RunFiles.Lock));
    }

    /// <summary>
    /// Does this process have the lock of this folder? By what the kernel says of its open files, without touching the lock. Null where
    /// the kernel does not say, as of another user's process.
    /// </summary>
    public static bool? HoldsLock(string folder, int processId)
    {
        if (Files.FolderGuard.RealPath(Path.Combine(folder, RunFiles.Lock)) is not { } path)
            return false;
        try
        {
            foreach (var descriptor in Directory.EnumerateFileSystemEntries($"/proc/{processId}/fd"))
                if (new FileInfo(descriptor).LinkTarget == path
                    && File.ReadAllText($"/proc/{processId}/fdinfo/{Path.GetFileName(descriptor)}") is var info
                    && info.Split('\n').Any(l => l.StartsWith("lock:", StringComparison.Ordinal) && l.Contains("WRITE", StringComparison.Ordinal)))
                    return true;
            return false;
        }
        catch (DirectoryNotFoundException)
        {
            return false; // it has ended
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Is this process a training run of this program?</summary>
    public static bool IsTraining(int processId)
    {
        try
        {
            string[] words = Encoding.UTF8.GetString(File.ReadAllBytes($"/proc/{processId}/cmdline")).Split('\0');
            int program = Array.FindIndex(words, w => Path.GetFileName(w) is "rlhf" or "Rlhf.Cli" or "Rlhf.Cli.dll");
            return program >= 0 && program + 1 < words.Length && TrainingKinds.Find(words[program + 1]) is not null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    // Asks for a shared lock, which the run's own excludes, and gives it back at once.
    private static bool IsLocked(string path)
    {
        try
        {
            if (!RegularFile.Exists(path))
                return false;
            using var probe = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            return false;
        }
        catch (IOException)
        {
            return true;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
    }
}
