using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace Rlhf.Hub;

/// <summary>Takes files to a model's repository: preupload, LFS, commit.</summary>
internal sealed class HubUpload(HubHttp http, HubOptions options, HubRepo repo, string revision)
{
    private const int FilesAtOnce = 256;
    private const string Json = "application/json", Lfs = "application/vnd.git-lfs+json", Lines = "application/x-ndjson";

    private sealed record Plan(PushFile File, bool IsLfs, string? HeldOid);

    private sealed record LfsObject(PushFile File, string Oid);

    private sealed record Change(string Path, byte[] Line, LfsObject? Upload);

    private HubSubject Subject => new($"a push to {repo.Id}", repo, revision);

    /// <summary>Makes the repository unless it exists.</summary>
    /// <exception cref="HubException">It cannot be made, or it is public and must not be.</exception>
    public async Task CreateAsync(bool isPrivate, CancellationToken cancellation)
    {
        string[] parts = repo.Id.Split('/');
        var call = Post("api/repos/create", Body(Json, new
        {
            name = parts[1],
            organization = parts[0],
            @private = isPrivate, // as huggingface.js says it; the newest Python client says visibility
        })) with
        { Subject = new($"making the repository {repo.Id}") };
        try
        {
            await SendAsync(call, cancellation, HttpStatusCode.Conflict).ConfigureAwait(false);
        }
        catch (HubException e) when (e.Error == HubError.Forbidden)
        {
            // Who may write to a repository may not always make one.
            if (await IsPrivateAsync(cancellation).ConfigureAwait(false) is null)
                throw;
        }
        if (isPrivate && await IsPrivateAsync(cancellation).ConfigureAwait(false) != true)
            throw IsPublic();
    }

    /// <summary>Refuses a repository that exists and is public.</summary>
    /// <exception cref="HubException">It is, or the Hub cannot be asked.</exception>
    public async Task CheckPrivateAsync(CancellationToken cancellation)
    {
        if (await IsPrivateAsync(cancellation).ConfigureAwait(false) == false)
            throw IsPublic();
    }

    private HubException IsPublic() => new(HubError.Forbidden,
        $"{repo.Id} exists and is public, so nothing was pushed; make it private on its page, or push without private.");

    /// <summary>Makes the branch unless it exists.</summary>
    /// <exception cref="HubException">It cannot be made.</exception>
    public Task CreateBranchAsync(CancellationToken cancellation) => revision == "main" ? Task.CompletedTask : SendAsync(
        Post($"api/{repo.ApiPath}/branch/{Uri.EscapeDataString(revision)}", Body(Json, new { })),
        cancellation, HttpStatusCode.Conflict);

    /// <summary>Uploads what the repository does not hold and commits it.</summary>
    /// <exception cref="HubException">It cannot be pushed.</exception>
    public async Task<HubPushResult> PushAsync(
        IReadOnlyList<PushFile> files, string message, Action<HubProgress>? progress, CancellationToken cancellation)
    {
        var plans = new List<Plan>();
        foreach (var some in files.Chunk(FilesAtOnce))
            plans.AddRange(await PlanAsync(some, cancellation).ConfigureAwait(false));
        var changes = new List<Change>();
        foreach (var plan in plans)
            if (await ChangeAsync(plan, cancellation).ConfigureAwait(false) is { } change)
                changes.Add(change);
        var page = http.Address(repo.PagePath);
        int unchanged = plans.Count - changes.Count;
        if (changes.Count == 0)
            return new(repo, null, page, [], unchanged, 0);
        LfsObject[] objects = [.. changes.Select(c => c.Upload).OfType<LfsObject>().DistinctBy(o => o.Oid)];
        long uploaded = await UploadAsync(objects, progress, cancellation).ConfigureAwait(false);
        byte[] header = Line("header", new { summary = message, description = "" });
        string commit = await CommitAsync([header, .. changes.Select(c => c.Line)], cancellation).ConfigureAwait(false);
        return new(repo, commit, page, [.. changes.Select(c => c.Path)], unchanged, uploaded);
    }

    /// <summary>What the commit says of a file; null when the repository holds it as it is.</summary>
    private async Task<Change?> ChangeAsync(Plan plan, CancellationToken cancellation)
    {
        string path = plan.File.Path;
        if (plan.IsLfs)
        {
            string oid = await plan.File.Sha256Async(cancellation).ConfigureAwait(false);
            return oid == plan.HeldOid ? null : new(path,
                Line("lfsFile", new { path, algo = "sha256", oid, size = plan.File.Size }), new(plan.File, oid));
        }
        byte[] content = Read(plan.File);
        return plan.HeldOid is not null && HubHash.GitBlob(content) == plan.HeldOid ? null : new(path,
            Line("file", new { path, content = Convert.ToBase64String(content), encoding = "base64" }), null);
    }

    /// <summary>Whether the repository is private; null when none is shown.</summary>
    private async Task<bool?> IsPrivateAsync(CancellationToken cancellation)
    {
        try
        {
            using var info = await InfoAsync(cancellation).ConfigureAwait(false);
            return info.RootElement is { ValueKind: JsonValueKind.Object } root && root.TryGetProperty("private", out var flag)
                && flag.ValueKind == JsonValueKind.True;
        }
        catch (HubException e) when (e.Error is HubError.RepositoryNotFound or HubError.Forbidden)
        {
            return null;
        }
    }

