using System.Text;
using Parquet;
using Parquet.Schema;
using Rlhf.Cli;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Verbs;
using Rlhf.Generation;
using Rlhf.Hub;
using Rlhf.Tests.Cli;
using Rlhf.Training.Ppo;

namespace Rlhf.Tests.Hub;

/// <summary>The built command against the Hub of the tests: models and data by name, pushes, the cache.</summary>
public sealed class HubCommandTests(ToyModels toys) : HubTestBase, IClassFixture<ToyModels>
{
    private Dictionary<string, string> Variables => new()
    {
        ["HF_ENDPOINT"] = Server.Endpoint.ToString(),
        ["HF_HOME"] = Folder,
        ["HF_HUB_OFFLINE"] = "0",
    };

    private Dictionary<string, string> WithToken => new(Variables) { ["HF_TOKEN"] = HubServer.Token };

    private CommandResult Run(Dictionary<string, string> variables, params string[] arguments)
    {
        using var process = RlhfCommand.Start(toys.Folder, variables, arguments);
        var result = RlhfCommand.Finish(process);
        Assert.DoesNotContain(HubServer.Token, result.Output + result.Error);
        return result;
    }

    private CommandResult Succeed(Dictionary<string, string> variables, params string[] arguments)
    {
        var result = Run(variables, arguments);
        Assert.True(result.ExitCode == 0,
            $"rlhf {string.Join(' ', arguments)} ended with {result.ExitCode}: {result.Error}{result.Output}");
        return result;
    }

    private void AddToys()
    {
        Dictionary<string, byte[]> Files(string folder) =>
            Directory.GetFiles(toys.PathOf(folder)).ToDictionary(f => System.IO.Path.GetFileName(f), File.ReadAllBytes);
        Server.Add("models/org/policy", Files("policy"));
        Server.Add("models/org/classifier", Files("classifier"));
    }

    private async Task AddReviews()
    {
        var rows = File.ReadAllLines(toys.PathOf("reviews.csv"))[1..];
        string[] texts = [.. rows.Select(r => r.Split('"')[1])];
        var stream = new MemoryStream();
        var fields = new DataField[] { new DataField<string>("text"), new DataField<long>("label") };
        await using (var writer = await ParquetWriter.CreateAsync(new ParquetSchema(fields), stream))
        {
            using var group = writer.CreateRowGroup();
            await group.WriteAsync(fields[0], texts);
            await group.WriteAsync<long>(fields[1], rows.Select(r => long.Parse(r[^1..])).ToArray());
        }
        byte[] content = stream.ToArray();
        Server.Add("datasets/org/reviews", new()
        {
            ["plain_text/train-00000-of-00001.parquet"] = content,
            ["plain_text/test-00000-of-00001.parquet"] = content,
        });
    }

