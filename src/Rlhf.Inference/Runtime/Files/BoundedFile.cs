namespace Rlhf.Runtime.Files;

/// <summary>Reads small files from outside.</summary>
internal static class BoundedFile
{
    /// <summary>The bytes of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="limit">Most bytes that are taken. Files of /proc claim no length, so what is read counts.</param>
    /// <param name="what">What the file is, in messages: "a model configuration".</param>
    /// <exception cref="InvalidDataException">The file is larger, or a Git LFS pointer in its place.</exception>
    /// <exception cref="IOException">The file cannot be read, or is a pipe, a socket or a device.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read, or is a folder.</exception>
    public static byte[] Read(string path, int limit, string what)
    {
        var content = ReadAll(path, limit, what);
        GitLfsPointer.Refuse(content, path, what);
        return content;
    }

    private static byte[] ReadAll(string path, int limit, string what)
    {
        using var stream = RegularFile.Open(path, FileShare.Read | FileShare.Delete, bufferSize: 0);
        if (stream.CanSeek && stream.Length > limit)
            throw TooLarge();
        var bytes = new byte[stream.CanSeek && stream.Length > 0 ? stream.Length : 1 << 12];
        for (int length = 0; ;)
        {
            int count = stream.Read(bytes, length, bytes.Length - length);
            if (count == 0)
                return length == bytes.Length ? bytes : bytes[..length];
            length += count;
            if (length > limit)
                throw TooLarge();
            if (length < bytes.Length)
                continue;
            if (stream.CanSeek && stream.Length == length)
                return bytes;
            Array.Resize(ref bytes, (int)Math.Min(2L * length, limit + 1L));
        }

        InvalidDataException TooLarge() => new($"{path} has more than {limit:N0} bytes, which {what} never has.");
    }
}