    private Task<JsonDocument> InfoAsync(CancellationToken cancellation) => http.JsonAsync(
        new HubCall(HttpMethod.Get, http.Address($"api/{repo.ApiPath}"), Subject)
        {
            Access = HubAccess.Token,
            Timeout = options.EtagTimeout,
        }, cancellation);

    /// <summary>Asks which way each file goes, and what the repository holds of it.</summary>
    private async Task<IReadOnlyList<Plan>> PlanAsync(IReadOnlyList<PushFile> files, CancellationToken cancellation)
    {
        var described = files.Select(f => new { path = f.Path, sample = Convert.ToBase64String(f.Sample()), size = f.Size });
        var body = new { files = described.ToArray() };
        var call = Post($"api/{repo.ApiPath}/preupload/{Uri.EscapeDataString(revision)}", Body(Json, body));
        using var json = await http.JsonAsync(call, cancellation).ConfigureAwait(false);
        var byPath = files.ToDictionary(f => f.Path);
        return Parsed(call, () => json.RootElement.GetProperty("files").EnumerateArray()
            .Where(a => !(a.TryGetProperty("shouldIgnore", out var ignore) && ignore.ValueKind == JsonValueKind.True))
            .Select(a =>
            {
                var file = byPath[a.GetProperty("path").GetString()!];
                string? oid = a.TryGetProperty("oid", out var held) && held.ValueKind == JsonValueKind.String
                    ? held.GetString() : null;
                return new Plan(file, a.GetProperty("uploadMode").GetString() == "lfs" && file.Size > 0, oid);
            }).ToArray());
    }

    private async Task<long> UploadAsync(
        IReadOnlyList<LfsObject> objects, Action<HubProgress>? progress, CancellationToken cancellation)
    {
        long uploaded = 0;
        foreach (var some in objects.Chunk(FilesAtOnce))
        {
            var call = Post($"{repo.PagePath}.git/info/lfs/objects/batch", Body(Lfs, new Dictionary<string, object>
            {
                ["operation"] = "upload",
                ["transfers"] = new[] { "basic", "multipart" },
                ["objects"] = some.Select(o => new { oid = o.Oid, size = o.File.Size }).ToArray(),
                ["hash_algo"] = "sha256",
                ["ref"] = new { name = revision },
            })) with
            { Accept = Lfs };
            using var json = await http.JsonAsync(call, cancellation).ConfigureAwait(false);
            var byOid = some.ToDictionary(o => o.Oid, o => o.File);
            var wanted = Parsed(call, () => json.RootElement.GetProperty("objects").EnumerateArray()
                .Select(o => LfsActions.Read(o, byOid, options)).OfType<LfsActions>().ToArray());
            var sum = new HubProgressSum(wanted.Length, wanted.Sum(w => w.File.Size), progress);
            var parallel = new ParallelOptions
            {
                MaxDegreeOfParallelism = Math.Max(1, options.Parallel),
                CancellationToken = cancellation,
            };
            await Parallel.ForEachAsync(wanted, parallel, async (actions, token) =>
            {
                await actions.UploadAsync(http, options, Subject, sum, token).ConfigureAwait(false);
                sum.Finish();
            }).ConfigureAwait(false);
            uploaded += wanted.Sum(w => w.File.Size);
        }
        return uploaded;
    }

    // Repeating a commit that did arrive makes an empty one at worst: its content is the same.
    private async Task<string> CommitAsync(IEnumerable<byte[]> lines, CancellationToken cancellation)
    {
        byte[] body = [.. lines.SelectMany(line => line)];
        var call = Post($"api/{repo.ApiPath}/commit/{Uri.EscapeDataString(revision)}", Body(Lines, body));
        using var json = await http.JsonAsync(call, cancellation).ConfigureAwait(false);
        return Parsed(call, () => json.RootElement.GetProperty("commitOid").GetString()!);
    }

    private byte[] Read(PushFile file)
    {
        byte[] content = file.Content ?? File.ReadAllBytes(file.Local!);
        if (options.Token is { } token && content.AsSpan().IndexOf(Encoding.UTF8.GetBytes(token)) >= 0)
            throw new HubException(HubError.Forbidden, $"{file.Path} holds your Hub token; remove it, nothing was pushed.");
        return content;
    }

    private HubCall Post(string path, Func<HttpContent> content) => new(HttpMethod.Post, http.Address(path), Subject)
    {
        Access = HubAccess.Token,
        Content = content,
        Timeout = options.UploadTimeout,
    };

    private Task SendAsync(HubCall call, CancellationToken cancellation, HttpStatusCode alsoGood) =>
        http.Retry.RunAsync(async token =>
        {
            using var response = await http.SendAsync(call, token).ConfigureAwait(false);
            if (response.StatusCode != alsoGood)
                HubAnswer.ThrowIfFailed(response, call, options);
            return true;
        }, cancellation);

    private static byte[] Line(string key, object value) =>
        [.. JsonSerializer.SerializeToUtf8Bytes(new { key, value }), (byte)'\n'];

    internal static Func<HttpContent> Body(string type, object value)
    {
        byte[] bytes = value as byte[] ?? JsonSerializer.SerializeToUtf8Bytes(value);
        return () => new ByteArrayContent(bytes) { Headers = { ContentType = new MediaTypeHeaderValue(type) } };
    }

    internal static T Parsed<T>(HubCall call, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException or FormatException or ArgumentException
            or OverflowException)
        {
            throw HubAnswer.NotTheHub(call, e);
        }
    }
}