    [Fact]
    public async Task A_lesson_runs_on_names_of_the_hub_and_its_model_is_pushed()
    {
        AddToys();
        await AddReviews();
        string output = System.IO.Path.Combine(Folder, "run");
        var ppo = Succeed(WithToken, "ppo", "--model", "org/policy", "--ref-model", "org/policy",
            "--reward-model", "org/classifier", "--dataset", "org/reviews", "--longer-than", "0", "--eval-split", "test",
            "--eval-queries", "6", "--batch-size", "8", "--mini-batch-size", "8", "--steps", "1", "--threads", "1",
            "--output", output, "--push-to-hub", "org/aligned", "--private", "--json");
        Assert.Equal(1, ppo.Json.GetProperty("steps").GetInt32());
        Assert.Contains("Downloading org/policy 1/1 MB", ppo.Error);
        Assert.Matches($"Pushed [0-9]+ files to {Server.Endpoint}org/aligned", ppo.Error);

        var pushed = Server.Repos["models/org/aligned"];
        Assert.True(pushed.Private);
        var files = pushed.Commits[pushed.Branches["main"]];
        Assert.Equal(File.ReadAllBytes(System.IO.Path.Combine(output, "model", "model.safetensors")), files["model.safetensors"]);
        Assert.Contains("base_model: org/policy", Encoding.UTF8.GetString(files["README.md"]));

        // The settings name commits, so that the run can be repeated whatever becomes of the branches.
        string config = File.ReadAllText(System.IO.Path.Combine(output, "config.yaml"));
        string Pinned(string repo) => $"\"{repo.Split('/', 2)[1]}@{Server.Repos[repo].Branches["main"]}\"";
        Assert.Contains($"model: {Pinned("models/org/policy")}", config);
        Assert.Contains($"ref_model: {Pinned("models/org/policy")}", config);
        Assert.Contains($"reward_model: {Pinned("models/org/classifier")}", config);
        Assert.Contains($"dataset: {Pinned("datasets/org/reviews")}", config);
        Assert.DoesNotContain("push_to_hub", config);

        int before = Server.Requests.Count;
        var again = Succeed(new(Variables) { ["HF_HUB_OFFLINE"] = "1" }, "ppo", "--config",
            System.IO.Path.Combine(output, "config.yaml"), "--output", output + "-again", "--json");
        Assert.Equal(ppo.Json.GetProperty("reward_after").GetRawText(), again.Json.GetProperty("reward_after").GetRawText());
        Assert.Equal(before, Server.Requests.Count);

        // What was pushed can be used, by its run's owner.
        Assert.Contains("The film", Succeed(WithToken, "generate", "--model", "org/aligned", "The film", "--max-new-tokens", "3",
            "--threads", "1").Output);
        var stranger = new Dictionary<string, string>(Variables) { ["HF_HUB_CACHE"] = System.IO.Path.Combine(Folder, "empty") };
        Assert.StartsWith("rlhf: There is no folder org/aligned here, so --model org/aligned was taken for a name on the Hub, and "
            + "127.0.0.1 shows no model org/aligned",
            Run(stranger, "generate", "--model", "org/aligned").Error);
    }

    [Fact]
    public void Models_and_tokenizers_are_downloaded_pushed_listed_and_removed()
    {
        AddToys();
        var download = Succeed(Variables, "hub", "download", "org/policy", "--json");
        Assert.True(File.Exists(System.IO.Path.Combine(download.Json.GetProperty("folder").GetString()!, "model.safetensors")));
        string commit = Server.Repos["models/org/policy"].Branches["main"];
        Assert.Contains(commit, Succeed(Variables, "hub", "download", $"org/policy@{commit}").Output);
        Assert.Equal("rlhf: --revision belongs to a model of the Hub; --model policy is a folder here.\n",
            Run(Variables, "generate", "--model", "policy", "--revision", "main").Error);

        var push = Succeed(WithToken, "hub", "push", "policy", "org/copy", "--message", "A copy", "--json");
        Assert.Equal("org/copy", push.Json.GetProperty("id").GetString());
        Assert.Equal(["A copy"], Server.Summaries);
        var copy = Server.Repos["models/org/copy"];
        Assert.StartsWith("---\nlibrary_name: transformers",
            Encoding.UTF8.GetString(copy.Commits[copy.Branches["main"]]["README.md"]));
        Assert.False(File.Exists(toys.PathOf("policy", "README.md")));
        Assert.Equal(0, push.Json.GetProperty("uploaded_bytes").GetInt64()); // the server knew these weights

        Assert.Equal("tester", Succeed(WithToken, "hub", "whoami", "--json").Json.GetProperty("name").GetString());
        var cache = Succeed(Variables, "hub", "cache", "--json").Json;
        Assert.Equal("org/policy", cache.GetProperty("repos")[0].GetProperty("id").GetString());
        Assert.InRange(cache.GetProperty("bytes").GetInt64(), 1000, 10_000_000);
        Assert.Contains("Removed the model org/policy", Succeed(Variables, "hub", "cache", "--remove", "org/policy").Output);
        Assert.Equal(0, Succeed(Variables, "hub", "cache", "--json").Json.GetProperty("bytes").GetInt64());

        Succeed(Variables, "init", "--tokenizer", "org/policy", "--layers", "1", "--hidden-size", "8", "--heads", "1", "--output",
            System.IO.Path.Combine(Folder, "new"));
        Assert.Equal(1, Server.Count("GET /lfs/")); // no weights for a tokenizer
    }

