using System.IO.MemoryMappedFiles;

namespace Rlhf.Fuzz;

/// <summary>
/// Ends the process when one input takes too long, and keeps the current input in a file that outlives a process that dies
/// (a stack overflow cannot be caught).
/// </summary>
internal sealed class Watchdog : IDisposable
{
    private const long LongestMilliseconds = 10_000;
    private const int Size = 1 << 20;

    private readonly string path;
    private readonly MemoryMappedFile file;
    private readonly MemoryMappedViewAccessor view;
    private readonly Timer timer;
    private long begun;
    private string target = "";

    public Watchdog(string folder)
    {
        path = Path.Combine(Directory.CreateDirectory(folder).FullName, "current-input");
        file = MemoryMappedFile.CreateFromFile(path, FileMode.Create, null, Size);
        view = file.CreateViewAccessor();
        timer = new(_ => Look(), null, 1000, 1000);
    }

    /// <summary>The file holds the input's length in four bytes and then the input.</summary>
    public void Begin(string name, byte[] input)
    {
        target = name;
        view.Write(0, input.Length);
        view.WriteArray(4, input, 0, Math.Min(input.Length, Size - 4));
        Volatile.Write(ref begun, Environment.TickCount64);
    }

    public void End() => Volatile.Write(ref begun, 0);

    private void Look()
    {
        long since = Volatile.Read(ref begun);
        if (since == 0 || Environment.TickCount64 - since < LongestMilliseconds)
            return;
        Console.Error.WriteLine($"{target}: an input takes more than {LongestMilliseconds / 1000} s; it is in {path}.");
        Environment.Exit(3);
    }

    public void Dispose()
    {
        timer.Dispose();
        view.Dispose();
        file.Dispose();
        File.Delete(path);
    }
}
