namespace Rlhf.Runtime.Files;

/// <summary>Writes files so that a reader, or a crash, never meets a half-written one.</summary>
internal static class AtomicFile
{
    private const string Ending = ".tmp";

    /// <summary>Is it the name of a temporary file of <see cref="Write"/>, which a process leaves that is killed while it writes?</summary>
    public static bool IsUnfinished(string name) =>
        name.StartsWith('.') && name.EndsWith(Ending, StringComparison.Ordinal) && name.Count('.') >= 4;

    /// <summary>
    /// Writes to a temporary file beside the target, forces it to the disk and renames it over the target. When writing fails
    /// the target is left as it was and the temporary file is deleted.
    /// </summary>
    /// <param name="path">The file to write; its folder must exist.</param>
    /// <param name="write">Writes the content to the stream that it is given.</param>
    /// <param name="expectedBytes">
    /// Length of the content when known: space is then reserved, so a full disk shows at once.
    /// </param>
    /// <exception cref="IOException">The disk is full, or the file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder or file may not be written.</exception>
    public static void Write(string path, Action<Stream> write, long expectedBytes = 0)
    {
        var target = Path.GetFullPath(path);
        var temporary = Path.Combine(
            Path.GetDirectoryName(target)!, $".{Path.GetFileName(target)}.{Path.GetRandomFileName()}{Ending}");
        try
        {
            var options = new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                Share = FileShare.None,
                PreallocationSize = expectedBytes,
            };
            using (var stream = new FileStream(temporary, options))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(temporary, target, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Writes text as UTF-8 without a byte order mark, in the same way.</summary>
    /// <exception cref="IOException">The disk is full, or the file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder or file may not be written.</exception>
    public static void WriteAllText(string path, string text) =>
        Write(path, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)));
}
