using Rlhf.Hub;

namespace Rlhf.Tests.Hub;

/// <summary>What a push sends, and what it never sends.</summary>
public sealed class HubPushTests : HubTestBase
{
    private string ModelFolder => System.IO.Path.Combine(Folder, "model");

    private HubClient Owner(Func<HubOptions, HubOptions>? change = null) =>
        Client(o => (change?.Invoke(o) ?? o) with { Token = HubServer.Token });

    private Dictionary<string, byte[]> OnTheHub(string id, string branch = "main") =>
        Server.Repos[$"models/{id}"].Commits[Server.Repos[$"models/{id}"].Branches[branch]];

    private void WriteModel(params (string Name, byte[] Content)[] more)
    {
        foreach (var (name, content) in ModelFiles().Select(f => (f.Key, f.Value)).Concat(more))
        {
            string path = System.IO.Path.Combine(ModelFolder, name);
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
            File.WriteAllBytes(path, content);
        }
    }

    [Fact]
    public async Task A_folder_becomes_one_commit_large_files_in_parts()
    {
        WriteModel(("small.safetensors", Random(300, 4)), ("empty.txt", []), ("ignored.txt", Text("the Hub does not want it")));
        var reports = new List<HubProgress>();
        using var hub = Owner();
        var result = await hub.PushFolderAsync(ModelFolder, Id, new() { Message = "First" }, reports.Add);

        var stored = OnTheHub(Id);
        Assert.Equal(
        [
            ".gitattributes", "README.md", "config.json", "empty.txt", "merges.txt", "model.safetensors", "pytorch_model.bin",
            "small.safetensors", "vocab.json",
        ], stored.Keys.Order(StringComparer.Ordinal));
        foreach (var (name, content) in stored.Where(f => f.Key != ".gitattributes"))
            Assert.Equal(File.ReadAllBytes(System.IO.Path.Combine(ModelFolder, name)), content);
        Assert.Equal(4, Server.Count("PUT /part/")); // 20,000 bytes in parts of 5,000
        Assert.Equal(2, Server.Count("PUT /put/"));
        Assert.Equal(["First"], Server.Summaries);
        Assert.Equal(Server.Repos[Path].Branches["main"], result.Commit);
        Assert.Equal((20_400, 0), (result.UploadedBytes, result.Unchanged));
        Assert.Equal(new HubProgress(3, 3, 20_400, 20_400), reports[^1]);
        Assert.False(Server.Repos[Path].Private);
        Assert.Equal(new Uri(Server.Endpoint, Id), result.Address);
    }

    [Fact]
    public async Task What_the_hub_holds_is_not_sent_again()
    {
        WriteModel();
        using var hub = Owner();
        await hub.PushFolderAsync(ModelFolder, Id);
        var nothing = await hub.PushFolderAsync(ModelFolder, Id);
        Assert.Null(nothing.Commit);
        Assert.Equal((6, 1), (nothing.Unchanged, Server.Summaries.Count));

        // The same weights in another repository: committed, but not uploaded.
        int uploads = Server.Count("PUT ");
        var copy = await hub.PushFolderAsync(ModelFolder, "org/copy", new() { Private = true });
        Assert.Equal((uploads, 0), (Server.Count("PUT "), copy.UploadedBytes));
        Assert.Equal(Random(20_000), OnTheHub("org/copy")["model.safetensors"]);
        Assert.True(Server.Repos["models/org/copy"].Private);

        File.WriteAllText(System.IO.Path.Combine(ModelFolder, "config.json"), "{}");
        Assert.Equal(["config.json"], (await hub.PushFolderAsync(ModelFolder, Id)).Files);
    }

