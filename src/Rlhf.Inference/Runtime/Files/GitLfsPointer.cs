namespace Rlhf.Runtime.Files;

/// <summary>
/// A clone without Git LFS has small texts in place of its large files: they name the file's hash and size and hold nothing of it.
/// </summary>
internal static class GitLfsPointer
{
    /// <summary>Bytes at a file's beginning that tell.</summary>
    public const int BeginningLength = 40;

    // A pointer has at most 1024 bytes by its specification.
    private const int LongestPointer = 1024;

    private static ReadOnlySpan<byte> Beginning => "version https://git-lfs.github.com/spec/"u8;

    /// <summary>Refuses a pointer in place of a file.</summary>
    /// <param name="content">The file's content, or how it begins.</param>
    /// <param name="file">The file, for the message.</param>
    /// <param name="what">What was expected: the weights, the data.</param>
    /// <exception cref="InvalidDataException">It is a pointer.</exception>
    public static void Refuse(ReadOnlySpan<byte> content, string file, string what)
    {
        if (content.StartsWith(Beginning))
            throw new InvalidDataException($"{file} is a Git LFS pointer, not {what}; run git lfs pull in its folder, or download the file.");
    }

    /// <summary>The same for a stream, which stays where it was.</summary>
    /// <param name="stream">A stream that can seek, at the file's beginning.</param>
    /// <param name="file">The file, for the message.</param>
    /// <param name="what">What was expected.</param>
    /// <exception cref="InvalidDataException">It is a pointer.</exception>
    public static void Refuse(Stream stream, string file, string what)
    {
        if (!stream.CanSeek || stream.Length > LongestPointer)
            return;
        long position = stream.Position;
        Span<byte> head = stackalloc byte[BeginningLength];
        int read = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        stream.Position = position;
        Refuse(head[..read], file, what);
    }
}
