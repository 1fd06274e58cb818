namespace Rlhf.Studio.Files;

/// <summary>Handles one line of a file.</summary>
/// <param name="offset">Where in the file it begins.</param>
/// <param name="line">Its bytes, without the line break.</param>
public delegate void LineHandler(long offset, ReadOnlySpan<byte> line);

/// <summary>
/// Reads a file that grows line by line, each time only what is new. A line without its end waits for the rest. A file that was cut or
/// replaced, as when a run resumes from an earlier checkpoint, is read again from its beginning.
/// </summary>
/// <param name="open">Opens the file; null where it is not there yet.</param>
public sealed class LineTail(Func<FileStream?> open)
{
    /// <summary>Longer lines are skipped.</summary>
    public const int LongestLine = 4 << 20;

    private const int ChunkBytes = 1 << 18, MarkBytes = 64;
    private long offset;
    private byte[] mark = []; // what stands before the offset, to tell whether it still does

    /// <summary>Reads complete new lines.</summary>
    /// <param name="onLine">Called for each, in order.</param>
    /// <param name="onRestart">Called before the first line when the file is read from its beginning again.</param>
    /// <returns>Whether there was anything new.</returns>
    public bool Read(LineHandler onLine, Action onRestart)
    {
        try
        {
            using var stream = open();
            if (stream is null)
                return Restart(onRestart);
            bool restarted = !Continues(stream) && Restart(onRestart);
            return ReadLines(stream, onLine) || restarted;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false; // it is being replaced; the next time will do
        }
    }

    private bool Restart(Action onRestart)
    {
        if (offset == 0)
            return false;
        (offset, mark) = (0, []);
        onRestart();
        return true;
    }

    private bool Continues(FileStream stream)
    {
        if (stream.Length < offset)
            return false;
        Span<byte> before = stackalloc byte[MarkBytes];
        before = before[..mark.Length];
        stream.Position = offset - mark.Length;
        return stream.ReadAtLeast(before, before.Length, throwOnEndOfStream: false) == mark.Length && before.SequenceEqual(mark);
    }

    private bool ReadLines(FileStream stream, LineHandler onLine)
    {
        long begin = offset;
        stream.Position = offset;
        var buffer = new byte[(int)Math.Min(ChunkBytes, Math.Max(1, stream.Length - offset))];
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
        if (offset > begin)
            Remember(stream);
        return offset > begin;
    }

    private void Remember(FileStream stream)
    {
        mark = new byte[(int)Math.Min(MarkBytes, offset)];
        stream.Position = offset - mark.Length;
        stream.ReadExactly(mark);
    }
}