    [Fact]
    public void A_push_that_must_fail_is_refused_before_training_and_one_that_fails_later_loses_nothing()
    {
        AddToys();
        string[] sft = ["sft", "--model", "policy", "--dataset", "reviews.csv", "--max-steps", "1", "--max-length", "16",
            "--threads", "1", "--push-to-hub", "org/tuned"];
        string output = System.IO.Path.Combine(Folder, "sft");
        var early = Run(Variables, [.. sft, "--output", output]);
        Assert.Equal(1, early.ExitCode);
        Assert.Equal($"rlhf: There is no Hub token; make one at {Server.Endpoint}settings/tokens and put it into HF_TOKEN.\n",
            early.Error);
        Assert.False(Directory.Exists(output));

        Server.Add("models/org/public", []);
        var open = Run(WithToken, [.. sft[..^1], "org/public", "--private", "--output", output]);
        Assert.StartsWith("rlhf: org/public exists and is public", open.Error);
        Assert.False(Directory.Exists(output));

        Server.Fail("POST /api/repos/create", new Fault(Status: 403));
        var late = Run(WithToken, [.. sft, "--output", output]);
        Assert.Equal(1, late.ExitCode);
        string model = System.IO.Path.Combine(output, "model");
        Assert.Contains($"rlhf: the model is saved in {model} and was not pushed. "
            + "127.0.0.1 forbids making the repository org/tuned (403)", late.Error);
        Assert.Contains($"Push it with: rlhf hub push {model} org/tuned", late.Error);
        Assert.True(File.Exists(System.IO.Path.Combine(model, "model.safetensors")));
        Succeed(WithToken, "hub", "push", output, "org/tuned");
    }

    [Fact]
    public void Missing_data_is_noticed_before_a_model_is_downloaded()
    {
        AddToys();
        var refused = Run(Variables, "sft", "--model", "org/policy", "--dataset", "nope.parquet", "--batch-size", "0");
        Assert.Contains("--dataset nope.parquet does not exist", refused.Error);
        Assert.Contains("--batch-size is 0", refused.Error);
        Assert.Empty(Server.Requests);
    }

    [Fact]
    public void An_adapter_is_pushed_alone_and_used_by_name_with_the_base_that_it_names()
    {
        AddToys();
        string output = System.IO.Path.Combine(Folder, "adapter");
        Succeed(WithToken, "sft", "--model", "org/policy", "--dataset", "reviews.csv", "--max-steps", "2", "--max-length", "16", "--threads", "1",
            "--lora", "--lora-r", "2", "--output", output, "--push-to-hub", "org/adapter");
        var pushed = Server.Repos["models/org/adapter"];
        var files = pushed.Commits[pushed.Branches["main"]];
        Assert.Contains("adapter_model.safetensors", files.Keys);
        Assert.Contains("\"base_model_name_or_path\": \"org/policy\"", Encoding.UTF8.GetString(files["adapter_config.json"]));
        Assert.DoesNotContain("model.safetensors", files.Keys); // the base is not pushed with it
        Assert.DoesNotContain("config.json", files.Keys);

        // A stranger names the adapter alone; its base is downloaded, too, and both together answer as the run's own model does.
        var stranger = new Dictionary<string, string>(WithToken) { ["HF_HUB_CACHE"] = System.IO.Path.Combine(Folder, "empty") };
        string[] generate = ["--do-sample", "false", "--max-new-tokens", "8", "--threads", "1", "The film"];
        var own = Succeed(WithToken, ["generate", "--model", output, .. generate]);
        var used = Succeed(stranger, ["generate", "--model", "org/adapter", .. generate]);
        Assert.EndsWith(own.Output, used.Output);
        Assert.Contains("Downloading org/policy", used.Output);

        var download = Succeed(stranger, "hub", "download", "org/adapter", "--json");
        Assert.True(File.Exists(System.IO.Path.Combine(download.Json.GetProperty("folder").GetString()!, "adapter_config.json")));
        var copied = Succeed(WithToken, "hub", "push", System.IO.Path.Combine(output, "model"), "org/adapter-copy", "--json");
        Assert.Equal("org/adapter-copy", copied.Json.GetProperty("id").GetString());
    }

