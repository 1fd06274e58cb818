using Rlhf.Tracking;

namespace Rlhf.Studio.Files;

/// <summary>
/// Reads a file that grows line by line, each time only what is new. A line without its end waits for the rest. A file that was cut or
/// replaced, as when a run resumes from an earlier checkpoint, is read again from its beginning.
/// </summary>
/// <param name="open">Opens the file; null where it is not there yet.</param>
internal sealed class LineTail(Func<FileStream?> open)
{
    private const int MarkBytes = 64;
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
            long begin = offset;
            offset = JsonlFile.ReadLines(stream, begin, onLine);
            if (offset > begin)
                Remember(stream);
            return offset > begin || restarted;
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

    private void Remember(FileStream stream)
    {
        mark = new byte[(int)Math.Min(MarkBytes, offset)];
        stream.Position = offset - mark.Length;
        stream.ReadExactly(mark);
    }
}
