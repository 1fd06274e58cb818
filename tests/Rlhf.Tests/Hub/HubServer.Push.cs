using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;

namespace Rlhf.Tests.Hub;

/// <summary>The server's other half: taking files.</summary>
internal sealed partial class HubServer
{
    private const int SampleBytes = 512, MostFiles = 256;

    private readonly Dictionary<(string Oid, int Part), byte[]> uploadedParts = [];

    /// <summary>LFS objects of more bytes come in parts of this size.</summary>
    public int PartSize { get; set; } = 5000;

    /// <summary>Messages of the commits that were pushed.</summary>
    public List<string> Summaries { get; } = [];

    private void AnswerPost(HttpListenerContext context, string[] parts)
    {
        var request = context.Request;
        if (request.Headers["Authorization"] is null)
            throw new Refusal(401, "who are you?", violation: false);
        if (parts is ["api", "repos", "create"])
            Create(context);
        else if (parts is [_, _, "info", "lfs", "objects", "batch"] && parts[1].EndsWith(".git", StringComparison.Ordinal))
            Batch(context);
        else if (parts is ["verify"])
            Verify(context);
        else if (parts is
            ["api", "models", var owner, var name, var verb and ("preupload" or "commit" or "branch"), var revision])
        {
            var repo = Find(context, "models", $"{owner}/{name}", metadata: true);
            if (verb == "branch")
                Branch(context, repo, revision);
            else
            {
                CommitOf(repo, revision);
                if (verb == "preupload")
                    Preupload(context, repo, revision);
                else
                    Commit(context, repo, revision);
            }
        }
        else
            throw new Refusal(404, "nothing is posted here");
    }

    private void Create(HttpListenerContext context)
    {
        var body = Body(context, "application/json");
        foreach (var property in body.EnumerateObject())
            Require(property.Name is "name" or "organization" or "type" or "private", $"unknown key {property.Name}");
        string name = body.GetProperty("name").GetString()!;
        Require(!name.Contains('/'), "the name holds its owner");
        string owner = body.TryGetProperty("organization", out var organization) && organization.ValueKind == JsonValueKind.String
            ? organization.GetString()! : "tester";
        if (owner is not ("org" or "tester"))
            throw new Refusal(403, "not yours", violation: false);
        var repo = new ServerRepo { Private = body.GetProperty("private").GetBoolean() };
        repo.Commit("main", new() { [".gitattributes"] = "*.safetensors filter=lfs"u8.ToArray() });
        if (!Repos.TryAdd($"models/{owner}/{name}", repo))
            throw new Refusal(409, "exists", violation: false);
        Json(context, new { url = $"{Endpoint}{owner}/{name}" }, new());
    }

    private void Branch(HttpListenerContext context, ServerRepo repo, string name)
    {
        Body(context, "application/json");
        if (repo.Branches.ContainsKey(name))
            throw new Refusal(409, "exists", violation: false);
        repo.Branches[name] = repo.Branches["main"];
        Json(context, new { }, new());
    }

    private void Preupload(HttpListenerContext context, ServerRepo repo, string revision)
    {
        var files = Body(context, "application/json").GetProperty("files").EnumerateArray().ToArray();
        Require(files.Length is > 0 and <= MostFiles, "at most 256 files at once");
        Json(context, new
        {
            files = files.Select(file =>
            {
                string path = file.GetProperty("path").GetString()!;
                long size = file.GetProperty("size").GetInt64();
                int sample = Convert.FromBase64String(file.GetProperty("sample").GetString()!).Length;
                Require(sample == Math.Min(size, SampleBytes), "the sample is the first 512 bytes");
                var held = repo.Commits[repo.Branches[revision]].GetValueOrDefault(path);
                return new
                {
                    path,
                    uploadMode = IsLfs(path) ? "lfs" : "regular",
                    shouldIgnore = path == "ignored.txt",
                    oid = held is null ? null : IsLfs(path) ? Sha256(held) : GitBlob(held),
                };
            }).ToArray(),
        }, new());
    }

    private void Batch(HttpListenerContext context)
    {
        const string Lfs = "application/vnd.git-lfs+json";
        Require(context.Request.Headers["Accept"] == Lfs, "Accept");
        var body = Body(context, Lfs);
        Require(body.GetProperty("operation").GetString() == "upload", "operation");
        Require(body.GetProperty("hash_algo").GetString() == "sha256", "hash_algo");
        var transfers = body.GetProperty("transfers").EnumerateArray().Select(t => t.GetString());
        Require(transfers.SequenceEqual(["basic", "multipart"]), "transfers");
        Require(body.GetProperty("ref").GetProperty("name").GetString() is { Length: > 0 }, "ref");
        Json(context, new
        {
            transfer = "basic",
            objects = body.GetProperty("objects").EnumerateArray().Select(o =>
            {
                string oid = o.GetProperty("oid").GetString()!;
                int size = o.GetProperty("size").GetInt32();
                if (Objects.ContainsKey(oid))
                    return (object)new { oid, size };
                var verify = new { href = $"{Endpoint}verify" };
                if (size <= PartSize)
                    return Actions(new { href = $"{Storage}put/{oid}?signature=abc" });
                int count = (size + PartSize - 1) / PartSize;
                var header = Enumerable.Range(1, count).ToDictionary(
                    n => n.ToString("D5", CultureInfo.InvariantCulture), n => $"{Storage}part/{oid}/{n}?signature=abc");
                header["chunk_size"] = PartSize.ToString(CultureInfo.InvariantCulture);
                return Actions(new { href = $"{Storage}complete/{oid}?signature=abc", header });

                object Actions(object upload) => new { oid, size, actions = new { upload, verify } };
            }).ToArray(),
        }, new());
    }

