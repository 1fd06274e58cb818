namespace Rlhf.Hub;

/// <summary>Files of one commit in the cache.</summary>
/// <param name="Repo">Their repository.</param>
/// <param name="Commit">Their commit.</param>
/// <param name="Folder">The snapshot's folder: a model folder, for a model.</param>
/// <param name="Files">Paths of the files that were asked for, in <paramref name="Folder"/>.</param>
/// <param name="Notice">Why the Hub was not asked although it should have been; null when it was, or need not be.</param>
public sealed record HubSnapshot(HubRepo Repo, string Commit, string Folder, IReadOnlyList<string> Files, string? Notice = null);

/// <summary>
/// Hugging Face's Hub: brings models and data sets into its own cache, and takes folders. Files that are in the cache are used
/// without another download; offline nothing else is.
/// </summary>
public sealed partial class HubClient : IDisposable
{
    private readonly HubHttp http;
    private readonly HubLister lister;
    private readonly HubDownload download;

    /// <param name="options">Where the Hub and the cache are; null reads the environment.</param>
    /// <exception cref="Runtime.ConfigurationException">A variable of the environment cannot be used.</exception>
    public HubClient(HubOptions? options = null)
    {
        Options = options ?? HubOptions.FromEnvironment();
        Cache = new(Options.CacheFolder, Options.Symlinks);
        http = new(Options);
        lister = new(http, Options);
        download = new(http, Cache, Options);
    }

    /// <summary>Where the Hub and the cache are.</summary>
    public HubOptions Options { get; }

    /// <summary>The cache.</summary>
    public HubCache Cache { get; }

    /// <summary>
    /// Brings what a run needs of a model: configuration, tokenizer, and the weights, as safetensors or else as PyTorch's .bin.
    /// When the Hub cannot be reached, what the cache holds is used.
    /// </summary>
    /// <param name="id">Such as <c>lvwerra/gpt2-imdb</c>.</param>
    /// <param name="revision">Branch, tag or commit; null: main.</param>
    /// <param name="progress">Called while files arrive, from whatever thread, one call at a time.</param>
    /// <param name="parts">What is wanted of it. Default all.</param>
    /// <param name="cancellation">Stops; what has arrived is kept and resumed later.</param>
    /// <exception cref="ArgumentException">The id or revision is malformed.</exception>
    /// <exception cref="HubException">It cannot be brought; the message says why.</exception>
    public async Task<HubSnapshot> DownloadModelAsync(
        string id, string? revision = null, Action<HubProgress>? progress = null, HubModelParts parts = HubModelParts.All,
        CancellationToken cancellation = default)
    {
        var repo = HubRepo.Model(id);
        revision = HubRepo.CheckRevision(revision ?? "main");
        string? cached = Cache.FindSnapshot(repo, revision);
        bool complete = cached is not null && ModelFiles.IsComplete(repo, cached, parts);
        bool hasAll = complete && (parts == HubModelParts.Configuration || ModelFiles.HasTokenizer(cached!)
            || ModelFiles.Vocabularies.All(v => Cache.KnowsAbsent(repo, Path.GetFileName(cached!), v)));
        if (hasAll && HubRepo.IsCommit(revision))
            return Cached(repo, cached!, null);
        return await OrCachedAsync(repo, revision, complete ? cached : null, async () =>
        {
            var listing = await ListAsync(repo, revision, patient: !complete, cancellation).ConfigureAwait(false);
            foreach (var absent in ModelFiles.Small.Where(f => parts == HubModelParts.All && !listing.Files.ContainsKey(f)))
                Cache.WriteAbsence(repo, revision, listing.Commit, absent);
            var chosen = ModelFiles.Choose(repo, [.. listing.Files.Keys], parts);
            if (chosen[^1].EndsWith(".index.json", StringComparison.Ordinal))
            {
                var index = await FetchAsync(repo, listing, [chosen[^1]], null, cancellation).ConfigureAwait(false);
                chosen = [.. chosen, .. ModelFiles.Shards(repo, index[0])];
            }
            return (listing, chosen);
        }, progress, cancellation).ConfigureAwait(false);
    }

