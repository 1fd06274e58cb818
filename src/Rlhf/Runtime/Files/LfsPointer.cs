namespace Rlhf.Runtime.Files;

/// <summary>
/// A clone without Git LFS has small texts in place of its large files: they name the file's hash and size and hold nothing of it.
/// </summary>
internal static class LfsPointer
{
    /// <summary>Bytes at a file's beginning that tell.</summary>
    public const int PrefixLength = 42;

    private static ReadOnlySpan<byte> Prefix => "version https://git-lfs.github.com/spec/v1"u8;

    /// <summary>Refuses a pointer in place of a file.</summary>
    /// <param name="path">The file, for the message.</param>
    /// <param name="content">How it begins.</param>
    /// <param name="what">What it should be: "the weights".</param>
    /// <exception cref="InvalidDataException">It is a pointer.</exception>
    public static void Refuse(string path, ReadOnlySpan<byte> content, string what)
    {
        if (content.StartsWith(Prefix))
            throw new InvalidDataException($"{path} is a Git LFS pointer, not {what}; run git lfs pull in its folder, or download the file.");
    }
}