    private void AnswerUpload(HttpListenerContext context, string[] parts)
    {
        var request = context.Request;
        byte[] content = Bytes(context);
        if (parts is ["put", var oid] && request.HttpMethod == "PUT")
        {
            Require(Sha256(content) == oid, "the content is not what was announced");
            Objects[oid] = content;
        }
        else if (parts is ["part", var whole, var number] && request.HttpMethod == "PUT")
        {
            int part = int.Parse(number, CultureInfo.InvariantCulture);
            lock (gate)
                uploadedParts[(whole, part)] = content;
            context.Response.Headers["ETag"] = $"\"part-{part}\"";
        }
        else if (parts is ["complete", var finished] && request.HttpMethod == "POST")
        {
            var body = JsonDocument.Parse(content).RootElement;
            Require(body.GetProperty("oid").GetString() == finished, "oid");
            var numbers = body.GetProperty("parts").EnumerateArray().Select(p =>
            {
                int n = p.GetProperty("partNumber").GetInt32();
                Require(p.GetProperty("etag").GetString() == $"\"part-{n}\"", "etag");
                return n;
            }).ToArray();
            byte[] all;
            lock (gate)
                all = [.. numbers.SelectMany(n => uploadedParts[(finished, n)])];
            Require(Sha256(all) == finished, "the parts are not what was announced");
            Objects[finished] = all;
        }
        else
            throw new Refusal(404, "nothing is stored here");
        context.Response.ContentLength64 = 0;
        context.Response.Close();
    }

    private void Verify(HttpListenerContext context)
    {
        var body = Body(context, "application/vnd.git-lfs+json");
        string oid = body.GetProperty("oid").GetString()!;
        long size = body.GetProperty("size").GetInt64();
        Require(Objects.TryGetValue(oid, out var content) && content.Length == size, "not uploaded");
        Json(context, new { }, new());
    }

    private void Commit(HttpListenerContext context, ServerRepo repo, string revision)
    {
        Require(context.Request.ContentType == "application/x-ndjson", "Content-Type");
        var lines = Encoding.UTF8.GetString(Bytes(context)).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => JsonDocument.Parse(line).RootElement).ToArray();
        Require(lines[0].GetProperty("key").GetString() == "header", "the header comes first");
        string summary = lines[0].GetProperty("value").GetProperty("summary").GetString()!;
        Require(summary.Length > 0, "summary");
        var files = new Dictionary<string, byte[]>(repo.Commits[repo.Branches[revision]]);
        Require(lines.Length > 1, "an empty commit");
        foreach (var line in lines[1..])
        {
            var value = line.GetProperty("value");
            string path = value.GetProperty("path").GetString()!;
            if (line.GetProperty("key").GetString() == "file")
            {
                Require(!IsLfs(path) && value.GetProperty("encoding").GetString() == "base64", "a file that belongs to LFS");
                files[path] = Convert.FromBase64String(value.GetProperty("content").GetString()!);
            }
            else
            {
                Require(line.GetProperty("key").GetString() == "lfsFile" && IsLfs(path), "a key that is not known");
                Require(value.GetProperty("algo").GetString() == "sha256", "algo");
                files[path] = Objects[value.GetProperty("oid").GetString()!];
                Require(files[path].Length == value.GetProperty("size").GetInt64(), "size");
            }
        }
        string sha = repo.Commit(revision, files);
        Summaries.Add(summary);
        Json(context, new { success = true, commitOid = sha, commitUrl = $"{Endpoint}commit/{sha}", hookOutput = "" }, new());
    }

    private static JsonElement Body(HttpListenerContext context, string type)
    {
        Require(context.Request.ContentType?.Split(';')[0] == type, $"Content-Type must be {type}");
        return JsonDocument.Parse(Bytes(context)).RootElement;
    }

    private static byte[] Bytes(HttpListenerContext context)
    {
        Require(context.Request.ContentLength64 >= 0, "no Content-Length");
        var body = new MemoryStream();
        context.Request.InputStream.CopyTo(body);
        return body.ToArray();
    }
}
