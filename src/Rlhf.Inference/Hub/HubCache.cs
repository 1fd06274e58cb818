using System.Text.RegularExpressions;
using Rlhf.Runtime.Files;

namespace Rlhf.Hub;

/// <summary>One repository in the cache.</summary>
/// <param name="Repo">The repository.</param>
/// <param name="Folder">Its folder.</param>
/// <param name="Bytes">What it takes on the disk, files that several snapshots share counted once.</param>
/// <param name="PartialBytes">How much of that are downloads that did not finish.</param>
/// <param name="Snapshots">Commits of which it holds files.</param>
/// <param name="LastUsed">When one of its files was last read or written, as far as the file system knows.</param>
public sealed record CachedRepo(
    HubRepo Repo, string Folder, long Bytes, long PartialBytes, int Snapshots, DateTimeOffset LastUsed);

/// <summary>
/// Hugging Face's cache: <c>models--org--name/{blobs,refs,snapshots,.no_exist}</c>. What Python's libraries downloaded is found here,
/// and the reverse.
/// </summary>
public sealed partial class HubCache
{
    private const string Snapshots = "snapshots", NoExist = ".no_exist";
    private readonly bool wantLinks;
    private readonly Lazy<bool> links;

    /// <param name="folder">The cache's folder; it need not exist.</param>
    /// <param name="symlinks">Link where the file system can.</param>
    public HubCache(string folder, bool symlinks = true)
    {
        (Folder, wantLinks) = (Path.GetFullPath(folder), symlinks);
        links = new(() => wantLinks && CanLink());
    }

    /// <summary>The cache's folder.</summary>
    public string Folder { get; }

    /// <summary>Whether snapshots hold links to blobs, and not the files themselves.</summary>
    internal bool Links => links.Value;

    /// <summary>The snapshot of a branch, tag or commit, or null when no file of it is here.</summary>
    /// <exception cref="ArgumentException">The revision is malformed.</exception>
    public string? FindSnapshot(HubRepo repo, string revision = "main") =>
        FindCommit(repo, revision) is { } commit && Directory.Exists(SnapshotFolder(repo, commit)) ? SnapshotFolder(repo, commit) : null;

    /// <summary>The commit at which a branch, tag or commit stood when it was last seen; null when that is not known.</summary>
    internal string? FindCommit(HubRepo repo, string revision)
    {
        HubRepo.CheckRevision(revision);
        string reference = RefPath(repo, revision);
        bool isNamed = RegularFile.Exists(reference) && new FileInfo(reference).Length < 1000;
        string commit = isNamed ? File.ReadAllText(reference).Trim() : revision;
        return CommitName().IsMatch(commit) ? commit : null;
    }

    /// <summary>Whether a commit is known to be without a file.</summary>
    internal bool KnowsAbsent(HubRepo repo, string commit, string path) => File.Exists(AbsencePath(repo, commit, path));

    /// <summary>
    /// Remembers that a commit is without a file, as huggingface_hub does; and where the revision stands, unless an older snapshot is
    /// known under its name.
    /// </summary>
    internal void WriteAbsence(HubRepo repo, string revision, string commit, string path)
    {
        string file = AbsencePath(repo, commit, path);
        try
        {
            if (!File.Exists(RefPath(repo, revision)))
                WriteRef(repo, revision, commit);
            if (File.Exists(file))
                return;
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllBytes(file, []);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A note that cannot be kept costs a request later.
        }
    }

    /// <summary>Whether the cache has a folder of the repository.</summary>
    public bool Holds(HubRepo repo) => Directory.Exists(RepoFolder(repo));

    /// <summary>The repository and commit that a snapshot's folder belongs to, in whatever cache; null when it is none.</summary>
    public static (HubRepo Repo, string Commit)? Identify(string folder)
    {
        string full = Path.GetFullPath(Path.TrimEndingDirectorySeparator(folder));
        var snapshots = Path.GetDirectoryName(full);
        return Path.GetFileName(snapshots) == Snapshots && HubRepo.IsCommit(Path.GetFileName(full))
            && HubRepo.OfFolder(Path.GetFileName(Path.GetDirectoryName(snapshots)) ?? "") is { } repo
            ? (repo, Path.GetFileName(full)) : null;
    }

    /// <summary>Every repository in the cache, by kind and name.</summary>
    /// <exception cref="IOException">The cache cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The cache may not be read.</exception>
    public IReadOnlyList<CachedRepo> List() => !Directory.Exists(Folder) ? []
        : [.. Directory.EnumerateDirectories(Folder).Select(Measure).OfType<CachedRepo>()
            .OrderBy(r => r.Repo.Type).ThenBy(r => r.Repo.Id, StringComparer.OrdinalIgnoreCase)];

