using System.Text;
using Rlhf.Hub;

namespace Rlhf.Tests.Hub;

/// <summary>What arrives in the cache, by which requests, and what becomes of everything that can go wrong on the way.</summary>
public sealed class HubDownloadTests : HubTestBase
{
    private static string Content(HubSnapshot snapshot, string file) =>
        Encoding.UTF8.GetString(File.ReadAllBytes(System.IO.Path.Combine(snapshot.Folder, file)));

    [Fact]
    public async Task What_a_run_needs_arrives_in_hugging_faces_layout()
    {
        var repo = Server.Add(Path, ModelFiles());
        string commit = repo.Branches["main"];
        var reports = new List<HubProgress>();
        using var hub = Client();
        var snapshot = await hub.DownloadModelAsync(Id, progress: reports.Add);

        string root = System.IO.Path.Combine(CacheFolder, "models--org--toy");
        Assert.Equal(System.IO.Path.Combine(root, "snapshots", commit), snapshot.Folder);
        Assert.Equal(["config.json", "merges.txt", "model.safetensors", "vocab.json"],
            Directory.GetFiles(snapshot.Folder).Select(f => System.IO.Path.GetFileName(f)).Order(StringComparer.Ordinal));
        Assert.Equal(commit, File.ReadAllText(System.IO.Path.Combine(root, "refs", "main")));
        Assert.Equal(Random(20_000), File.ReadAllBytes(System.IO.Path.Combine(snapshot.Folder, "model.safetensors")));
        string oid = HubServer.Sha256(Random(20_000));
        Assert.Equal(Random(20_000), File.ReadAllBytes(System.IO.Path.Combine(root, "blobs", oid)));
        Assert.True(File.Exists(System.IO.Path.Combine(root, "blobs", HubServer.GitBlob(ModelFiles()["config.json"]))));
        if (hub.Cache.Links)
            Assert.Equal(System.IO.Path.Combine("..", "..", "blobs", oid),
                new FileInfo(System.IO.Path.Combine(snapshot.Folder, "model.safetensors")).LinkTarget);
        Assert.True(File.Exists(System.IO.Path.Combine(CacheFolder, ".locks", "models--org--toy", oid + ".lock")));
        Assert.Empty(Directory.EnumerateFiles(root, "*.incomplete", SearchOption.AllDirectories));
        long total = snapshot.Files.Sum(f => ModelFiles()[System.IO.Path.GetFileName(f)].Length);
        Assert.Equal(new HubProgress(4, 4, total, total), reports[^1]);
    }

    [Fact]
    public async Task What_is_here_is_not_downloaded_again()
    {
        var repo = Server.Add(Path, ModelFiles());
        using var hub = Client();
        await hub.DownloadModelAsync(Id);
        int before = Server.Requests.Count;
        await hub.DownloadModelAsync(Id);
        Assert.Equal(before + 2, Server.Requests.Count); // the revision and its tree

        // Another commit with the same weights costs the changed file alone.
        var files = ModelFiles();
        files["config.json"] = Text("""{"model_type":"gpt2","n_layer":1}""");
        string commit = repo.Commit("main", files);
        var second = await hub.DownloadModelAsync(Id);
        Assert.Equal(commit, second.Commit);
        Assert.Equal(1, Server.Count("GET /lfs/"));
        Assert.Contains("n_layer", Content(second, "config.json"));

        // A commit never changes: complete in the cache, it costs no request.
        before = Server.Requests.Count;
        await hub.DownloadModelAsync(Id, commit);
        Assert.Equal(before, Server.Requests.Count);
    }

    [Fact]
    public async Task Pytorch_weights_are_taken_only_where_there_are_no_others_and_shards_by_their_index()
    {
        var files = ModelFiles();
        files.Remove("model.safetensors");
        Server.Add("models/org/old", new(files));
        files["model.safetensors.index.json"] = Text(
            """
            {"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors",
              "c":"model-00001-of-00002.safetensors"}}
            """);
        files["model-00001-of-00002.safetensors"] = Random(3000, 5);
        files["model-00002-of-00002.safetensors"] = Random(4000, 6);
        Server.Add("models/org/large", files);
        using var hub = Client();
        var old = await hub.DownloadModelAsync("org/old");
        Assert.Contains(old.Files, f => f.EndsWith("pytorch_model.bin", StringComparison.Ordinal));
        var large = await hub.DownloadModelAsync("org/large");
        Assert.Equal(3, large.Files.Count(f => f.Contains("safetensors", StringComparison.Ordinal)));
        Assert.False(File.Exists(System.IO.Path.Combine(large.Folder, "pytorch_model.bin")));
        string second = System.IO.Path.Combine(large.Folder, "model-00002-of-00002.safetensors");
        Assert.Equal(Random(4000, 6), File.ReadAllBytes(second));
    }