    [Fact]
    public void Only_a_model_is_pushed()
    {
        string run = Directory.CreateDirectory(System.IO.Path.Combine(Folder, "running")).FullName;
        File.WriteAllText(System.IO.Path.Combine(run, "config.yaml"), "# rlhf sft\n");
        string diary = Directory.CreateDirectory(System.IO.Path.Combine(Folder, "private")).FullName;
        File.WriteAllText(System.IO.Path.Combine(diary, "diary.txt"), "nobody's business");
        foreach (var (folder, message) in new[]
        {
            (run, $"{run} is the folder of a run that has saved no model yet; wait for its end, or name one of its checkpoints."),
            (diary, $"{diary} is no model folder: it holds no config.json."),
        })
        {
            var refused = Run(WithToken, "hub", "push", folder, "org/mine");
            Assert.Equal(($"rlhf: {message}\n", 2), (refused.Error, refused.ExitCode));
        }
        Assert.Empty(Server.Requests);
    }

    [Fact]
    public void A_repository_of_another_type_is_pointed_out()
    {
        Server.Add("datasets/org/reviews", new() { ["data/train.parquet"] = Random(10) });
        Server.Add("models/org/policy", ModelFiles());
        Server.Add("spaces/org/demo", new() { ["app.py"] = Text("print('hello')") });
        Assert.Equal("rlhf: 127.0.0.1 shows no model org/reviews; org/reviews is a data set: add --repo-type dataset.\n",
            Run(Variables, "hub", "download", "org/reviews").Error);
        Assert.Equal("rlhf: 127.0.0.1 shows no data set org/policy; org/policy is a model: leave --repo-type out.\n",
            Run(Variables, "hub", "download", "org/policy", "--repo-type", "dataset").Error);
        Assert.EndsWith("and 127.0.0.1 shows no model org/reviews; there is a data set of that name, which --model does not take.\n",
            Run(Variables, "generate", "--model", "org/reviews", "Hello").Error);

        Succeed(Variables, "hub", "download", "org/reviews", "--repo-type", "dataset");
        Succeed(Variables, "hub", "download", "org/demo", "--repo-type", "space");
        Assert.EndsWith("does not hold the model org/reviews; org/reviews is a data set: add --repo-type dataset.\n",
            Run(Variables, "hub", "cache", "--remove", "org/reviews").Error);
        string list = Succeed(Variables, "hub", "cache").Output;
        Assert.Contains("data set org/reviews", list);
        Assert.Contains("space org/demo", list);
        Succeed(Variables, "hub", "cache", "--remove", "org/demo", "--repo-type", "space");
    }

    [Fact]
    public void Where_no_hub_answers_a_mistyped_path_is_named()
    {
        var variables = new Dictionary<string, string>(Variables) { ["HF_ENDPOINT"] = "http://127.0.0.1:1" };
        var refused = Run(variables, "generate", "--model", "my-runs/aligned", "Hello");
        Assert.StartsWith("rlhf: There is no folder my-runs/aligned here, so --model my-runs/aligned was taken for a name on the Hub, "
            + "and http://127.0.0.1:1 cannot be reached (Connection refused", refused.Error);
        variables = new(Variables) { ["TRANSFORMERS_OFFLINE"] = "1" };
        variables["HF_HUB_OFFLINE"] = "";
        Assert.Contains("and TRANSFORMERS_OFFLINE forbids to download it",
            Run(variables, "generate", "--model", "my-runs/aligned", "Hello").Error);
    }

