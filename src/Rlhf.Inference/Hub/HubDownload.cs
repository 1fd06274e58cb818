using System.Net;

namespace Rlhf.Hub;

/// <summary>A file as the Hub describes it.</summary>
/// <param name="Path">Its path in the repository.</param>
/// <param name="Commit">The commit that it is of.</param>
/// <param name="ETag">Names its content: SHA-256 for LFS files, git's blob SHA-1 for others.</param>
/// <param name="Size">Bytes.</param>
internal sealed record RemoteFile(string Path, string Commit, string ETag, long Size);

/// <summary>Brings one file into the cache: resumed, verified, and seen by others only when it is whole.</summary>
internal sealed class HubDownload(HubHttp http, HubCache cache, HubOptions options)
{
    /// <summary>Asks for a file's commit, ETag and size.</summary>
    /// <param name="repo">The repository.</param>
    /// <param name="revision">Branch, tag or commit.</param>
    /// <param name="path">The file.</param>
    /// <param name="listed">Its size in the listing, for answers that say none.</param>
    /// <param name="cancellation">Stops.</param>
    /// <exception cref="HubException">There is no such file, or the Hub cannot be used.</exception>
    public Task<RemoteFile> DescribeAsync(
        HubRepo repo, string revision, string path, long listed, CancellationToken cancellation)
    {
        var call = new HubCall(HttpMethod.Head, FileAddress(repo, revision, path), Subject(repo, revision, path))
        {
            Identity = true,
            Timeout = options.EtagTimeout,
        };
        return http.Retry.RunAsync(async token =>
        {
            using var response = await http.SendAsync(call, token).ConfigureAwait(false);
            bool elsewhere = (int)response.StatusCode is >= 300 and < 400;
            if (!elsewhere)
                HubAnswer.ThrowIfFailed(response, call, options);
            string? etag = HubAnswer.Header(response, "X-Linked-Etag") ?? HubAnswer.Header(response, "ETag");
            string? said = HubAnswer.Header(response, "X-Linked-Size");
            long? size = said is not null ? HubAnswer.Number(said)
                : (elsewhere ? null : response.Content.Headers.ContentLength) ?? listed;
            string? commit = HubAnswer.Header(response, "X-Repo-Commit");
            return commit is not null && HubRepo.IsCommit(commit) && etag is not null && size >= 0
                ? new RemoteFile(path, commit, Bare(etag), size.Value) : throw HubAnswer.NotTheHub(call);
        }, cancellation, connectionRetries: call.ConnectionRetries);
    }

    /// <summary>Makes the file appear in its snapshot.</summary>
    /// <returns>Its path there.</returns>
    /// <exception cref="HubException">It cannot be brought.</exception>
    public async Task<string> FetchAsync(HubRepo repo, RemoteFile file, HubProgressSum progress, CancellationToken cancellation)
    {
        string target = cache.FilePath(repo, file.Commit, file.Path), blob = cache.BlobPath(repo, file.ETag);
        try
        {
            using var held = await cache.LockAsync(repo, file.ETag, options.TimeProvider, cancellation).ConfigureAwait(false);
            if (HubCache.Holds(target) || File.Exists(blob))
                progress.Add(file.Size); // another snapshot shares it, or another process brought it
            else
                await BringAsync(repo, file, blob, progress, cancellation).ConfigureAwait(false);
            cache.Place(blob, target);
        }
        catch (Exception e) when (e is IOException and not HubException or UnauthorizedAccessException)
        {
            throw new HubException(HubError.Disk, $"{file.Path} of the {repo} cannot be written to the cache: {e.Message}", e);
        }
        progress.Finish();
        return target;
    }