    [Fact]
    public async Task The_token_goes_to_the_hub_alone_and_opens_private_repositories()
    {
        Server.Add(Path, ModelFiles()).Private = true;
        using var stranger = Client();
        var refused = await Assert.ThrowsAsync<HubException>(() => stranger.DownloadModelAsync(Id));
        Assert.Equal(HubError.RepositoryNotFound, refused.Error);
        Assert.Equal("127.0.0.1 shows no model org/toy: correct the name, or set HF_TOKEN if it is private.", refused.Message);

        using var silent = Client(o => o with { Token = HubServer.Token, ImplicitToken = false });
        await Assert.ThrowsAsync<HubException>(() => silent.DownloadModelAsync(Id));

        using var owner = Client(o => o with { Token = HubServer.Token });
        Assert.Equal(4, (await owner.DownloadModelAsync(Id)).Files.Count); // the storage host would have refused the token
        Assert.DoesNotContain(HubServer.Token, owner.Options.ToString());
    }

    [Fact]
    public async Task A_broken_transfer_is_resumed_where_it_ended()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("GET /lfs/", new Fault(TruncateAfter: 7000), new Fault(TruncateAfter: 5000), new Fault(TruncateAfter: 0));
        using var hub = Client();
        await hub.DownloadModelAsync(Id);
        var ranges = Server.Requests.Where(r => r.StartsWith("GET /lfs/", StringComparison.Ordinal))
            .Select(r => r.Split(' ').ElementAtOrDefault(2));
        Assert.Equal([null, "bytes=7000-", "bytes=12000-", "bytes=12000-"], ranges);
        Assert.Equal(3, Time.Waits.Count);
    }

    [Fact]
    public async Task A_partial_file_of_an_earlier_run_is_resumed()
    {
        Server.Add(Path, ModelFiles());
        string blob = System.IO.Path.Combine(CacheFolder, "models--org--toy", "blobs", HubServer.Sha256(Random(20_000)));
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(blob)!);
        File.WriteAllBytes(blob + ".incomplete", Random(20_000)[..8000]);
        using var hub = Client();
        await hub.DownloadModelAsync(Id);
        Assert.Equal(1, Server.Count("signature=abc bytes=8000-"));
        Assert.Equal(Random(20_000), File.ReadAllBytes(blob));
    }

    [Theory]
    [InlineData(8000, true)] // other content: found by the hash, and everything comes again
    [InlineData(20_000, true)]
    [InlineData(30_000, false)] // longer than the file
    public async Task A_partial_file_that_is_something_else_does_no_harm(int length, bool corrupt)
    {
        Server.Add(Path, ModelFiles());
        string blob = System.IO.Path.Combine(CacheFolder, "models--org--toy", "blobs", HubServer.Sha256(Random(20_000)));
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(blob)!);
        File.WriteAllBytes(blob + ".incomplete", Random(length, corrupt ? 9 : 1));
        using var hub = Client();
        await hub.DownloadModelAsync(Id);
        Assert.Equal(Random(20_000), File.ReadAllBytes(blob));
    }

    [Fact]
    public async Task A_server_that_cannot_resume_sends_everything_again()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("GET /lfs/", new Fault(TruncateAfter: 7000), new Fault(IgnoreRange: true));
        using var hub = Client();
        var reports = new List<HubProgress>();
        var snapshot = await hub.DownloadModelAsync(Id, progress: reports.Add);
        Assert.Equal(Random(20_000), File.ReadAllBytes(System.IO.Path.Combine(snapshot.Folder, "model.safetensors")));
        Assert.Equal(reports[^1].TotalBytes, reports[^1].Bytes);

        Server.Add("models/org/other", new() { ["config.json"] = Text("{}"), ["model.safetensors"] = Random(9000, 7) });
        Server.Fail("GET /lfs/", new Fault(TruncateAfter: 10), new Fault(Status: 416));
        Assert.Equal(2, (await hub.DownloadModelAsync("org/other")).Files.Count);
    }

    [Theory]
    [InlineData("model.safetensors", "GET /lfs/")]
    [InlineData("config.json", "GET /api/resolve-cache/")]
    public async Task Content_with_another_hash_is_refused_and_not_kept(string file, string request)
    {
        Server.Add(Path, ModelFiles());
        Server.Fail(request, [.. Enumerable.Repeat(new Fault(Corrupt: true), 20)]);
        using var hub = Client();
        var refused = await Assert.ThrowsAsync<HubException>(() => hub.DownloadFilesAsync(HubRepo.Model(Id), [file]));
        Assert.Equal(HubError.Damaged, refused.Error);
        Assert.StartsWith($"{file} of the model org/toy did not arrive as the Hub describes it (its hash is not ",
            refused.Message);
        Assert.Empty(Directory.GetFiles(System.IO.Path.Combine(CacheFolder, "models--org--toy", "blobs")));
        Assert.False(Directory.Exists(System.IO.Path.Combine(CacheFolder, "models--org--toy", "refs")));
    }

    [Fact]
    public async Task A_server_that_says_no_length_is_held_to_the_listing()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("HEAD /api/resolve-cache/", [.. Enumerable.Repeat(new Fault(NoLength: true), 3)]);
        Server.Fail("GET /lfs/", new Fault(NoLength: true, TruncateAfter: 4000), new Fault(NoLength: true));
        using var hub = Client();
        var snapshot = await hub.DownloadModelAsync(Id);
        Assert.Equal(Random(20_000), File.ReadAllBytes(System.IO.Path.Combine(snapshot.Folder, "model.safetensors")));
        Assert.Equal("#version: 0.2\n", Content(snapshot, "merges.txt"));
    }

    [Fact]
    public async Task More_bytes_than_promised_are_refused()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("HEAD /org/toy/resolve", new Fault(Headers: new Dictionary<string, string> { ["X-Linked-Size"] = "15000" }));
        using var hub = Client();
        var refused = await Assert.ThrowsAsync<HubException>(
            () => hub.DownloadFilesAsync(HubRepo.Model(Id), ["model.safetensors"]));
        Assert.Equal("model.safetensors of the model org/toy is longer than the 15000 bytes that the Hub promised; "
            + "nothing of it is used.", refused.Message);
    }

    [Fact]
    public async Task Overload_is_waited_out_as_the_server_asks()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("GET /api/", new Fault(Status: 429, RetryAfter: "17"), new Fault(Status: 503), new Fault(Status: 500));
        Server.Fail("HEAD ", new Fault(Status: 502));
        Server.Fail("GET /lfs/", new Fault(Status: 504, RetryAfter: "3"));
        using var hub = Client();
        await hub.DownloadModelAsync(Id);
        Assert.Equal(TimeSpan.FromSeconds(17), Time.Waits.First());
        Assert.Contains(TimeSpan.FromSeconds(3), Time.Waits);
        Assert.Equal(5, Time.Waits.Count);
        Assert.All(Time.Waits.Except([TimeSpan.FromSeconds(17), TimeSpan.FromSeconds(3)]),
            wait => Assert.InRange(wait.TotalSeconds, 1, 5)); // 1, 2, 4 s and a little more
    }

    [Fact]
    public async Task Overload_without_end_becomes_an_error()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("GET /api/models/org/toy", [.. Enumerable.Repeat(new Fault(Status: 429), 6)]);
        using var hub = Client();
        var refused = await Assert.ThrowsAsync<HubException>(() => hub.DownloadModelAsync(Id));
        Assert.Equal((HubError.Unavailable, 6), (refused.Error, Server.Requests.Count));
        Assert.Equal("The Hub limits how often it is asked (429), here for the model org/toy; try again later, "
            + "or set HF_TOKEN for a higher limit. It was tried 6 times.", refused.Message);

        // Nobody waits an hour in front of a prompt.
        Server.Fail("GET /api/", new Fault(Status: 503, RetryAfter: "3600"));
        refused = await Assert.ThrowsAsync<HubException>(() => hub.DownloadModelAsync(Id));
        Assert.Equal(7, Server.Requests.Count);
        Assert.Contains("failed with status 503 for the model org/toy; try again later.", refused.Message);
    }

    [Fact]
    public async Task Silence_in_the_middle_is_ended_and_resumed()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("GET /lfs/", new Fault(TruncateAfter: 6000, Silent: true));
        using var hub = Client(o => o with { DownloadTimeout = TimeSpan.FromSeconds(0.8) });
        await hub.DownloadModelAsync(Id);
        Assert.True(Server.Count("signature=abc bytes=6000-") > 0);
    }
}
