namespace Rlhf.Runtime.Files;

/// <summary>Knows the small text that git leaves in place of a large file whose content was not fetched.</summary>
internal static class GitLfsPointer
{
    // A pointer has at most 1024 bytes by its specification.
    private const int LongestPointer = 1024;

    private static ReadOnlySpan<byte> Beginning => "version https://git-lfs.github.com/spec/"u8;

    /// <summary>Refuses a pointer; the stream stays where it was.</summary>
    /// <param name="stream">A stream that can seek, at the file's beginning.</param>
    /// <param name="file">The file's name, for the message.</param>
    /// <param name="content">What was expected: the weights, the data.</param>
    /// <exception cref="InvalidDataException">It is a pointer.</exception>
    public static void Refuse(Stream stream, string file, string content)
    {
        if (!stream.CanSeek || stream.Length > LongestPointer)
            return;
        long position = stream.Position;
        Span<byte> head = stackalloc byte[Beginning.Length];
        bool isPointer = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) == head.Length && head.SequenceEqual(Beginning);
        stream.Position = position;
        if (isPointer)
            throw new InvalidDataException($"{file} is a Git LFS pointer, not {content}; run git lfs pull in its folder, or download the file.");
    }
}
