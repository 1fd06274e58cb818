using Rlhf.Runtime.Files;

namespace Rlhf.Studio.Labeling;

/// <summary>
/// The file of all decisions, one line each, that only grows. Every line is on the disk before the next pair is shown. Several
/// processes may write: each reads what the others wrote before it adds its own. Not thread-safe.
/// </summary>
/// <param name="path">The file; it need not exist yet.</param>
public sealed class LabelJournal(string path)
{
    private const int LongestLine = 1 << 20, ChunkBytes = 1 << 16;
    private const long MostBytes = 1L << 30;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5), Pause = TimeSpan.FromMilliseconds(15);

    private readonly List<Decision> decisions = [];
    private long offset; // up to where whole lines were read

    /// <summary>The file.</summary>
    public string Path => path;

    /// <summary>All decisions that were read or written so far, in their order.</summary>
    public IReadOnlyList<Decision> Decisions => decisions;

    /// <summary>Lines that could not be read: the last one before a crash, say.</summary>
    public int Unreadable { get; private set; }

    /// <summary>Is the file still there with all that was read?</summary>
    public bool IsWhole => offset == 0 || (File.Exists(path) && new FileInfo(path).Length >= offset);

    /// <summary>Reads what is new in the file.</summary>
    /// <exception cref="IOException">The file cannot be read, or was cut.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public void Update()
    {
        if (!File.Exists(path))
        {
            if (offset > 0)
                throw new IOException($"{path} is not there any more. Put it back, or reload the page to begin anew.");
            return;
        }
        using var stream = Open(FileMode.Open);
        ReadAll(stream);
    }

    /// <summary>Adds a decision, on the disk when this returns. Nobody else writes while it is made.</summary>
    /// <param name="decide">Makes it, when all earlier ones have been read; null: nothing is added.</param>
    /// <param name="afterwards">What else is to be done before others may write.</param>
    /// <exception cref="IOException">The file cannot be written, or somebody else has it for long.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public Decision? Append(Func<Decision?> decide, Action<Decision> afterwards)
    {
        using var stream = Open(FileMode.OpenOrCreate);
        ReadAll(stream);
        if (decide() is not { } decision)
            return null;
        stream.Position = offset;
        stream.Write(decision.ToLine());
        stream.Flush(flushToDisk: true);
        offset = stream.Position;
        decisions.Add(decision);
        afterwards(decision);
        return decision;
    }

    // Nobody else writes now, so a line without its end is one that a crash cut off. It is given its end, and stays.
    private void ReadAll(FileStream stream)
    {
        ReadLines(stream);
        if (offset == stream.Length)
            return;
        stream.Position = stream.Length;
        stream.WriteByte((byte)'\n');
        ReadLines(stream);
    }

    private void ReadLines(FileStream stream)
    {
        if (stream.Length < offset)
            throw new IOException($"{path} is shorter than before: something else writes to it. Reload the page.");
        if (stream.Length > MostBytes)
            throw new IOException($"{path} has {stream.Length:N0} bytes, which no journal has. Name other files with --labels.");
        stream.Position = offset;
        var line = new MemoryStream();
        var chunk = new byte[ChunkBytes];
        for (int count; (count = stream.Read(chunk)) > 0;)
        {
            var rest = chunk.AsSpan(0, count);
            for (int end; (end = rest.IndexOf((byte)'\n')) >= 0; rest = rest[(end + 1)..])
            {
                line.Write(rest[..end]);
                Take(line.GetBuffer().AsSpan(0, (int)line.Length));
                offset += line.Length + 1;
                line.SetLength(0);
            }
            line.Write(rest);
            if (line.Length > LongestLine)
                throw new IOException($"{path} has a line of more than {LongestLine:N0} bytes and is no journal. "
                    + "Name other files with --labels.");
        }
    }

    private void Take(ReadOnlySpan<byte> line)
    {
        if (Decision.Parse(line) is { } decision)
            decisions.Add(decision);
        else if (line.Trim(" \r\t"u8).Length > 0)
            Unreadable++;
    }

    // One at a time has the file; the next waits for a moment.
    private FileStream Open(FileMode mode)
    {
        RegularFile.Require(path);
        var until = DateTime.UtcNow + Patience;
        while (true)
        {
            try
            {
                return new FileStream(path, mode, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException) && DateTime.UtcNow < until)
            {
                Thread.Sleep(Pause);
            }
        }
    }
}
