using System.Globalization;
using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary>
/// Keeps two processes from writing to one run's folder. The operating system holds the lock, so that it ends with the process,
/// however that ends; the file stays and says who had it.
/// </summary>
internal sealed class RunLock : IDisposable
{
    public const string FileName = ".lock";
    private readonly FileStream file;

    private RunLock(FileStream file) => this.file = file;

    /// <summary>Locks a folder that exists.</summary>
    /// <exception cref="ConfigurationException">Another process has it.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static RunLock Take(string folder)
    {
        string path = Path.Combine(folder, FileName);
        FileStream file;
        try
        {
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (File.Exists(path) && e is not (FileNotFoundException or DirectoryNotFoundException))
        {
            throw new ConfigurationException([$"{folder} is in use by {Owner(path) ?? "another process"}; wait until that run ends, stop "
                + "it, or choose another --output."]);
        }
        file.SetLength(0);
        string time = DateTime.Now.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
        file.Write(System.Text.Encoding.UTF8.GetBytes($"process {Environment.ProcessId} on {Environment.MachineName} since {time}\n"));
        file.Flush();
        return new(file);
    }

    public void Dispose() => file.Dispose();

    private static string? Owner(string path)
    {
        try
        {
            using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
            var text = new char[200];
            return reader.Read(text) is var length and > 0 ? Terminal.Screen.Clean(new(text, 0, length)).Trim() : null;
        }
        catch (IOException)
        {
            return null; // Windows shows nothing of a file that is locked
        }
    }
}
