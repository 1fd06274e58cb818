using System.Net;
using System.Net.Sockets;
using Rlhf.Hub;

namespace Rlhf.Tests.Hub;

/// <summary>Every way to fail has its own sentence, and a server that lies does no harm.</summary>
public sealed class HubErrorTests : HubTestBase
{
    private async Task<HubException> Refused(Func<HubClient, Task> call, Func<HubOptions, HubOptions>? change = null)
    {
        using var hub = Client(change);
        return await Assert.ThrowsAsync<HubException>(() => call(hub));
    }

    private static HubOptions WithToken(HubOptions options) => options with { Token = HubServer.Token };

    [Fact]
    public async Task Each_refusal_has_its_sentence()
    {
        Server.Add(Path, ModelFiles());
        Server.Add("models/org/gated", ModelFiles()).Gated = true;
        Server.Add("models/org/forbidden", ModelFiles());
        Server.Fail("/org/forbidden/", new Fault(Status: 403));
        (Func<HubClient, Task> Call, Func<HubOptions, HubOptions>? Change, HubError Error, string Message)[] cases =
        [
            (h => h.DownloadModelAsync("org/none"), null, HubError.RepositoryNotFound,
                "127.0.0.1 shows no model org/none: correct the name, or set HF_TOKEN if it is private."),
            (h => h.DownloadModelAsync("org/none"), WithToken, HubError.RepositoryNotFound,
                "127.0.0.1 shows no model org/none to the owner of the token: correct the name, or use another token."),
            (h => h.DownloadModelAsync(Id), o => o with { Token = "hf_old" }, HubError.Unauthorized,
                $"127.0.0.1 refuses the token (401) for the model org/toy; make a new one at "
                + $"{Server.Endpoint}settings/tokens and set HF_TOKEN."),
            (h => h.DownloadModelAsync("org/gated"), null, HubError.Gated,
                $"The model org/gated is gated: ask for access at {Server.Endpoint}org/gated and set HF_TOKEN to a token of that "
                + "account."),
            (h => h.DownloadModelAsync("org/gated"), WithToken, HubError.Gated,
                $"The model org/gated is gated: ask for access at {Server.Endpoint}org/gated and use a token of that account."),
            (h => h.DownloadModelAsync("org/forbidden"), null, HubError.Forbidden,
                "127.0.0.1 forbids the model org/forbidden (403); set HF_TOKEN to a token that may do it."),
            (h => h.DownloadModelAsync(Id, "v9"), null, HubError.RevisionNotFound,
                "The model org/toy has no revision 'v9'; name one of its branches, tags or commits."),
            (h => h.DownloadFilesAsync(HubRepo.Model(Id), ["nothing.txt"]), null, HubError.EntryNotFound,
                $"The model org/toy has no file nothing.txt in commit {Server.Repos[Path].Branches["main"][..12]}."),
            (h => h.DownloadDatasetAsync(Id), null, HubError.RepositoryNotFound,
                "127.0.0.1 shows no data set org/toy: correct the name, or set HF_TOKEN if it is private."),
        ];
        foreach (var (call, change, error, message) in cases)
        {
            var refused = await Refused(call, change);
            Assert.Equal((error, message), (refused.Error, refused.Message));
            Assert.DoesNotContain("hf_", refused.ToString(), StringComparison.Ordinal);
        }
        Assert.Empty(Time.Waits); // nothing of this gets better by waiting
    }

