using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Rlhf.Tests.Hub;

/// <summary>What the server does wrong with a request.</summary>
/// <param name="Status">Answers with this status.</param>
/// <param name="RetryAfter">Retry-After of that answer.</param>
/// <param name="ErrorCode">X-Error-Code of that answer.</param>
/// <param name="TruncateAfter">Breaks the connection after this many bytes of the body; 0 before any answer.</param>
/// <param name="Corrupt">Sends other bytes than it should.</param>
/// <param name="IgnoreRange">Answers 200 with everything to a request for a part.</param>
/// <param name="Silent">Goes silent after TruncateAfter bytes.</param>
/// <param name="Headers">Replaces headers of a good answer.</param>
/// <param name="Location">Redirects to there.</param>
/// <param name="NoLength">Does not say how long the body is.</param>
internal sealed record Fault(
    int? Status = null, string? RetryAfter = null, string? ErrorCode = null, int? TruncateAfter = null, bool Corrupt = false,
    bool IgnoreRange = false, bool Silent = false, IReadOnlyDictionary<string, string>? Headers = null, Uri? Location = null,
    bool NoLength = false);

/// <summary>A repository on the server.</summary>
internal sealed class ServerRepo
{
    public Dictionary<string, Dictionary<string, byte[]>> Commits { get; } = [];

    public Dictionary<string, string> Branches { get; } = [];

    public bool Private { get; set; }

    public bool Gated { get; set; }

    public string? MovedTo { get; init; }

    public string Commit(string branch, Dictionary<string, byte[]> files)
    {
        var described = files.OrderBy(f => f.Key, StringComparer.Ordinal).Select(f => f.Key + HubServer.Sha256(f.Value));
        string sha = Convert.ToHexStringLower(SHA1.HashData(
            Encoding.UTF8.GetBytes($"{Commits.Count}\n{string.Join('\n', described)}")));
        Commits[sha] = files;
        Branches[branch] = sha;
        return sha;
    }
}

/// <summary>
/// The Hub on this machine, and a second host (another port of localhost) that its redirects lead to. Both refuse whatever the
/// protocol does not allow, and remember it: <see cref="Check"/> fails the test.
/// </summary>
internal sealed partial class HubServer : IDisposable
{
    public const string Token = "hf_TheSecretOfTheTests";

    private readonly HttpListener hub, cdn;
    private readonly List<(string Match, Queue<Fault> Faults)> faults = [];
    private readonly ConcurrentQueue<string> violations = new();
    private readonly Lock gate = new();
    private readonly ManualResetEventSlim closing = new();

    public HubServer()
    {
        (hub, Endpoint) = Listen("127.0.0.1");
        (cdn, Storage) = Listen("localhost");
        Serve(hub, AnswerHub);
        Serve(cdn, AnswerStorage);
    }

    public Uri Endpoint { get; }

    public Uri Storage { get; }

    public ConcurrentQueue<string> Requests { get; } = new();

    public ConcurrentDictionary<string, ServerRepo> Repos { get; } = new();

    /// <summary>LFS objects by oid.</summary>
    public ConcurrentDictionary<string, byte[]> Objects { get; } = new();

    /// <summary>What the token may do.</summary>
    public string Role { get; set; } = "write";

    /// <summary>Organizations of the token's owner, and what may be done in them.</summary>
    public Dictionary<string, string> Organizations { get; } = new() { ["org"] = "admin" };

    /// <summary>Entries on one page of a tree.</summary>
    public int PageSize { get; set; } = 1000;

    public static bool IsLfs(string path) => Path.GetExtension(path) is ".safetensors" or ".bin" or ".parquet";

