using Rlhf.Runtime.Files;

namespace Rlhf.Tracking;

/// <summary>Handles one line of a file.</summary>
/// <param name="offset">Where in the file it begins.</param>
/// <param name="line">Its bytes, without the line break.</param>
internal delegate void LineHandler(long offset, ReadOnlySpan<byte> line);

/// <summary>Reads metrics.jsonl and samples.jsonl, also while they are written; no endless line fills the memory.</summary>
internal static class JsonlFile
{
    /// <summary>Longer lines are skipped, in bytes.</summary>
    public const int LongestLine = 4 << 20;

    private const int ChunkBytes = 1 << 18;

    /// <summary>Opens a file without hindering those who write, replace or delete it.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">It cannot be read, or is a pipe, a socket or a device.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static FileStream Open(string path) =>
        RegularFile.Open(path, FileShare.ReadWrite | FileShare.Delete, bufferSize: 1);

    /// <summary>Reads the rows of a file; lines that are none, such as one that a crash cut off, are passed over.</summary>
    /// <param name="path">The file; one that does not exist has no rows.</param>
    /// <param name="onRow">Called for each, in order.</param>
    /// <exception cref="IOException">It cannot be read, or is a pipe, a socket or a device.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static void Read(string path, Action<JsonlRow> onRow)
    {
        if (!File.Exists(path))
            return;
        using var stream = Open(path);
        ReadLines(stream, 0, (_, line) =>
        {
            if (JsonlRow.Parse(line) is { } row)
                onRow(row);
        }, takesRest: true);
    }

    /// <summary>Reads lines; empty ones are passed over.</summary>
    /// <param name="stream">The file.</param>
    /// <param name="offset">Where the first line begins.</param>
    /// <param name="onLine">Called for each, in order.</param>
    /// <param name="takesRest">Is what follows the last line break a line, too? Else it waits for its end.</param>
    /// <returns>Where the line begins that has no end yet.</returns>
    public static long ReadLines(Stream stream, long offset, LineHandler onLine, bool takesRest = false)
    {
        stream.Position = offset;
        var buffer = new byte[(int)Math.Clamp(stream.Length - offset, 1, ChunkBytes)];
        int held = 0;
        bool skips = false;
        while (true)
        {
            if (held == buffer.Length)
            {
                if (buffer.Length >= LongestLine)
                    (offset, held, skips) = (offset + held, 0, true);
                else
                    Array.Resize(ref buffer, buffer.Length * 2);
            }
            int count = stream.Read(buffer, held, buffer.Length - held);
            if (count == 0)
                break;
            held += count;
            int start = 0;
            for (int end; (end = buffer.AsSpan(start, held - start).IndexOf((byte)'\n')) >= 0; start += end + 1)
            {
                if (!skips && end > 0)
                    onLine(offset + start, buffer.AsSpan(start, end));
                skips = false;
            }
            offset += start;
            buffer.AsSpan(start, held - start).CopyTo(buffer);
            held -= start;
        }
        if (takesRest && !skips && held > 0)
            onLine(offset, buffer.AsSpan(0, held));
        return offset;
    }
}