    /// <summary>Deletes a repository's files; false when the cache holds none.</summary>
    /// <exception cref="IOException">A file cannot be deleted.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may not be deleted.</exception>
    public bool Remove(HubRepo repo)
    {
        string folder = RepoFolder(repo), locks = Path.Combine(Folder, ".locks", repo.FolderName);
        if (!Directory.Exists(folder))
            return false;
        Directory.Delete(folder, recursive: true); // links are deleted, not what they point to
        if (Directory.Exists(locks))
            Directory.Delete(locks, recursive: true);
        return true;
    }

    internal string RepoFolder(HubRepo repo) => Path.Combine(Folder, repo.FolderName);

    internal string SnapshotFolder(HubRepo repo, string commit) => Path.Combine(RepoFolder(repo), Snapshots, commit);

    internal string FilePath(HubRepo repo, string commit, string path) =>
        Path.Combine([SnapshotFolder(repo, commit), .. HubText.CheckPath(path).Split('/')]);

    /// <summary>Where the content with this ETag lies; the name is checked, for it comes from the server.</summary>
    internal string BlobPath(HubRepo repo, string etag) => BlobName().IsMatch(etag)
        ? Path.Combine(RepoFolder(repo), "blobs", etag)
        : throw new HubException(HubError.Protocol, $"The Hub gave the ETag '{HubText.Clean(etag)}', which cannot name a file.");

    /// <summary>Remembers which commit a branch or tag stands at.</summary>
    internal void WriteRef(HubRepo repo, string revision, string commit)
    {
        if (revision == commit)
            return;
        string path = RefPath(repo, revision);
        if (RegularFile.Exists(path) && File.ReadAllText(path) == commit)
            return;
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        AtomicFile.WriteAllText(path, commit);
    }

    /// <summary>
    /// Holds the lock of one blob, the same that Python's filelock takes: an exclusive lock on the file (flock on Unix, sharing
    /// on Windows).
    /// </summary>
    internal async Task<IDisposable> LockAsync(HubRepo repo, string etag, TimeProvider time, CancellationToken cancellation)
    {
        string path = Path.Combine(Folder, ".locks", repo.FolderName, etag + ".lock");
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        for (; ; )
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (IsHeld(e))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), time, cancellation).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Makes a blob appear in a snapshot: a relative link, or where links cannot be, the file itself.</summary>
    internal void Place(string blob, string file)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        if (Holds(file))
            return;
        File.Delete(file); // a link whose blob is gone
        if (Links)
            File.CreateSymbolicLink(file, Path.GetRelativePath(Path.GetDirectoryName(file)!, blob));
        else
            File.Move(blob, file); // the snapshot's file is the only copy, as huggingface_hub does it
    }

    /// <summary>Whether a file is there, and is no link to one that is not.</summary>
    internal static bool Holds(string file)
    {
        try
        {
            var info = new FileInfo(file);
            return info.Exists
                && (info.LinkTarget is null || info.ResolveLinkTarget(returnFinalTarget: true) is { Exists: true });
        }
        catch (IOException)
        {
            return false; // links in a circle
        }
    }

    // EAGAIN of Linux and of macOS; a sharing or lock violation of Windows.
    private static bool IsHeld(IOException e) =>
        e.HResult is 11 or 35 or unchecked((int)0x80070020) or unchecked((int)0x80070021);

    private string RefPath(HubRepo repo, string revision) => Path.Combine([RepoFolder(repo), "refs", .. revision.Split('/')]);

    private string AbsencePath(HubRepo repo, string commit, string path) =>
        Path.Combine([RepoFolder(repo), NoExist, commit, .. HubText.CheckPath(path).Split('/')]);

    private bool CanLink()
    {
        Directory.CreateDirectory(Folder);
        string link = Path.Combine(Folder, $".link-{Path.GetRandomFileName()}");
        try
        {
            File.CreateSymbolicLink(link, "nowhere");
            File.Delete(link);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or PlatformNotSupportedException)
        {
            return false;
        }
    }

    private static CachedRepo? Measure(string folder)
    {
        if (HubRepo.OfFolder(Path.GetFileName(folder)) is not { } repo)
            return null;
        long bytes = 0, partial = 0;
        var last = DateTime.MinValue;
        // Links are left out: what they point to is counted as a blob.
        var options = new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint };
        foreach (var file in new DirectoryInfo(folder).EnumerateFiles("*", options))
        {
            bytes += file.Length;
            partial += file.Name.EndsWith(".incomplete", StringComparison.Ordinal) ? file.Length : 0;
            last = new[] { last, file.LastAccessTimeUtc, file.LastWriteTimeUtc }.Max();
        }
        string snapshots = Path.Combine(folder, Snapshots);
        int count = Directory.Exists(snapshots) ? Directory.EnumerateDirectories(snapshots).Count() : 0;
        return new(repo, folder, bytes, partial, count, last == DateTime.MinValue ? default : new(last, TimeSpan.Zero));
    }

    [GeneratedRegex(@"\A[0-9A-Za-z]{1,64}\z")]
    private static partial Regex CommitName();

    [GeneratedRegex(@"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\z")]
    private static partial Regex BlobName();
}