    /// <summary>
    /// Brings one split of a data set as parquet files: the repository's own, or else those of its branch refs/convert/parquet.
    /// </summary>
    /// <param name="id">Such as <c>stanfordnlp/imdb</c>.</param>
    /// <param name="split">Such as test; null: train, or the only one.</param>
    /// <param name="configuration">Which of a data set's configurations; null: the only one, or default.</param>
    /// <param name="revision">Branch, tag or commit; null: main.</param>
    /// <param name="progress">Called while files arrive, from whatever thread, one call at a time.</param>
    /// <param name="cancellation">Stops; what has arrived is kept and resumed later.</param>
    /// <exception cref="ArgumentException">The id or revision is malformed.</exception>
    /// <exception cref="HubException">It cannot be brought; the message says why.</exception>
    public async Task<HubSnapshot> DownloadDatasetAsync(
        string id, string? split = null, string? configuration = null, string? revision = null,
        Action<HubProgress>? progress = null, CancellationToken cancellation = default)
    {
        var repo = HubRepo.Dataset(id);
        string asked = HubRepo.CheckRevision(revision ?? "main");
        string[] revisions = revision is null ? [asked, DatasetSplit.ParquetBranch] : [asked];
        var cached = revisions.Select(r => CachedSplit(repo, r, configuration, split)).FirstOrDefault(s => s is not null);
        if (cached is not null && HubRepo.IsCommit(asked))
            return cached;
        try
        {
            if (Options.Offline)
                throw NotCached(repo, asked, offline: true);
            foreach (string from in revisions)
            {
                var listing = await ListAsync(repo, from, patient: cached is null, cancellation).ConfigureAwait(false);
                var splits = DatasetSplit.Among(listing.Files.Keys);
                if (splits.Count > 0)
                {
                    var files = DatasetSplit.Choose(repo, splits, configuration, split).Files;
                    return await FetchAsync(repo, from, listing, files, progress, cancellation).ConfigureAwait(false);
                }
            }
            throw new HubException(HubError.EntryNotFound,
                $"The {repo} has no parquet files; download it and name a file of it.");
        }
        catch (HubException e) when (cached is not null && MayPass(e))
        {
            return cached with { Notice = Options.Offline ? null : e.Message };
        }
        catch (HubException e) when (e.Error == HubError.RevisionNotFound && revisions.Length > 1)
        {
            throw new HubException(HubError.EntryNotFound,
                $"The {repo} has no parquet files, and the Hub has made none; download it and name a file of it.", e);
        }
    }

    /// <summary>Brings files by name; all of them when none is named.</summary>
    /// <inheritdoc cref="DownloadModelAsync"/>
    /// <param name="repo">The repository.</param>
    /// <param name="files">Paths in the repository; empty: all files.</param>
    /// <param name="revision">Branch, tag or commit; null: main.</param>
    /// <param name="progress">Called while files arrive, from whatever thread, one call at a time.</param>
    /// <param name="cancellation">Stops; what has arrived is kept and resumed later.</param>
    public async Task<HubSnapshot> DownloadFilesAsync(
        HubRepo repo, IReadOnlyList<string> files, string? revision = null, Action<HubProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        revision = HubRepo.CheckRevision(revision ?? "main");
        string? cached = Cache.FindSnapshot(repo, revision);
        bool complete = cached is not null && files.Count > 0
            && files.All(f => HubCache.Holds(Path.Combine([cached, .. HubText.CheckPath(f).Split('/')])));
        if (complete && HubRepo.IsCommit(revision))
            return Cached(repo, cached!, files);
        if ((Options.Offline || HubRepo.IsCommit(revision)) && Cache.FindCommit(repo, revision) is { } known)
            RefuseAbsent(repo, known, files);
        return await OrCachedAsync(repo, revision, complete ? cached : null, async () =>
        {
            string commit = await lister.CommitAsync(repo, revision, patient: !complete, cancellation).ConfigureAwait(false);
            RefuseAbsent(repo, commit, files);
            var listing = await lister.ListAsync(repo, commit, cancellation).ConfigureAwait(false);
            foreach (var absent in files.Where(f => !listing.Files.ContainsKey(f)))
                Cache.WriteAbsence(repo, revision, commit, absent);
            return (listing, files.Count > 0 ? files : [.. listing.Files.Keys]);
        }, progress, cancellation, files.Count > 0 ? files : null).ConfigureAwait(false);
    }

    /// <summary>Whether the Hub shows such a repository; false when it cannot be asked.</summary>
    /// <param name="repo">The repository.</param>
    /// <param name="cancellation">Stops.</param>
    public async Task<bool> ExistsAsync(HubRepo repo, CancellationToken cancellation = default)
    {
        if (Options.Offline)
            return false;
        try
        {
            await lister.CommitAsync(repo, "main", patient: false, cancellation).ConfigureAwait(false);
            return true;
        }
        catch (HubException)
        {
            return false;
        }
    }

    /// <summary>Closes the connections.</summary>
    public void Dispose() => http.Dispose();

    private async Task<HubSnapshot> OrCachedAsync(
        HubRepo repo, string revision, string? cached, Func<Task<(HubListing Listing, IReadOnlyList<string> Chosen)>> choose,
        Action<HubProgress>? progress, CancellationToken cancellation, IReadOnlyList<string>? files = null)
    {
        if (Options.Offline)
            return cached is not null ? Cached(repo, cached, files) : throw NotCached(repo, revision, offline: true);
        try
        {
            var (listing, chosen) = await choose().ConfigureAwait(false);
            return await FetchAsync(repo, revision, listing, chosen, progress, cancellation).ConfigureAwait(false);
        }
        catch (HubException e) when (cached is not null && MayPass(e))
        {
            return Cached(repo, cached, files) with { Notice = e.Message };
        }
    }

