using Rlhf.Hub;
using Rlhf.Runtime;

namespace Rlhf.Tests.Hub;

/// <summary>The cache is Hugging Face's: theirs is used here, and the variables mean the same.</summary>
public sealed class HubCacheTests : HubTestBase
{
    private const string Commit = "0123456789abcdef0123456789abcdef01234567";

    /// <summary>A cache as transformers leaves it: blobs, links, a ref.</summary>
    private string TransformersCache(bool symlinks = true, params string[] leaveOut)
    {
        string root = System.IO.Path.Combine(CacheFolder, "models--org--toy");
        string snapshot = Directory.CreateDirectory(System.IO.Path.Combine(root, "snapshots", Commit)).FullName;
        Directory.CreateDirectory(System.IO.Path.Combine(root, "blobs"));
        Directory.CreateDirectory(System.IO.Path.Combine(root, "refs"));
        File.WriteAllText(System.IO.Path.Combine(root, "refs", "main"), Commit);
        foreach (var (name, content) in ModelFiles().Where(f => !leaveOut.Contains(f.Key) && !f.Key.Contains('/')))
        {
            string etag = HubServer.IsLfs(name) ? HubServer.Sha256(content) : HubServer.GitBlob(content);
            string blob = System.IO.Path.Combine(root, "blobs", etag), file = System.IO.Path.Combine(snapshot, name);
            File.WriteAllBytes(symlinks ? blob : file, content);
            if (symlinks)
                File.CreateSymbolicLink(file, System.IO.Path.Combine("..", "..", "blobs", etag));
        }
        return snapshot;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_transformers_downloaded_is_used_offline_without_a_request(bool symlinks)
    {
        Assert.SkipWhen(symlinks && OperatingSystem.IsWindows(), "Links need rights on Windows.");
        string snapshot = TransformersCache(symlinks);
        using var offline = Client(o => o with { Offline = true });
        var found = await offline.DownloadModelAsync(Id);
        Assert.Equal((snapshot, Commit, null), (found.Folder, found.Commit, found.Notice));
        Assert.Equal(snapshot, (await offline.DownloadModelAsync(Id, Commit)).Folder);
        using var online = Client();
        Assert.Equal(snapshot, (await online.DownloadModelAsync(Id, Commit)).Folder); // a whole commit needs nobody
        Assert.Empty(Server.Requests);
        Assert.Equal((HubRepo.Model(Id), Commit), HubCache.Identify(snapshot));
    }

    [Theory]
    [InlineData("config.json")]
    [InlineData("model.safetensors", "pytorch_model.bin")]
    public async Task Half_a_model_is_not_taken_for_one_offline(params string[] missing)
    {
        TransformersCache(true, missing);
        using var offline = Client(o => o with { Offline = true });
        var refused = await Assert.ThrowsAsync<HubException>(() => offline.DownloadModelAsync(Id));
        Assert.Equal(HubError.NotCached, refused.Error);
        Assert.Equal($"The model org/toy (main) is not complete in the cache {CacheFolder}, and HF_HUB_OFFLINE forbids to "
            + "download it; unset that, or download it once while online.", refused.Message);
        Assert.Empty(Server.Requests);
    }

    [Fact]
    public async Task A_link_whose_blob_is_gone_is_mended()
    {
        var repo = Server.Add(Path, ModelFiles());
        using var hub = Client();
        var snapshot = await hub.DownloadModelAsync(Id);
        File.Delete(System.IO.Path.Combine(CacheFolder, "models--org--toy", "blobs", HubServer.Sha256(Random(20_000))));
        await hub.DownloadModelAsync(Id, repo.Branches["main"]);
        Assert.Equal(Random(20_000), File.ReadAllBytes(System.IO.Path.Combine(snapshot.Folder, "model.safetensors")));
    }

    [Fact]
    public async Task Without_links_the_files_themselves_lie_in_the_snapshot()
    {
        Server.Add(Path, ModelFiles());
        using var hub = Client(o => o with { Symlinks = false });
        var snapshot = await hub.DownloadModelAsync(Id);
        var weights = new FileInfo(System.IO.Path.Combine(snapshot.Folder, "model.safetensors"));
        Assert.Equal((null, 20_000), (weights.LinkTarget, weights.Length));
        Assert.Empty(Directory.GetFiles(System.IO.Path.Combine(CacheFolder, "models--org--toy", "blobs")));
    }

    [Fact]
    public async Task Two_processes_download_a_file_once()
    {
        Server.Add(Path, ModelFiles());
        using var one = Client();
        using var other = Client();
        await Task.WhenAll(one.DownloadModelAsync(Id), other.DownloadModelAsync(Id));
        Assert.Equal(1, Server.Count("GET /lfs/"));
    }

    [Fact]
    public async Task The_lock_is_the_one_that_pythons_filelock_takes()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows() || !File.Exists("/usr/bin/flock"), "flock is not here.");
        Server.Add(Path, ModelFiles());
        string name = HubServer.Sha256(Random(20_000)) + ".lock";
        string file = System.IO.Path.Combine(CacheFolder, ".locks", "models--org--toy", name);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(file)!);
        using var holder = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(
            "/usr/bin/flock", [file, "sh", "-c", "echo locked; read end"])
        { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        Assert.Equal("locked", await holder.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));

        using var hub = Client();
        var download = hub.DownloadModelAsync(Id);
        // What the client waits for between two looks at a lock. Without the lock it would end instead.
        while (!download.IsCompleted && !Time.Waits.Contains(TimeSpan.FromMilliseconds(100)))
            await Task.Delay(5, TestContext.Current.CancellationToken);
        Assert.False(download.IsCompleted, "The file came while another process held its lock.");
        holder.StandardInput.Close();
        await download;
    }

    [Fact]
    public async Task What_a_commit_is_without_is_remembered_as_python_remembers_it()
    {
        var repo = Server.Add(Path, ModelFiles());
        string commit = repo.Branches["main"];
        string Absence(string file) => System.IO.Path.Combine(CacheFolder, "models--org--toy", ".no_exist", commit, file);
        using var hub = Client();
        using var offline = Client(o => o with { Offline = true });
        async Task Refused(HubClient client, string revision, HubError error, int requests)
        {
            int before = Server.Requests.Count;
            var refused = await Assert.ThrowsAsync<HubException>(
                () => client.DownloadFilesAsync(HubRepo.Model(Id), ["adapters/adapter_config.json"], revision));
            Assert.Equal((error, requests), (refused.Error, Server.Requests.Count - before));
            if (error == HubError.EntryNotFound)
                Assert.Equal($"The model org/toy has no file adapters/adapter_config.json in commit {commit[..12]}.", refused.Message);
        }
        await Refused(offline, "main", HubError.NotCached, requests: 0);
        await Refused(hub, "main", HubError.EntryNotFound, requests: 2); // the commit and its files
        Assert.Equal(0, new FileInfo(Absence("adapters/adapter_config.json")).Length);
        await Refused(hub, "main", HubError.EntryNotFound, requests: 1); // where the branch stands now
        await Refused(hub, commit, HubError.EntryNotFound, requests: 0);
        await Refused(offline, "main", HubError.EntryNotFound, requests: 0);

        // What transformers asks for beside the weights is answered without the Hub, too.
        await hub.DownloadModelAsync(Id);
        Assert.True(File.Exists(Absence("generation_config.json")));
        Assert.False(File.Exists(Absence("config.json")));

        // A branch that moved on to a commit with the file is not held back.
        repo.Commit("main", new(ModelFiles()) { ["adapters/adapter_config.json"] = Text("{}") });
        Assert.Single((await hub.DownloadFilesAsync(HubRepo.Model(Id), ["adapters/adapter_config.json"])).Files);
    }

    [Fact]
    public async Task A_note_of_pythons_that_there_is_no_tokenizer_is_believed()
    {
        string snapshot = TransformersCache(true, "vocab.json");
        foreach (var name in new[] { "tokenizer.json", "vocab.json", "vocab.txt" })
        {
            string note = System.IO.Path.Combine(CacheFolder, "models--org--toy", ".no_exist", Commit, name);
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(note)!);
            File.WriteAllBytes(note, []);
        }
        using var hub = Client();
        Assert.Equal(snapshot, (await hub.DownloadModelAsync(Id, Commit)).Folder);
        Assert.Empty(Server.Requests);
    }

    [Fact]
    public async Task The_cache_is_listed_and_emptied()
    {
        Server.Add(Path, ModelFiles());
        using var hub = Client();
        Assert.Empty(hub.Cache.List());
        await hub.DownloadModelAsync(Id);
        string partial = System.IO.Path.Combine(CacheFolder, "models--org--toy", "blobs", "abc.incomplete");
        File.WriteAllBytes(partial, new byte[100]);
        string space = Directory.CreateDirectory(System.IO.Path.Combine(CacheFolder, "spaces--org--other")).FullName;
        File.WriteAllBytes(System.IO.Path.Combine(space, "app.py"), new byte[7]);
        var other = hub.Cache.List()[1];
        Assert.Equal((new HubRepo(HubRepoType.Space, "org/other"), "space org/other", 7), (other.Repo, other.Repo.ToString(), other.Bytes));
        Assert.True(hub.Cache.Remove(other.Repo));
        var held = Assert.Single(hub.Cache.List());
        Assert.Equal((HubRepo.Model(Id), 100, 1), (held.Repo, held.PartialBytes, held.Snapshots));
        string[] needed = ["config.json", "vocab.json", "merges.txt", "model.safetensors"];
        long content = needed.Sum(f => ModelFiles()[f].Length);
        Assert.Equal(content + 100 + 40, held.Bytes); // and the ref
        Assert.True(hub.Cache.Remove(held.Repo));
        Assert.False(hub.Cache.Remove(held.Repo));
        Assert.Empty(hub.Cache.List());
    }

    [Fact]
    public async Task Pages_of_a_tree_are_followed()
    {
        var files = ModelFiles();
        for (int i = 0; i < 25; i++)
            files[$"more/{i}.txt"] = Text($"{i}");
        Server.Add(Path, files);
        Server.PageSize = 10;
        using var hub = Client();
        Assert.Equal(files.Count, (await hub.DownloadFilesAsync(HubRepo.Model(Id), [])).Files.Count);
        Assert.Equal(4, Server.Count("/tree/"));
    }

    [Fact]
    public async Task A_split_of_a_data_set_arrives_alone()
    {
        Server.Add("datasets/org/reviews", new()
        {
            ["README.md"] = Text("# Reviews"),
            ["plain_text/train-00000-of-00002.parquet"] = Random(10, 1),
            ["plain_text/train-00001-of-00002.parquet"] = Random(10, 2),
            ["plain_text/test-00000-of-00001.parquet"] = Random(10, 3),
        });
        using var hub = Client();
        var train = await hub.DownloadDatasetAsync("org/reviews");
        Assert.Equal(["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
            train.Files.Select(f => System.IO.Path.GetFileName(f)));
        Assert.Contains($"datasets--org--reviews{System.IO.Path.DirectorySeparatorChar}snapshots", train.Folder);
        Assert.Single((await hub.DownloadDatasetAsync("org/reviews", "test")).Files);
        var refused = await Assert.ThrowsAsync<HubException>(() => hub.DownloadDatasetAsync("org/reviews", "validation"));
        Assert.Equal("The data set org/reviews has no split 'validation'; it has test, train.", refused.Message);

        using var offline = Client(o => o with { Offline = true });
        Assert.Equal(train.Files, (await offline.DownloadDatasetAsync("org/reviews", "train")).Files);
        File.Delete(train.Files[0]);
        refused = await Assert.ThrowsAsync<HubException>(() => offline.DownloadDatasetAsync("org/reviews"));
        Assert.Equal(HubError.NotCached, refused.Error);
    }

    [Fact]
    public async Task Data_sets_in_other_forms_come_from_the_parquet_branch()
    {
        var repo = Server.Add("datasets/org/old", new() { ["data.csv"] = Text("text\nhello") });
        using var hub = Client();
        var refused = await Assert.ThrowsAsync<HubException>(() => hub.DownloadDatasetAsync("org/old"));
        Assert.Equal("The data set org/old has no parquet files, and the Hub has made none; download it and name a file of it.",
            refused.Message);

        repo.Commit("refs/convert/parquet", new()
        {
            ["first/train/0000.parquet"] = Random(10, 4),
            ["first/train/0001.parquet"] = Random(10, 5),
            ["second/train/0000.parquet"] = Random(10, 6),
        });
        foreach (var content in new[] { 4, 5, 6 })
            Server.Objects[HubServer.Sha256(Random(10, content))] = Random(10, content);
        refused = await Assert.ThrowsAsync<HubException>(() => hub.DownloadDatasetAsync("org/old"));
        Assert.Equal("The data set org/old has the configurations first, second; choose one of them.", refused.Message);
        Assert.Equal(2, (await hub.DownloadDatasetAsync("org/old", configuration: "first")).Files.Count);
        Assert.True(File.Exists(System.IO.Path.Combine(CacheFolder, "datasets--org--old", "refs", "refs", "convert", "parquet")));
    }

    [Fact]
    public void Variables_mean_what_they_mean_to_hugging_face()
    {
        string home = Folder;
        string In(params string[] parts) => System.IO.Path.Combine([home, .. parts]);
        HubOptions From(params (string Name, string Value)[] variables) =>
            HubOptions.FromEnvironment(name => name == "HOME" ? home : variables.FirstOrDefault(v => v.Name == name).Value);

        Assert.Equal(In(".cache", "huggingface", "hub"), From().CacheFolder);
        Assert.Equal(new Uri("https://huggingface.co/"), From().Endpoint);
        Assert.Equal(In("xdg", "huggingface", "hub"), From(("XDG_CACHE_HOME", In("xdg"))).CacheFolder);
        Assert.Equal(In("hf", "hub"), From(("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", In("xdg"))).CacheFolder);
        Assert.Equal(In("old"), From(("HUGGINGFACE_HUB_CACHE", In("old")), ("HF_HOME", In("hf"))).CacheFolder);
        Assert.Equal(In("new"),
            From(("HF_HUB_CACHE", "$BASE/new"), ("BASE", home), ("HUGGINGFACE_HUB_CACHE", In("old"))).CacheFolder);

        Assert.Null(From().Token);
        Directory.CreateDirectory(In(".cache", "huggingface"));
        File.WriteAllText(In(".cache", "huggingface", "token"), "hf_file\n");
        Assert.Equal("hf_file", From().Token);
        File.WriteAllText(In("elsewhere"), "hf_elsewhere");
        Assert.Equal("hf_elsewhere", From(("HF_TOKEN_PATH", In("elsewhere"))).Token);
        Assert.Equal("hf_old", From(("HUGGING_FACE_HUB_TOKEN", "hf_old")).Token);
        Assert.Equal("hf_new", From(("HF_TOKEN", " hf_new\n"), ("HUGGING_FACE_HUB_TOKEN", "hf_old")).Token);

        Assert.True(From(("HF_HUB_OFFLINE", "yes")).Offline);
        Assert.True(From(("TRANSFORMERS_OFFLINE", "1")).Offline);
        Assert.Equal("TRANSFORMERS_OFFLINE", From(("TRANSFORMERS_OFFLINE", "1")).OfflineVariable);
        Assert.Equal("HF_HUB_OFFLINE", From(("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "1")).OfflineVariable);
        Assert.False(From(("HF_HUB_OFFLINE", "0")).Offline);
        Assert.False(From(("HF_HUB_DISABLE_IMPLICIT_TOKEN", "TRUE")).ImplicitToken);
        Assert.False(From(("HF_HUB_DISABLE_SYMLINKS", "on")).Symlinks);
        Assert.Equal(new Uri("https://mirror.example/hub/"), From(("HF_ENDPOINT", "https://mirror.example/hub/")).Endpoint);
        Assert.Equal(TimeSpan.FromSeconds(30), From(("HF_HUB_DOWNLOAD_TIMEOUT", "30")).DownloadTimeout);

        var refused = Assert.Throws<ConfigurationException>(
            () => From(("HF_ENDPOINT", "file:///x"), ("HF_HUB_ETAG_TIMEOUT", "soon"), ("HF_TOKEN", "hf_with space")));
        Assert.Equal(3, refused.Problems.Count);
        Assert.DoesNotContain("hf_with", refused.Message);
    }
}
