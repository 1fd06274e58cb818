using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Rlhf.Hub;

/// <summary>The hashes by which the Hub names content.</summary>
internal static class HubHash
{
    private const int Sha256Digits = 64, Sha1Digits = 40;

    /// <summary>Whether a file is what its ETag says: SHA-256 for LFS files, git's blob SHA-1 for others. An ETag of another form
    /// says nothing.</summary>
    public static async Task<bool> MatchesAsync(string path, string etag, CancellationToken cancellation)
    {
        bool isHex = etag.All(char.IsAsciiHexDigit);
        string? actual = !isHex ? null
            : etag.Length == Sha256Digits ? await Sha256Async(path, cancellation).ConfigureAwait(false)
            : etag.Length == Sha1Digits ? await GitBlobAsync(path, cancellation).ConfigureAwait(false) : null;
        return actual is null || actual.Equals(etag, StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>The oid of an LFS object.</summary>
    public static async Task<string> Sha256Async(string path, CancellationToken cancellation)
    {
        using var stream = Open(path);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellation).ConfigureAwait(false));
    }

    /// <summary>The oid of a file in git: SHA-1 of "blob", its length and its content.</summary>
    public static async Task<string> GitBlobAsync(string path, CancellationToken cancellation)
    {
        using var stream = Open(path);
        using var hash = NewGitBlob(stream.Length);
        var buffer = new byte[1 << 18];
        for (int read; (read = await stream.ReadAsync(buffer, cancellation).ConfigureAwait(false)) > 0;)
            hash.AppendData(buffer.AsSpan(0, read));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>As <see cref="GitBlobAsync"/>, of bytes.</summary>
    public static string GitBlob(ReadOnlySpan<byte> content)
    {
        using var hash = NewGitBlob(content.Length);
        hash.AppendData(content);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static IncrementalHash NewGitBlob(long length)
    {
#pragma warning disable CA5350 // git's own choice
        var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA1);
#pragma warning restore CA5350
        hash.AppendData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {length}\0")));
        return hash;
    }

    private static FileStream Open(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 18, FileOptions.Asynchronous | FileOptions.SequentialScan);
}