    [Fact]
    public async Task A_file_that_vanishes_between_listing_and_download_is_named()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("HEAD /org/toy", new Fault(Status: 404, ErrorCode: "EntryNotFound"));
        var refused = await Refused(h => h.DownloadFilesAsync(HubRepo.Model(Id), ["config.json"]));
        Assert.Equal(HubError.EntryNotFound, refused.Error);
        Assert.Contains("has no file config.json in revision", refused.Message);
    }

    [Fact]
    public async Task A_repository_without_a_model_is_explained()
    {
        Server.Add(Path, new() { ["README.md"] = Text("nothing") });
        Server.Add("models/org/tf", new() { ["config.json"] = Text("{}"), ["tf_model.h5"] = Random(10) });
        Assert.Equal("The model org/toy has no config.json; it is not a transformers model.",
            (await Refused(h => h.DownloadModelAsync(Id))).Message);
        Assert.StartsWith("The model org/tf has no weights that can be read; expected one of model.safetensors, ",
            (await Refused(h => h.DownloadModelAsync("org/tf"))).Message);
    }

    [Theory]
    [InlineData("../../evil.json")]
    [InlineData("/etc/evil.json")]
    [InlineData("a/../../evil.json")]
    [InlineData("C:\\evil.json")]
    [InlineData("C:evil.json")]
    [InlineData("a//b.json")]
    [InlineData("a/./b.json")]
    [InlineData("aux.json")]
    [InlineData("name\u0000.json")]
    [InlineData("dots./x.json")]
    public async Task Names_that_lead_out_of_the_folder_are_refused(string name)
    {
        var files = ModelFiles();
        files[name] = Text("evil");
        Server.Add(Path, files);
        Assert.Equal(HubError.Protocol, (await Refused(h => h.DownloadFilesAsync(HubRepo.Model(Id), []))).Error);
        Assert.Empty(Directory.EnumerateFiles(Folder, "*evil*", SearchOption.AllDirectories));

        // A run that does not need the file is not held up by it; an index that names it is refused.
        using var hub = Client();
        Assert.Equal(4, (await hub.DownloadModelAsync(Id)).Files.Count);
        files.Remove("model.safetensors");
        files["model.safetensors.index.json"] = System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(
            new { weight_map = new Dictionary<string, string> { ["w"] = name } });
        Server.Add("models/org/index", files);
        Assert.Equal(HubError.Protocol, (await Refused(h => h.DownloadModelAsync("org/index"))).Error);
    }

    [Fact]
    public async Task Answers_that_are_not_of_the_protocol_are_refused()
    {
        Server.Add(Path, ModelFiles());
        (string Match, Fault Fault)[] lies =
        [
            ("/revision/", new Fault(Corrupt: true)),
            ("HEAD ", new Fault(Headers: new Dictionary<string, string> { ["X-Repo-Commit"] = "../../x" })),
            ("HEAD ", new Fault(Headers: new Dictionary<string, string> { ["X-Repo-Commit"] = new string('a', 40) })),
            ("HEAD ", new Fault(Headers: new Dictionary<string, string> { ["X-Linked-Etag"] = "\"../../../evil\"" })),
            ("HEAD ", new Fault(Headers: new Dictionary<string, string> { ["X-Linked-Size"] = "-5" })),
            ("/tree/", new Fault(Headers: new Dictionary<string, string> { ["Link"] = $"<{Server.Storage}tree>; rel=\"next\"" })),
        ];
        foreach (var (match, fault) in lies)
        {
            Server.Fail(match, fault);
            var refused = await Refused(h => h.DownloadFilesAsync(HubRepo.Model(Id), ["model.safetensors"]), WithToken);
            Assert.Equal(HubError.Protocol, refused.Error);
        }
        Assert.Empty(Directory.EnumerateFiles(Folder, "*evil*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_full_disk_is_noticed_before_the_download()
    {
        Server.Add(Path, ModelFiles());
        var refused = await Refused(h => h.DownloadModelAsync(Id), o => o with { FreeSpace = _ => 12_000 });
        Assert.Equal(HubError.Disk, refused.Error);
        Assert.StartsWith("model.safetensors needs 20.0 kB more and ", refused.Message);
        Assert.EndsWith("has 12.0 kB free; make room, or choose another disk with HF_HUB_CACHE.", refused.Message);
        Assert.Equal(0, Server.Count("GET /lfs/"));
    }

    [Fact]
    public async Task A_cache_that_cannot_be_written_is_named()
    {
        Server.Add(Path, ModelFiles());
        File.WriteAllText(CacheFolder, "a file where the folder should be");
        var refused = await Refused(h => h.DownloadModelAsync(Id));
        Assert.Equal(HubError.Disk, refused.Error);
        Assert.Contains("of the model org/toy cannot be written to the cache: ", refused.Message);
    }

    [Fact]
    public async Task A_hub_that_cannot_be_reached_is_named_and_the_cache_stands_in()
    {
        Server.Add(Path, ModelFiles());
        using (var hub = Client())
            await hub.DownloadModelAsync(Id);
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        var nobody = new Uri($"http://127.0.0.1:{((IPEndPoint)probe.LocalEndpoint).Port}/");
        probe.Stop();

        var refused = await Refused(h => h.DownloadModelAsync("org/other"), o => o with { Endpoint = nobody });
        Assert.Equal(HubError.Connection, refused.Error);
        Assert.StartsWith($"{nobody.ToString().TrimEnd('/')} cannot be reached (", refused.Message);
        Assert.Equal(2, Time.Waits.Count); // a name that does not resolve is not asked for half a minute

        using var away = Client(o => o with { Endpoint = nobody });
        var cached = await away.DownloadModelAsync(Id);
        Assert.Equal(2, Time.Waits.Count); // with the cache at hand, once is enough
        Assert.Equal(4, cached.Files.Count);
        Assert.Contains("cannot be reached", cached.Notice);
    }

    [Fact]
    public async Task Another_host_cannot_lead_the_token_back_to_an_address_of_its_choice()
    {
        Server.Add(Path, ModelFiles());
        Server.Add("models/org/secret", ModelFiles()).Private = true;
        var secret = new Uri(Server.Endpoint, "org/secret/resolve/main/model.safetensors");
        Server.Fail("GET /lfs/", new Fault(Location: secret));
        var refused = await Refused(h => h.DownloadModelAsync(Id), WithToken);
        Assert.Equal(HubError.Unauthorized, refused.Error);
        Assert.Equal(1, Server.Count("GET /org/secret/resolve"));
    }

    [Fact]
    public async Task A_signature_that_ran_out_is_made_anew()
    {
        Server.Add(Path, ModelFiles());
        Server.Fail("GET /lfs/", new Fault(TruncateAfter: 3000), new Fault(Status: 403));
        using var hub = Client();
        Assert.Equal(4, (await hub.DownloadModelAsync(Id)).Files.Count);
        Assert.Equal(3, Server.Count("GET /org/toy/resolve/") - 3); // each attempt asks the Hub where to go
    }

    [Fact]
    public async Task A_hub_that_moved_is_followed_and_one_that_leads_astray_is_not()
    {
        Server.Add("models/openai-community/gpt2", ModelFiles());
        Server.Repos["models/gpt2"] = new ServerRepo { MovedTo = "openai-community/gpt2" };
        using var hub = Client(WithToken);
        var snapshot = await hub.DownloadModelAsync("gpt2");
        Assert.Contains("models--gpt2", snapshot.Folder); // under the name that was asked for, as Python's library does

        // An API that redirects to another host gets neither the token nor an answer.
        Server.Repos["models/org/astray"] = new ServerRepo { MovedTo = "org/toy" };
        Server.Fail("GET /api/models/org/astray", new Fault(Location: new Uri(Server.Storage, "api")));
        var refused = await Refused(h => h.DownloadModelAsync("org/astray"), WithToken);
        Assert.Equal("127.0.0.1 redirects the model org/astray to another host, which was refused.", refused.Message);

        Server.Repos["models/org/circle"] = new ServerRepo { MovedTo = "org/circle" };
        Assert.Contains("redirects in circles", (await Refused(h => h.DownloadModelAsync("org/circle"))).Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a/b/c")]
    [InlineData("../x")]
    [InlineData("org/..")]
    [InlineData("org//x")]
    [InlineData("/x")]
    [InlineData("org/x.git")]
    [InlineData("org/a--b")]
    [InlineData("org/x\n")]
    [InlineData("-org/x")]
    [InlineData("org/na me")]
    [InlineData("org/näme")]
    public void Ids_that_the_hub_does_not_give_are_refused(string id)
    {
        Assert.False(HubRepo.IsId(id));
        Assert.Throws<ArgumentException>(() => HubRepo.Model(id));
    }

    [Theory]
    [InlineData("../main")]
    [InlineData("a/../b")]
    [InlineData("/main")]
    [InlineData("main/")]
    [InlineData("ma in")]
    [InlineData("")]
    public async Task Revisions_that_git_does_not_give_are_refused(string revision)
    {
        using var hub = Client();
        await Assert.ThrowsAsync<ArgumentException>(() => hub.DownloadModelAsync(Id, revision));
        Assert.Empty(Server.Requests);
    }
}