    private async Task<HubListing> ListAsync(HubRepo repo, string revision, bool patient, CancellationToken cancellation)
    {
        string commit = await lister.CommitAsync(repo, revision, patient, cancellation).ConfigureAwait(false);
        return await lister.ListAsync(repo, commit, cancellation).ConfigureAwait(false);
    }

    private async Task<HubSnapshot> FetchAsync(
        HubRepo repo, string revision, HubListing listing, IReadOnlyList<string> chosen, Action<HubProgress>? progress,
        CancellationToken cancellation)
    {
        var files = await FetchAsync(repo, listing, chosen, progress, cancellation).ConfigureAwait(false);
        Cache.WriteRef(repo, revision, listing.Commit); // until now an older snapshot was better than a part of this one
        return new(repo, listing.Commit, Cache.SnapshotFolder(repo, listing.Commit), files);
    }

    private async Task<IReadOnlyList<string>> FetchAsync(
        HubRepo repo, HubListing listing, IReadOnlyList<string> chosen, Action<HubProgress>? progress,
        CancellationToken cancellation)
    {
        if (chosen.FirstOrDefault(f => !listing.Files.ContainsKey(f)) is { } absent)
            throw Absent(repo, listing.Commit, absent);
        string[] paths = [.. chosen.Select(f => Cache.FilePath(repo, listing.Commit, f))];
        string[] missing = [.. chosen.Zip(paths).Where(f => !HubCache.Holds(f.Second)).Select(f => f.First)];
        var sum = new HubProgressSum(missing.Length, missing.Sum(f => listing.Files[f]), progress);
        var parallel = new ParallelOptions
        {
            MaxDegreeOfParallelism = Math.Max(1, Options.Parallel),
            CancellationToken = cancellation,
        };
        await Parallel.ForEachAsync(missing, parallel, async (path, token) =>
        {
            var file = await download.DescribeAsync(repo, listing.Commit, path, listing.Files[path], token)
                .ConfigureAwait(false);
            if (file.Commit != listing.Commit)
                throw new HubException(HubError.Protocol,
                    $"The Hub gave {HubText.Clean(path)} of another commit than was asked for.");
            await download.FetchAsync(repo, file, sum, token).ConfigureAwait(false);
        }).ConfigureAwait(false);
        return paths;
    }

    /// <summary>Refuses files that a commit is known to be without.</summary>
    /// <exception cref="HubException">It is without one of them.</exception>
    private void RefuseAbsent(HubRepo repo, string commit, IReadOnlyList<string> files)
    {
        if (files.FirstOrDefault(f => Cache.KnowsAbsent(repo, commit, f)) is { } absent)
            throw Absent(repo, commit, absent);
    }

    private static HubException Absent(HubRepo repo, string commit, string path) => new(HubError.EntryNotFound,
        $"The {repo} has no file {HubText.Clean(path)} in commit {commit[..Math.Min(12, commit.Length)]}.");

    private HubSnapshot? CachedSplit(HubRepo repo, string revision, string? configuration, string? split)
    {
        if (Cache.FindSnapshot(repo, revision) is not { } folder)
            return null;
        var files = Directory.EnumerateFiles(folder, "*.parquet", SearchOption.AllDirectories).Where(HubCache.Holds)
            .Select(f => Path.GetRelativePath(folder, f).Replace(Path.DirectorySeparatorChar, '/'));
        try
        {
            var splits = DatasetSplit.Among(files);
            return splits.Count == 0 ? null : Cached(repo, folder, DatasetSplit.Choose(repo, splits, configuration, split).Files);
        }
        catch (HubException)
        {
            return null; // another split was downloaded
        }
    }

    private static HubSnapshot Cached(HubRepo repo, string folder, IReadOnlyList<string>? files) =>
        new(repo, Path.GetFileName(folder), folder, files is null
            ? [.. Directory.EnumerateFiles(folder)] : [.. files.Select(f => Path.Combine([folder, .. f.Split('/')]))]);

    private HubException NotCached(HubRepo repo, string revision, bool offline) => new(HubError.NotCached,
        $"The {repo} ({revision}) is not complete in the cache {Cache.Folder}"
        + (offline ? $", and {Options.OfflineVariable} forbids to download it; unset that, or download it once while online." : "."));

    // What the cache can stand in for. A refusal (401, 404) is not among it.
    private static bool MayPass(HubException e) =>
        e.Error is HubError.Connection or HubError.Unavailable or HubError.NotCached;
}