    [Fact]
    public void What_a_token_may_do_is_said_in_words()
    {
        Assert.Matches("token +may write *\n", Succeed(WithToken, "hub", "whoami").Output);
        Server.Role = "read";
        Assert.Matches("token +may only read *\n", Succeed(WithToken, "hub", "whoami").Output);
    }

    [Fact]
    public void Paths_are_not_taken_for_names_of_the_hub()
    {
        string folder = Directory.CreateDirectory(System.IO.Path.Combine(Folder, "work", "runs")).FullName;
        var cache = new HubCache(CacheFolder);
        string here = System.IO.Path.GetRelativePath(Directory.GetCurrentDirectory(), folder);
        Assert.Null(HubFiles.Meant(HubRepoType.Model, folder, cache));
        Assert.Null(HubFiles.Meant(HubRepoType.Model, System.IO.Path.Combine(folder, "none"), cache));
        Assert.Null(HubFiles.Meant(HubRepoType.Model, here, cache));
        Assert.Null(HubFiles.Meant(HubRepoType.Model, "gpt3-of-mine", cache)); // a misspelt folder is nobody's business
        Assert.Null(HubFiles.Meant(HubRepoType.Dataset, "data/train.parquet", cache));
        Assert.Null(HubFiles.Meant(HubRepoType.Dataset, "data/train-*", cache));
        Assert.Equal((HubRepo.Model("gpt2"), null), HubFiles.Meant(HubRepoType.Model, "gpt2", cache));
        Assert.Equal((HubRepo.Model("org/name"), "v1.0"), HubFiles.Meant(HubRepoType.Model, "org/name@v1.0", cache));
        Assert.Equal((HubRepo.Dataset("imdb"), null), HubFiles.Meant(HubRepoType.Dataset, "imdb", cache));
    }

    [Fact]
    public void The_preset_is_the_lesson()
    {
        var ppo = CommandLine.Create().Subcommands.OfType<VerbCommand>().Single(c => c.Name == "ppo");
        var bound = ppo.Settings.Bind(new Dictionary<string, string>(), PpoPresets.Settings(PpoPreset.Imdb).Entries);
        Assert.Equal(new PpoConfig(), bound.Get<PpoConfig>()); // whose defaults are TRL's
        Assert.Equal((1.41e-5, 128, 128, 4, 0.2, 6.0), (bound.Get<PpoConfig>().LearningRate, bound.Get<PpoConfig>().BatchSize,
            bound.Get<PpoConfig>().MiniBatchSize, bound.Get<PpoConfig>().PpoEpochs, bound.Get<PpoConfig>().InitKlCoef,
            bound.Get<PpoConfig>().Target));
        Assert.Equal(new GenerationConfig(), bound.Get<GenerationConfig>());
        var options = bound.Get<PpoFlags>();
        Assert.Equal(("lvwerra/gpt2-imdb", "lvwerra/distilbert-imdb", "stanfordnlp/imdb"),
            (options.Model, options.RewardModel, bound.Get<DatasetFlags>().Dataset));
        Assert.Null(options.Steps); // one pass: 24,895 reviews of more than 200 characters, 194 batches
        var lengths = bound.Get<QueryFlags>();
        Assert.Equal((2, 8, 4, 16, "test"),
            (lengths.QueryMin, lengths.QueryMax, lengths.ResponseMin, lengths.ResponseMax, lengths.EvalSplit));
        Assert.Equal(200, bound.Get<DatasetFlags>().LongerThan);

        var offline = Run(new(Variables) { ["HF_HUB_OFFLINE"] = "1" }, "ppo", "--preset", "imdb");
        Assert.Contains("There is no folder lvwerra/gpt2-imdb here, so --model lvwerra/gpt2-imdb was taken for a name on the Hub, "
            + "and the model lvwerra/gpt2-imdb (main) is not complete in the cache", offline.Error);
        var other = Run(new(Variables) { ["HF_HUB_OFFLINE"] = "1" }, "ppo", "--preset", "imdb", "--model", "policy");
        Assert.Contains("the model lvwerra/distilbert-imdb (main) is not complete in the cache", other.Error); // a flag wins
    }
}
