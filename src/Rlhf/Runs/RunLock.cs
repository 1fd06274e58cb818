using System.Globalization;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;

namespace Rlhf.Runs;

/// <summary>
/// Keeps two processes from writing to one run's folder. The operating system holds the lock, so that it ends with the process,
/// however that ends; a file beside it says who has it.
/// </summary>
internal sealed class RunLock : IDisposable
{
    private readonly FileStream file;

    private RunLock(FileStream file) => this.file = file;

    /// <summary>Locks a folder that exists.</summary>
    /// <exception cref="ConfigurationException">Another process has it.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static RunLock Take(string folder)
    {
        string path = Path.Combine(folder, RunFiles.Lock);
        FileStream file;
        RegularFile.Require(path);
        try
        {
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (File.Exists(path) && e is not (FileNotFoundException or DirectoryNotFoundException))
        {
            throw new ConfigurationException([$"{folder} is in use by {Owner(folder) ?? "another process"}; wait until that run ends, stop "
                + "it, or choose another --output."]);
        }
        string time = DateTime.Now.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
        AtomicFile.WriteAllText(Path.Combine(folder, RunFiles.LockOwner),
            $"process {Environment.ProcessId} on {Environment.MachineName} since {time}\n");
        return new(file);
    }

    public void Dispose() => file.Dispose();

    private static string? Owner(string folder)
    {
        try
        {
            using var reader = new StreamReader(RegularFile.Open(Path.Combine(folder, RunFiles.LockOwner))); // a locked file cannot be read
            var text = new char[200];
            return reader.Read(text) is var length and > 0 ? UntrustedText.Clean(new(text, 0, length)).Trim() : null;
        }
        catch (IOException)
        {
            return null;
        }
    }
}
