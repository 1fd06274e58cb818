using Rlhf.Runtime.Files;

namespace Rlhf.Hub;

/// <summary>The owner of a token.</summary>
/// <param name="Name">Name of the user or organization.</param>
/// <param name="Organizations">Organizations that the user belongs to.</param>
/// <param name="Role">What the token may do: read, write or fineGrained; null when the Hub does not say.</param>
public sealed record HubUser(string Name, IReadOnlyList<string> Organizations, string? Role)
{
    /// <summary>Those among them where the user may only read.</summary>
    internal IReadOnlyList<string> ReadOnlyOrganizations { get; init; } = [];
}

/// <summary>How to push.</summary>
public sealed record HubPushOptions
{
    /// <summary>Branch, which is made when it does not exist. Default main.</summary>
    public string Revision { get; init; } = "main";

    /// <summary>Make the repository private when it is new; one that is public is then refused. Default false.</summary>
    public bool Private { get; init; }

    /// <summary>The commit's message. Default "Upload model".</summary>
    public string Message { get; init; } = "Upload model";

    /// <summary>Content of README.md when the folder has none; null pushes none then.</summary>
    public string? ModelCard { get; init; }
}

/// <summary>What a push did.</summary>
/// <param name="Repo">The repository.</param>
/// <param name="Commit">The new commit; null when the repository held everything already.</param>
/// <param name="Address">The repository's page.</param>
/// <param name="Files">Paths of the files in the commit.</param>
/// <param name="Unchanged">Files that the repository held already.</param>
/// <param name="UploadedBytes">Bytes of large files that were sent.</param>
public sealed record HubPushResult(
    HubRepo Repo, string? Commit, Uri Address, IReadOnlyList<string> Files, int Unchanged, long UploadedBytes);

/// <summary>A file that is pushed: from the disk, or from memory.</summary>
internal sealed record PushFile(string Path, string? Local, byte[]? Content, long Size)
{
    private const int SampleBytes = 512;

    /// <summary>The first bytes, by which the Hub tells text from binary files.</summary>
    public byte[] Sample()
    {
        if (Content is not null)
            return Content[..Math.Min(Content.Length, SampleBytes)];
        using var stream = File.OpenRead(Local!);
        var sample = new byte[Math.Min(SampleBytes, Size)];
        stream.ReadExactly(sample);
        return sample;
    }

    public Task<string> Sha256Async(CancellationToken cancellation) => Content is null ? HubHash.Sha256Async(Local!, cancellation)
        : Task.FromResult(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(Content)));

    /// <summary>A part of it as a request's body.</summary>
    public HttpContent Body(long offset, long length, Action<long> sent) => Content is null
        ? new HubFileContent(Local!, offset, length, sent) : new ByteArrayContent(Content, (int)offset, (int)length);
}

/// <summary>Which files of a folder are pushed.</summary>
internal static class PushFiles
{
    private const int MostFiles = 10_000;

    private static readonly string[] LeftOutFolders = ["__pycache__", "node_modules", "checkpoints", "wandb", "runs"];

    private static readonly string[] LeftOutNames =
        ["token", "stored_tokens", "id_rsa", "id_ed25519", "credentials", "optimizer.pt", "scheduler.pt", "scaler.pt"];

    private static readonly string[] LeftOutEndings =
        [".tmp", ".incomplete", ".lock", ".pem", ".key", ".pfx", ".p12", ".env", ".token", ".pyc", ".swp", "~"];

    /// <summary>
    /// The folder's files, without hidden ones, training checkpoints, keys and tokens, temporary files, and links that lead out
    /// of the folder (links into a cache's blobs are files of the folder).
    /// </summary>
    /// <exception cref="HubException">There are none, or too many.</exception>
    public static IReadOnlyList<PushFile> Of(string folder)
    {
        string root = Path.GetFullPath(Path.TrimEndingDirectorySeparator(folder));
        var files = new List<PushFile>();
        Add(new DirectoryInfo(root), root, files);
        return files.Count switch
        {
            0 => throw new HubException(HubError.EntryNotFound, $"{folder} holds no files that can be pushed."),
            > MostFiles => throw new HubException(HubError.Protocol,
                $"{folder} holds more than {MostFiles} files; name the folder of a model."),
            _ => [.. files.OrderBy(f => f.Path, StringComparer.Ordinal)],
        };
    }

    private static void Add(DirectoryInfo folder, string root, List<PushFile> files)
    {
        foreach (var entry in folder.EnumerateFileSystemInfos())
            if (files.Count > MostFiles || IsHidden(entry))
                continue;
            else if (entry is DirectoryInfo inner)
            {
                bool leftOut = inner.LinkTarget is not null
                    || LeftOutFolders.Contains(inner.Name, StringComparer.OrdinalIgnoreCase)
                    || inner.Name.StartsWith("checkpoint-", StringComparison.OrdinalIgnoreCase);
                if (!leftOut)
                    Add(inner, root, files);
            }
            else if (!LeftOutNames.Contains(entry.Name, StringComparer.OrdinalIgnoreCase)
                && !LeftOutEndings.Any(e => entry.Name.EndsWith(e, StringComparison.OrdinalIgnoreCase))
                && Target((FileInfo)entry, root) is { } file && RegularFile.Exists(file.FullName))
            {
                string path = Path.GetRelativePath(root, entry.FullName).Replace(Path.DirectorySeparatorChar, '/');
                files.Add(new(path, file.FullName, null, file.Length));
            }
    }

    private static bool IsHidden(FileSystemInfo entry) => entry.Name.StartsWith('.')
        || (OperatingSystem.IsWindows() && entry.Attributes.HasFlag(FileAttributes.Hidden));

    /// <summary>The file itself; null for a link that leads elsewhere.</summary>
    private static FileInfo? Target(FileInfo file, string root)
    {
        if (file.LinkTarget is null)
            return file;
        string? blobs = HubCache.Identify(root) is null ? null
            : Path.Combine(Path.GetDirectoryName(Path.GetDirectoryName(root))!, "blobs");
        return file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo { Exists: true } target
            && (IsIn(target, root) || (blobs is not null && IsIn(target, blobs))) ? target : null;
    }

    private static bool IsIn(FileInfo file, string folder) =>
        file.FullName.StartsWith(folder + Path.DirectorySeparatorChar, StringComparison.Ordinal);
}