    public static string Sha256(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));

    public static string GitBlob(byte[] content) =>
        Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes($"blob {content.Length}\0"), .. content]));

    /// <summary>Adds a repository such as models/org/name with one commit.</summary>
    public ServerRepo Add(string name, Dictionary<string, byte[]> files)
    {
        var repo = Repos[name] = new ServerRepo();
        repo.Commit("main", files);
        foreach (var (path, content) in files)
            if (IsLfs(path))
                Objects[Sha256(content)] = content;
        return repo;
    }

    /// <summary>The next requests whose "METHOD /path" contains the text fail in these ways, one after another.</summary>
    public void Fail(string match, params Fault[] ways)
    {
        lock (gate)
            faults.Add((match, new(ways)));
    }

    public int Count(string match) => Requests.Count(r => r.Contains(match, StringComparison.Ordinal));

    /// <summary>Fails the test if a request broke the protocol.</summary>
    public void Check() => Assert.Empty(violations);

    public void Dispose()
    {
        closing.Set();
        hub.Close();
        cdn.Close();
    }

    private static (HttpListener, Uri) Listen(string host)
    {
        for (int attempt = 0; ; attempt++)
        {
            using var probe = new TcpListener(IPAddress.Loopback, 0);
            probe.Start();
            int port = ((IPEndPoint)probe.LocalEndpoint).Port;
            probe.Stop();
            var listener = new HttpListener { Prefixes = { $"http://{host}:{port}/" } };
            try
            {
                listener.Start();
                return (listener, new Uri($"http://{host}:{port}/"));
            }
            catch (HttpListenerException) when (attempt < 20)
            {
                listener.Close(); // another test took the port
            }
        }
    }

    private void Serve(HttpListener listener, Action<HttpListenerContext, Fault> answer) => _ = Task.Run(async () =>
    {
        while (listener.IsListening)
        {
            HttpListenerContext context;
            try
            {
                context = await listener.GetContextAsync();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }
            _ = Task.Run(() => Handle(context, answer));
        }
    });

    private void Handle(HttpListenerContext context, Action<HttpListenerContext, Fault> answer)
    {
        var (request, response) = (context.Request, context.Response);
        string line = $"{request.HttpMethod} {request.RawUrl}{(request.Headers["Range"] is { } range ? " " + range : "")}";
        Requests.Enqueue(line);
        try
        {
            if (string.IsNullOrEmpty(request.UserAgent))
                throw new Refusal(400, "no User-Agent");
            var fault = NextFault(line);
            if (fault.TruncateAfter == 0 && !fault.Silent)
                Reset(context);
            else if (fault.Location is { } location)
            {
                response.Redirect(location.ToString());
                response.Close();
            }
            else if (fault.Status is { } status)
                Status(response, status, fault.ErrorCode, fault.RetryAfter);
            else
                answer(context, fault);
        }
        catch (Refusal refusal)
        {
            if (refusal.IsViolation)
                violations.Enqueue($"{line}: {refusal.Message}");
            Status(response, refusal.Status, refusal.ErrorCode);
        }
        catch (Exception e) when (e is HttpListenerException or IOException or ObjectDisposedException
            or InvalidOperationException)
        {
            response.Abort(); // the client left
        }
        catch (Exception e)
        {
            violations.Enqueue($"{line}: {e}");
            response.Abort();
        }
    }

    // HttpListenerResponse.Abort would still send an answer; the connection must be reset without one.
    private void Reset(HttpListenerContext context)
    {
        const BindingFlags Hidden = BindingFlags.Instance | BindingFlags.NonPublic;
        var connection = typeof(HttpListenerContext).GetProperty("Connection", Hidden)?.GetValue(context);
        if (connection?.GetType().GetField("_socket", Hidden)?.GetValue(connection) is not Socket socket)
            throw new NotSupportedException("The listener hides its connections on this system.");
        socket.LingerState = new(true, 0);
        socket.Close();
    }

    private Fault NextFault(string line)
    {
        lock (gate)
            foreach (var (match, queue) in faults)
                if (line.Contains(match, StringComparison.Ordinal) && queue.TryDequeue(out var fault))
                    return fault;
        return new();
    }

    private void AnswerHub(HttpListenerContext context, Fault fault)
    {
        var request = context.Request;
        if (request.Headers["Authorization"] is { } authorization && authorization != $"Bearer {Token}")
            throw new Refusal(401, "another token", violation: false);
        string[] parts = [.. request.RawUrl!.Split('?')[0].TrimStart('/').Split('/').Select(Uri.UnescapeDataString)];
        if (parts is ["api", "resolve-cache", .. var cached])
            AnswerResolve(context, cached[0] is "datasets" or "spaces" ? cached : cached[1..], fault, direct: true);
        else if (parts is ["api", "whoami-v2"])
            WhoAmI(context);
        else if (request.HttpMethod == "POST")
            AnswerPost(context, parts);
        else if (parts is ["api", var kind, .. var rest])
            AnswerApi(context, kind, rest, fault);
        else
            AnswerResolve(context, parts, fault);
    }

    private void AnswerApi(HttpListenerContext context, string kind, string[] rest, Fault fault)
    {
        Require(context.Request.HttpMethod == "GET" && kind is "models" or "datasets" or "spaces", "not of the API");
        int verb = Array.FindIndex(rest, p => p is "revision" or "tree");
        Require(verb is 1 or 2 && rest.Length == verb + 2 || verb < 0 && rest.Length is 1 or 2, "not of the API");
        string id = string.Join('/', verb < 0 ? rest : rest[..verb]);
        if (Redirects(context, kind, id))
            return;
        var repo = Find(context, kind, id, metadata: true);
        if (verb < 0)
        {
            Json(context, new { id, @private = repo.Private, gated = repo.Gated }, fault);
            return;
        }
        string sha = CommitOf(repo, rest[verb + 1]);
        if (rest[verb] == "revision")
            Json(context, new { id, sha, siblings = repo.Commits[sha].Keys.Select(f => new { rfilename = f }) }, fault);
        else
            Tree(context, repo.Commits[sha], fault);
    }

    private void Tree(HttpListenerContext context, Dictionary<string, byte[]> files, Fault fault)
    {
        Require(context.Request.QueryString["recursive"] == "true", "only recursive trees are served");
        int start = int.Parse(context.Request.QueryString["cursor"] ?? "0", CultureInfo.InvariantCulture);
        var entries = files.OrderBy(f => f.Key, StringComparer.Ordinal).Select(f => new
        {
            type = "file",
            path = f.Key,
            size = f.Value.Length,
            oid = GitBlob(f.Value),
            lfs = IsLfs(f.Key) ? new { oid = Sha256(f.Value), size = f.Value.Length, pointerSize = 134 } : null,
        }).Cast<object>().Prepend(new { type = "directory", path = "folder", size = 0, oid = new string('0', 40) });
        if (start + PageSize <= files.Count)
            context.Response.Headers["Link"] = $"<{Endpoint}{context.Request.Url!.AbsolutePath.TrimStart('/')}?recursive=true"
                + $"&cursor={start + PageSize}>; rel=\"next\"";
        Json(context, entries.Skip(start).Take(PageSize), fault);
    }

    private void AnswerResolve(HttpListenerContext context, string[] parts, Fault fault, bool direct = false)
    {
        Require(context.Request.HttpMethod is "GET" or "HEAD", "no such method here");
        Require(context.Request.Headers["Accept-Encoding"] == "identity", "content must not be compressed on the way");
        string kind = parts[0] is "datasets" or "spaces" ? parts[0] : "models";
        string[] rest = kind == "models" ? parts : parts[1..];
        int verb = Array.IndexOf(rest, "resolve");
        Require(verb is 1 or 2 && rest.Length > verb + 2, "not a file's address");
        string id = string.Join('/', rest[..verb]), path = string.Join('/', rest[(verb + 2)..]);
        if (Redirects(context, kind, id))
            return;
        var repo = Find(context, kind, id, metadata: false);
        string sha = CommitOf(repo, rest[verb + 1]);
        var response = context.Response;
        response.Headers["X-Repo-Commit"] = sha;
        if (!repo.Commits[sha].TryGetValue(path, out var content))
            throw new Refusal(404, "no such file", "EntryNotFound", violation: false);
        if (IsLfs(path))
        {
            response.Headers["X-Linked-Etag"] = $"\"{Sha256(content)}\"";
            response.Headers["X-Linked-Size"] = content.Length.ToString(CultureInfo.InvariantCulture);
            response.Headers["ETag"] = "\"of-the-redirect\"";
            response.Headers["Location"] = $"{Storage}lfs/{Sha256(content)}?signature=abc";
            Replace(response, fault);
            response.StatusCode = 302;
            response.Close();
            return;
        }
        if (!direct) // small files come by way of a redirect on the same host
        {
            string address = string.Join('/', $"{kind}/{id}/resolve/{sha}/{path}".Split('/').Select(Uri.EscapeDataString));
            response.Headers["Location"] = $"/api/resolve-cache/{address}";
            response.StatusCode = 307;
            response.Close();
            return;
        }
        response.Headers["ETag"] = $"W/\"{GitBlob(content)}\"";
        Send(context, content, fault);
    }

    private void AnswerStorage(HttpListenerContext context, Fault fault)
    {
        var request = context.Request;
        Require(request.Headers["Authorization"] is null, "THE TOKEN WENT TO ANOTHER HOST");
        Require(request.QueryString["signature"] == "abc", "no signature");
        string[] parts = request.Url!.AbsolutePath.TrimStart('/').Split('/');
        if (parts is ["lfs", var oid] && request.HttpMethod == "GET")
            Send(context, Objects[oid], fault);
        else
            AnswerUpload(context, parts);
    }

    private void Send(HttpListenerContext context, byte[] content, Fault fault)
    {
        var (request, response) = (context.Request, context.Response);
        Replace(response, fault);
        int from = 0;
        if (request.Headers["Range"] is { } range && !fault.IgnoreRange)
        {
            Require(range.StartsWith("bytes=", StringComparison.Ordinal) && range.EndsWith('-'), "only bytes=n- is asked for");
            from = int.Parse(range["bytes=".Length..^1], CultureInfo.InvariantCulture);
            if (from >= content.Length)
                throw new Refusal(416, "beyond the end", violation: false);
            response.StatusCode = 206;
            response.Headers["Content-Range"] = $"bytes {from}-{content.Length - 1}/{content.Length}";
        }
        var body = content[from..];
        if (fault.Corrupt)
            body = [.. body.Select(b => (byte)(b ^ 1))];
        if (fault.NoLength)
            response.SendChunked = true;
        else
            response.ContentLength64 = body.Length;
        if (request.HttpMethod == "HEAD")
        {
            response.Close();
            return;
        }
        if (fault.TruncateAfter is { } count)
        {
            response.OutputStream.Write(body, 0, count);
            response.OutputStream.Flush();
            if (fault.Silent)
                closing.Wait(); // until the test is over: the client has to give up
            response.Abort();
            return;
        }
        response.OutputStream.Write(body);
        response.Close();
    }

    private bool Redirects(HttpListenerContext context, string kind, string id)
    {
        if (!Repos.TryGetValue($"{kind}/{id}", out var repo) || repo.MovedTo is not { } moved)
            return false;
        context.Response.Headers["Location"] = context.Request.RawUrl!.Replace(id, moved, StringComparison.Ordinal);
        context.Response.StatusCode = 307;
        context.Response.Close();
        return true;
    }

    // As the Hub: who is unknown hears 401 of what is private and of what is not there.
    private ServerRepo Find(HttpListenerContext context, string kind, string id, bool metadata)
    {
        bool known = context.Request.Headers["Authorization"] is not null;
        if (!Repos.TryGetValue($"{kind}/{id}", out var repo) || (repo.Private && !known))
            throw known ? new Refusal(404, "no repository", "RepoNotFound", violation: false)
                : new Refusal(401, "who are you?", violation: false);
        if (repo.Gated && !metadata)
            throw new Refusal(known ? 403 : 401, "gated", "GatedRepo", violation: false);
        return repo;
    }

    private static string CommitOf(ServerRepo repo, string revision) =>
        repo.Branches.TryGetValue(revision, out var sha) ? sha : repo.Commits.ContainsKey(revision) ? revision
            : throw new Refusal(404, "no revision", "RevisionNotFound", violation: false);

    private void WhoAmI(HttpListenerContext context)
    {
        if (context.Request.Headers["Authorization"] is null)
            throw new Refusal(401, "who are you?", violation: false);
        Json(context, new
        {
            type = "user",
            name = "tester",
            fullname = "A tester",
            orgs = Organizations.Select(o => new { name = o.Key, roleInOrg = o.Value }),
            auth = new { type = "access_token", accessToken = new { displayName = "test", role = Role } },
        }, new());
    }

    private void Json(HttpListenerContext context, object value, Fault fault)
    {
        context.Response.ContentType = "application/json; charset=utf-8";
        Send(context, JsonSerializer.SerializeToUtf8Bytes(value), fault);
    }

    private static void Replace(HttpListenerResponse response, Fault fault)
    {
        foreach (var (name, value) in fault.Headers ?? new Dictionary<string, string>())
            response.Headers[name] = value;
    }

    private static void Status(HttpListenerResponse response, int status, string? errorCode, string? retryAfter = null)
    {
        response.StatusCode = status;
        if (errorCode is not null)
            response.Headers["X-Error-Code"] = errorCode;
        if (retryAfter is not null)
            response.Headers["Retry-After"] = retryAfter;
        response.ContentLength64 = 0;
        response.Close();
    }

    private static void Require(bool condition, string what)
    {
        if (!condition)
            throw new Refusal(400, what);
    }

    private sealed class Refusal(int status, string message, string? errorCode = null, bool violation = true) : Exception(message)
    {
        public int Status { get; } = status;

        public string? ErrorCode { get; } = errorCode;

        public bool IsViolation { get; } = violation;
    }
}