    [Fact]
    public async Task Secrets_checkpoints_and_links_out_of_the_folder_stay_here()
    {
        string outside = System.IO.Path.Combine(Folder, "outside.txt");
        File.WriteAllText(outside, "not for you");
        WriteModel((".env", Text("x")), (".git/config", Text("x")), ("token", Text("x")), ("key.pem", Text("x")),
            ("checkpoint-10/model.safetensors", Random(9)), ("model.safetensors.tmp", Text("x")), ("Runs/log.txt", Text("x")),
            ("nested/notes.md", Text("yes")));
        if (!OperatingSystem.IsWindows())
        {
            File.CreateSymbolicLink(System.IO.Path.Combine(ModelFolder, "link.txt"), outside);
            Directory.CreateSymbolicLink(System.IO.Path.Combine(ModelFolder, "parent"), Folder);
        }
        using var hub = Owner();
        var result = await hub.PushFolderAsync(ModelFolder, Id);
        string[] pushed =
        [
            "README.md", "config.json", "merges.txt", "model.safetensors", "nested/notes.md", "pytorch_model.bin", "vocab.json",
        ];
        Assert.Equal(pushed, result.Files.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_file_that_holds_the_token_is_refused()
    {
        WriteModel(("README.md", Text($"Run it with HF_TOKEN={HubServer.Token}")));
        using var hub = Owner();
        var refused = await Assert.ThrowsAsync<HubException>(() => hub.PushFolderAsync(ModelFolder, Id));
        Assert.Equal("README.md holds your Hub token; remove it, nothing was pushed.", refused.Message);
        Assert.Empty(Server.Summaries);
    }

    [Fact]
    public async Task A_snapshot_of_the_cache_can_be_pushed_and_a_missing_card_is_added()
    {
        Server.Add(Path, ModelFiles());
        using var hub = Owner();
        var snapshot = await hub.DownloadModelAsync(Id);
        var result = await hub.PushFolderAsync(snapshot.Folder, "mine", new() { ModelCard = "# Mine" });
        Assert.Equal("tester/mine", result.Repo.Id);
        Assert.Equal(Text("# Mine"), OnTheHub("tester/mine")["README.md"]);
        Assert.Equal(Random(20_000), OnTheHub("tester/mine")["model.safetensors"]);
    }

    [Fact]
    public async Task A_branch_is_made_when_it_is_new()
    {
        WriteModel();
        using var hub = Owner();
        await hub.PushFolderAsync(ModelFolder, Id, new() { Revision = "experiments/one" });
        await hub.PushFolderAsync(ModelFolder, Id, new() { Revision = "experiments/one" });
        Assert.DoesNotContain("config.json", OnTheHub(Id).Keys);
        Assert.Contains("config.json", OnTheHub(Id, "experiments/one").Keys);
    }

    [Fact]
    public async Task Interrupted_uploads_are_tried_again()
    {
        WriteModel();
        Server.Fail("PUT /part/", new Fault(Status: 503), new Fault(TruncateAfter: 0));
        Server.Fail("POST /api/models/org/toy/preupload", new Fault(Status: 500));
        Server.Fail("POST /org/toy.git", new Fault(Status: 429, RetryAfter: "2"));
        Server.Fail("POST /verify", new Fault(Status: 502));
        Server.Fail("/commit/", new Fault(Status: 504));
        using var hub = Owner();
        var reports = new List<HubProgress>();
        await hub.PushFolderAsync(ModelFolder, Id, progress: reports.Add);
        Assert.Equal(Random(20_000), OnTheHub(Id)["model.safetensors"]);
        Assert.Equal(reports[^1].TotalBytes, reports[^1].Bytes);
        Assert.Contains(TimeSpan.FromSeconds(2), Time.Waits);
    }

    [Fact]
    public async Task What_is_not_allowed_is_said_before_anything_is_sent()
    {
        WriteModel();
        using var anonymous = Client();
        Assert.Contains("There is no Hub token; make one at",
            (await Assert.ThrowsAsync<HubException>(() => anonymous.PushFolderAsync(ModelFolder, Id))).Message);
        using var offline = Owner(o => o with { Offline = true });
        Assert.Contains("HF_HUB_OFFLINE", (await Assert.ThrowsAsync<HubException>(() => offline.CheckPushAsync(Id))).Message);
        Assert.Empty(Server.Requests);

        using var stranger = Client(o => o with { Token = "hf_wrong" });
        var refused = await Assert.ThrowsAsync<HubException>(() => stranger.PushFolderAsync(ModelFolder, Id));
        Assert.Equal(HubError.Unauthorized, refused.Error);
        Assert.DoesNotContain("hf_wrong", refused.ToString());

        using var hub = Owner();
        refused = await Assert.ThrowsAsync<HubException>(() => hub.PushFolderAsync(ModelFolder, "others/toy"));
        Assert.Equal(HubError.Forbidden, refused.Error);
        Assert.StartsWith("127.0.0.1 forbids making the repository others/toy (403)", refused.Message);

        Server.Add("models/others/shared", []); // may write to it, though not make it
        await hub.PushFolderAsync(ModelFolder, "others/shared");

        Server.Add("models/org/public", []);
        refused = await Assert.ThrowsAsync<HubException>(
            () => hub.PushFolderAsync(ModelFolder, "org/public", new() { Private = true }));
        Assert.StartsWith("org/public exists and is public, so nothing was pushed", refused.Message);
    }

    [Fact]
    public async Task The_owner_of_the_token_is_known()
    {
        using var hub = Owner();
        var user = await hub.WhoAmIAsync();
        Assert.Equal(("tester", "write"), (user.Name, user.Role));
        Assert.Equal(["org"], user.Organizations);
    }

    [Fact]
    public async Task What_would_fail_in_the_end_is_known_at_the_beginning()
    {
        Server.Organizations["readers"] = "read";
        Server.Organizations["helpers"] = "contributor";
        Server.Add("models/org/public", []);
        Server.Add("models/org/secret", []).Private = true;
        using var hub = Owner();
        foreach (var (id, isPrivate) in new[] { ("org/new", true), ("org/public", false), ("org/secret", true), ("mine", false),
            ("Tester/mine", true), ("helpers/new", false) })
            Assert.Equal("tester", (await hub.CheckPushAsync(id, isPrivate)).Name);
        Assert.Equal(0, Server.Count("POST "));

        foreach (var (id, isPrivate, message) in new[]
        {
            ("org/public", true, "org/public exists and is public, so nothing was pushed; make it private on its page, or push without "
                + "private."),
            ("others/new", false, "The token's owner tester cannot push to others/new: others is neither that user nor one of the "
                + "organizations (org, readers, helpers)."),
            ("readers/new", false, "tester may only read in the organization readers, so nothing can be pushed to readers/new."),
        })
        {
            var refused = await Assert.ThrowsAsync<HubException>(() => hub.CheckPushAsync(id, isPrivate));
            Assert.Equal((HubError.Forbidden, message), (refused.Error, refused.Message));
        }
        Server.Role = "read";
        Assert.Equal($"The token of tester may only read; make one that may write at {Server.Endpoint}settings/tokens.",
            (await Assert.ThrowsAsync<HubException>(() => hub.CheckPushAsync("org/new"))).Message);
    }
}