    private async Task BringAsync(
        HubRepo repo, RemoteFile file, string blob, HubProgressSum progress, CancellationToken cancellation)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(blob)!);
        string partial = blob + ".incomplete";
        long resumed = Length(partial);
        progress.Add(Math.Min(resumed, file.Size));
        await CompleteAsync(repo, file, partial, progress, cancellation).ConfigureAwait(false);
        bool good = await HubHash.MatchesAsync(partial, file.ETag, cancellation).ConfigureAwait(false);
        if (!good && resumed > 0)
        {
            // The beginning may be another download's: once more from nothing.
            File.Delete(partial);
            progress.Add(-file.Size);
            await CompleteAsync(repo, file, partial, progress, cancellation).ConfigureAwait(false);
            good = await HubHash.MatchesAsync(partial, file.ETag, cancellation).ConfigureAwait(false);
        }
        if (!good)
        {
            File.Delete(partial);
            throw new HubException(HubError.Damaged,
                $"{file.Path} of the {repo} did not arrive as the Hub describes it (its hash is not {file.ETag}) and was "
                + "deleted; try again, and if it happens again look at the proxy in between.");
        }
        File.Move(partial, blob, overwrite: true);
    }

    private Task<bool> CompleteAsync(
        HubRepo repo, RemoteFile file, string partial, HubProgressSum progress, CancellationToken cancellation) =>
        http.Retry.RunAsync(async token =>
        {
            await AppendAsync(repo, file, partial, progress, token).ConfigureAwait(false);
            return true;
        }, cancellation, () => Length(partial));

    /// <summary>One attempt to get what is missing.</summary>
    private async Task AppendAsync(
        HubRepo repo, RemoteFile file, string partial, HubProgressSum progress, CancellationToken cancellation)
    {
        long have = Length(partial);
        if (have > file.Size)
            have = Restart(partial, Math.Min(have, file.Size), progress);
        if (have == file.Size && File.Exists(partial))
            return;
        CheckSpace(file, partial, file.Size - have);
        var call = new HubCall(HttpMethod.Get, FileAddress(repo, file.Commit, file.Path), Subject(repo, file.Commit, file.Path))
        {
            Identity = true,
            LeaveHost = true,
            Offset = have,
            Timeout = options.DownloadTimeout,
        };
        using var response = await http.SendAsync(call, cancellation).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            Restart(partial, have, progress);
            throw new HubTransientException(HubError.Damaged, $"The Hub could not resume {file.Path} of the {repo}.");
        }
        HubAnswer.ThrowIfFailed(response, call, options);
        bool resumes = response.StatusCode == HttpStatusCode.PartialContent
            && response.Content.Headers.ContentRange?.From == have;
        if (response.Content.Headers.ContentLength is { } length && length < (resumes ? file.Size - have : file.Size))
            throw new HubTransientException(HubError.Damaged,
                $"The Hub announced {length} bytes of {file.Path} of the {repo}, too few.");
        bool again = have > 0 && !resumes; // everything comes again; what is here goes when the first byte has come
        using var stream = new FileStream(partial, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 1);
        stream.Position = have;
        await HubHttp.CopyAsync(response, options.DownloadTimeout, async (bytes, token) =>
        {
            if (again)
            {
                stream.SetLength(0);
                progress.Add(-have);
                (have, again) = (0, false);
            }
            have += bytes.Length;
            if (have > file.Size)
                throw new HubException(HubError.Damaged,
                    $"{file.Path} of the {repo} is longer than the {file.Size} bytes that the Hub promised; "
                    + "nothing of it is used.");
            await WriteAsync(stream, bytes, file, token).ConfigureAwait(false);
            progress.Add(bytes.Length);
        }, cancellation).ConfigureAwait(false);
        stream.Flush(flushToDisk: true);
        if (have < file.Size)
            throw new HubTransientException(HubError.Damaged,
                $"{file.Path} of the {repo} ended after {have} of {file.Size} bytes.");
    }

    private static async Task WriteAsync(
        FileStream stream, ReadOnlyMemory<byte> bytes, RemoteFile file, CancellationToken cancellation)
    {
        try
        {
            await stream.WriteAsync(bytes, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new HubException(HubError.Disk,
                $"{file.Path} cannot be written to {stream.Name} ({e.Message.TrimEnd('.')}); make room and repeat: what is "
                + "there is kept.", e);
        }
    }

    private void CheckSpace(RemoteFile file, string partial, long missing)
    {
        string folder = Path.GetDirectoryName(partial)!;
        long free = options.FreeSpace(folder);
        if (free < missing)
            throw new HubException(HubError.Disk,
                $"{file.Path} needs {HubText.Size(missing)} more and {folder} has {HubText.Size(free)} free; "
                + "make room, or choose another disk with HF_HUB_CACHE.");
    }

    private static long Restart(string partial, long counted, HubProgressSum progress)
    {
        File.Delete(partial);
        progress.Add(-counted);
        return 0;
    }

    private static long Length(string path) => new FileInfo(path) is { Exists: true } file ? file.Length : 0;

    private Uri FileAddress(HubRepo repo, string revision, string path) => http.Address(
        $"{repo.PagePath}/resolve/{Uri.EscapeDataString(revision)}/"
        + string.Join('/', HubText.CheckPath(path).Split('/').Select(Uri.EscapeDataString)));

    private static HubSubject Subject(HubRepo repo, string revision, string path) =>
        new($"{HubText.Clean(path)} of the {repo}", repo, revision, path);

    private static string Bare(string etag) =>
        (etag.StartsWith("W/", StringComparison.Ordinal) ? etag[2..] : etag).Trim('"');
}
