namespace Rlhf.Fuzz;

/// <summary>A folder in memory, for readers that want a path.</summary>
internal sealed class Scratch : IDisposable
{
    public Scratch()
    {
        var memory = "/dev/shm";
        Folder = Directory.CreateDirectory(Path.Combine(
            Directory.Exists(memory) ? memory : Path.GetTempPath(), $"{FuzzTarget.FileName}-{Environment.ProcessId}")).FullName;
    }

    /// <summary>Its path contains <see cref="FuzzTarget.FileName"/>.</summary>
    public string Folder { get; }

    /// <summary>Writes a file and gives its path.</summary>
    public string Write(string name, byte[] content)
    {
        var path = Path.Combine(Folder, name);
        File.WriteAllBytes(path, content);
        return path;
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
