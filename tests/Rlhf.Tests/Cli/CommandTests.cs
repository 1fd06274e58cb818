using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Rlhf.Cli;
using Rlhf.Models;

namespace Rlhf.Tests.Cli;

/// <summary>The built command as a process, on toy models that it made itself.</summary>
public sealed class CommandTests(ToyModels toys) : IClassFixture<ToyModels>
{
    private static readonly string[] PpoFlags =
    [
        "--dataset", "reviews.csv", "--longer-than", "0", "--batch-size", "8",
        "--mini-batch-size", "8", "--eval-queries", "6", "--threads", "1",
    ];

    private static readonly string[] Random = ["--model", "policy", "--reward-model", "classifier"];

    [Fact]
    public void The_lesson_runs_from_fine_tuning_to_evaluation()
    {
        toys.Succeed("sft", "--model", "policy", "--dataset", "reviews.csv", "--max-steps", "3", "--max-length", "32",
            "--threads", "1", "--output", "sft");
        Assert.Contains("perplexity on held-out text", File.ReadAllText(toys.PathOf("sft", "model", "README.md")));

        var reward = toys.Succeed("reward", "--model", "classifier", "--dataset", "reviews.csv", "--max-steps", "3",
            "--threads", "1", "--output", "reward", "--json");
        Assert.Equal(3, reward.Json.GetProperty("steps").GetInt32());
        Assert.InRange(reward.Json.GetProperty("eval_accuracy").GetDouble(), 0, 1);

        // The folder of a run stands for the model that it saved.
        var ppo = toys.Succeed(["ppo", .. PpoFlags, "--model", "sft", "--reward-model", "reward", "--judge", "classifier",
            "--steps", "2", "--output", "ppo", "--log-with", "tensorboard,wandb", "--storage", "bfloat16", "--json"]);
        string[] keys = ["steps", "seconds", "queries", "reward_before", "reward_after", "kl", "distinct2_before",
            "distinct2_after", "perplexity_before", "perplexity_after", "judge_before", "judge_after", "best_of_answers", "best_of_reward", "model_dir"];
        Assert.Equal(keys, ppo.Json.EnumerateObject().Select(p => p.Name));
        Assert.Equal(["mean", "median", "ci95"], ppo.Json.GetProperty("reward_after").EnumerateObject().Select(p => p.Name));
        Assert.Equal(2, ppo.Json.GetProperty("steps").GetInt32());
        Assert.Equal(6, ppo.Json.GetProperty("queries").GetInt32());
        Assert.Equal(JsonDocument.Parse(File.ReadAllText(toys.PathOf("ppo", "summary.json"))).RootElement.GetRawText(),
            ppo.Json.GetRawText());
        Assert.Contains("about", ppo.Error); // the plan, for people

        Assert.Equal(2, File.ReadLines(toys.PathOf("ppo", "metrics.jsonl")).Count());
        Assert.Contains("\"objective/kl\"", File.ReadLines(toys.PathOf("ppo", "metrics.jsonl")).Last());
        Assert.Contains("\"response\"", File.ReadLines(toys.PathOf("ppo", "samples.jsonl")).First());
        Assert.Single(Directory.GetFiles(toys.PathOf("ppo", "tensorboard"), "events.out.tfevents.*"));
        Assert.Contains("held-out queries", File.ReadAllText(toys.PathOf("ppo", "report.html")));
        Assert.Contains("\"finished\"", File.ReadAllText(toys.PathOf("ppo", "run.json")));
        Assert.Single(Directory.GetFiles(toys.PathOf("ppo", "wandb"), "run-*.wandb", SearchOption.AllDirectories));
        using (var model = AutoModelForCausalLM.FromPretrained(toys.PathOf("ppo", "model")))
            Assert.Equal(300, model.VocabSize);

        var again = toys.Succeed("ppo", "--config", "ppo/config.yaml", "--output", "ppo-again", "--json");
        foreach (var key in keys.Except(["seconds", "model_dir"]))
            Assert.Equal(ppo.Json.GetProperty(key).GetRawText(), again.Json.GetProperty(key).GetRawText());

        var comparison = toys.Succeed("evaluate", "--before", "sft", "--after", "ppo", "--reward-model", "reward", "--dataset",
            "reviews.csv",
            "--longer-than", "0", "--eval-queries", "6", "--threads", "1", "--json");
        Assert.Equal(6, comparison.Json.GetProperty("queries").GetInt32());
        var classifier = toys.Succeed("evaluate", "--classifier", "reward", "--dataset", "reviews.csv", "--threads", "1",
            "--json");
        Assert.Equal(160, classifier.Json.GetProperty("confusion").EnumerateArray().SelectMany(row => row.EnumerateArray())
            .Sum(cell => cell.GetInt32()));
        var perplexity = toys.Succeed("evaluate", "--model", "sft", "--dataset", "reviews.csv", "--max-texts", "8",
            "--threads", "1", "--json");
        Assert.InRange(perplexity.Json.GetProperty("perplexity").GetDouble(), 1, 1000);
    }

    [Fact]
    public void Preference_pairs_and_completions_are_learnt_too()
    {
        File.WriteAllLines(toys.PathOf("pairs.jsonl"), Enumerable.Range(0, 12).Select(i =>
            $$"""{"prompt":"Film {{i}}","chosen":" made me smile","rejected":" put me to sleep","completion":" won my heart"}"""));
        var reward = toys.Succeed("reward", "--model", "classifier", "--pairs", "pairs.jsonl", "--max-steps", "2", "--threads",
            "1", "--output", "pairs", "--json");
        Assert.Single(AutoModelForSequenceClassification.Labels(toys.PathOf("pairs", "model")));
        Assert.Equal(2, reward.Json.GetProperty("steps").GetInt32());
        var sft = toys.Succeed("sft", "--model", "policy", "--dataset", "pairs.jsonl", "--format", "completions",
            "--max-steps", "2", "--eval-fraction", "0",
            "--threads", "1", "--output", "completions", "--quiet");
        Assert.Equal(("", ""), (sft.Output, sft.Error));
    }

    [Fact]
    public void Interrupting_stops_after_the_step_and_saves()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Signals are sent with kill.");
        using var process = RlhfCommand.Start(toys.Folder, ["ppo", .. PpoFlags, .. Random, "--steps", "100000", "--output",
            "stopped"]);
        ResumableRuns.WaitForSteps(process, toys.PathOf("stopped"), 1);
        ResumableRuns.Signal(process, IgnoresInterrupts() ? "TERM" : "INT");
        var result = RlhfCommand.Finish(process);
        Assert.Equal(130, result.ExitCode);
        Assert.Contains("Stopping after the current step", result.Error);
        Assert.True(File.Exists(toys.PathOf("stopped", "model", "model.safetensors")));
        Assert.InRange(JsonDocument.Parse(File.ReadAllText(toys.PathOf("stopped", "summary.json")))
            .RootElement.GetProperty("steps").GetInt64(), 1, 99_999);
        Assert.Contains("The run was stopped after", File.ReadAllText(toys.PathOf("stopped", "report.html")));
    }

    /// <summary>Shells start what runs in their background deaf to Ctrl-C, and so are then these tests and the commands they start.</summary>
    private static bool IgnoresInterrupts() => OperatingSystem.IsLinux() && (1 & ulong.Parse(
        File.ReadLines("/proc/self/status").Single(line => line.StartsWith("SigIgn:", StringComparison.Ordinal))["SigIgn:".Length..].Trim(),
        NumberStyles.HexNumber, CultureInfo.InvariantCulture) >> 1) != 0;

    [Fact]
    public void Divergence_ends_in_a_sentence_that_names_flags_and_saves_no_broken_model()
    {
        var result = toys.Run("sft", "--model", "policy", "--dataset", "reviews.csv", "--learning-rate", "1e30", "--threads", "1",
            "--output", "diverged");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("rlhf: Training diverged at step", result.Error);
        Assert.Contains("Lower --learning-rate (1E+30)", result.Error);
        Assert.Equal(result.Error.Contains("were not saved"), !Directory.Exists(toys.PathOf("diverged", "model")));
    }

    [Fact]
    public void Generation_gives_json_alone_and_the_same_for_the_same_seed()
    {
        string[] command = ["generate", "--model", "policy", "The film", "A [bold]story", "--samples", "2", "--max-new-tokens",
            "5", "--threads", "1"];
        var first = toys.Succeed([.. command, "--json"]);
        Assert.Equal(4, first.Json.GetArrayLength());
        Assert.Equal("A [bold]story", first.Json[2].GetProperty("prompt").GetString());
        Assert.Equal(first.Output, toys.Succeed([.. command, "--json"]).Output);
        Assert.Contains("A [bold]story", toys.Succeed(command).Output);
        // A file has a line of the same fields for each.
        toys.Succeed([.. command, "--save", "texts.jsonl"]);
        Assert.Equal(first.Json.EnumerateArray().Select(s => JsonSerializer.Serialize(s)),
            File.ReadLines(toys.PathOf("texts.jsonl")).Select(l => JsonSerializer.Serialize(JsonDocument.Parse(l).RootElement)));
        Assert.Equal(["prompt", "response", "text", "tokens", "ended"], first.Json[0].EnumerateObject().Select(p => p.Name));
    }

    [Fact]
    public void Prompts_that_are_none_or_too_long_are_named()
    {
        File.WriteAllText(toys.PathOf("blank.txt"), "\n\r\n");
        AssertRefused(toys.Run("generate", "--model", "policy", "--prompts", "blank.txt"),
            "rlhf: --prompts blank.txt holds no prompt; write one on each line.");
        AssertRefused(toys.Run("generate", "--model", "policy", "a", "--max-new-tokens", "64", "--threads", "1"),
            "rlhf: The prompt has 1 token and --max-new-tokens asks for 64 more, but the model reads at most 64; shorten one of the two.");
        string length = string.Concat(Enumerable.Repeat("Zq", 30));
        File.WriteAllLines(toys.PathOf("long.txt"), ["The film", length, length]);
        var result = toys.Run("generate", "--model", "policy", "--prompts", "long.txt", "--max-new-tokens", "40", "--threads", "1");
        Assert.Matches($"^rlhf: Prompt 2, \"{length}\", has \\d\\d tokens and --max-new-tokens asks for 40 more, but the model "
            + "reads at most 64; shorten one of the two. 1 other prompt is too long as well.\n$", result.Error);
        Assert.Equal(("", 2), (result.Output, result.ExitCode));
    }

    [Fact]
    public void A_folder_that_holds_files_is_not_overwritten()
    {
        string taken = Path.Combine(Directory.CreateDirectory(toys.PathOf("taken")).FullName, "notes.txt");
        File.WriteAllText(taken, "mine");
        foreach (var command in (string[][])[["ppo", .. PpoFlags, .. Random, "--steps", "1", "--output", "taken"],
            ["init", "--output", "taken"], ["tokenizer", "train", "--dataset", "reviews.csv", "--output", "taken"]])
            AssertRefused(toys.Run(command),
                "rlhf: --output taken already holds files; choose another folder or add --overwrite.");
        Assert.Equal("mine", File.ReadAllText(taken));
    }

    [Fact]
    public void Nonsense_is_refused_in_one_sentence_each()
    {
        File.WriteAllText(toys.PathOf("bad.yaml"), "learning_rat: 1e-5\nbatch_size: many\n");
        AssertRefused(toys.Run("pro"), "rlhf: unknown command 'pro'; did you mean 'ppo'? See rlhf --help.");
        AssertRefused(toys.Run("ppo", "--leaning-rate", "1"),
            "rlhf: unknown flag '--leaning-rate'; did you mean '--learning-rate'? See rlhf ppo --help.");
        AssertRefused(toys.Run("ppo", "--seed", "1", "--seed", "2"),
            "rlhf: --seed is given more than once. See rlhf ppo --help.");
        AssertRefused(toys.Run("ppo", "--seed"), "rlhf: --seed needs a value. See rlhf ppo --help.");
        AssertRefused(toys.Run("hub", "download"),
            "rlhf: rlhf hub download needs ID: rlhf hub download ID [FILE ...]. See rlhf hub download --help.");
        AssertRefused(toys.Run("hub", "push"),
            "rlhf: rlhf hub push needs FOLDER and ID: rlhf hub push FOLDER ID. See rlhf hub push --help.");
        AssertRefused(toys.Run("hub", "push", "policy"),
            "rlhf: rlhf hub push needs ID: rlhf hub push FOLDER ID. See rlhf hub push --help.");
        AssertRefused(toys.Run("ppo", "--config", "bad.yaml", "--gamma", "2"),
            """
            rlhf: The configuration has 3 problems:
              - bad.yaml, line 1: unknown setting 'learning_rat'; did you mean 'learning_rate'?
              - bad.yaml, line 2: batch_size: 'many' is not a whole number.
              - --gamma is 2; it must be from 0 to 1.
            """.ReplaceLineEndings("\n"));
        AssertRefused(toys.Run("sft", "--model", "nowhere", "--dataset", "reviews.csv"),
            "rlhf: --model nowhere does not exist; name a model folder, or a model of the Hub such as lvwerra/gpt2-imdb.");
        AssertRefused(toys.Run("sft", "--model", "policy"), "rlhf: --dataset is missing; name a file or folder of texts.");
        AssertRefused(toys.Run("info", "--device", "tpu"), "rlhf: Unknown device 'tpu': use auto, cpu, cuda or cuda:N.");
        File.WriteAllText(toys.PathOf("empty.csv"), "text,label\n");
        Assert.Contains("   at Rlhf.", toys.Run("sft", "--model", "policy", "--dataset", "empty.csv", "--debug").Error);
    }

    [Fact]
    public void Every_path_that_is_missing_is_said_at_once_with_whatever_else_is_wrong()
    {
        const string NoModel = "does not exist; name a model folder, or a model of the Hub such as lvwerra/gpt2-imdb.";
        const string NoData = "does not exist; name a file or a folder, or a data set of the Hub such as stanfordnlp/imdb.";
        File.WriteAllText(toys.PathOf("paths.yaml"), "dataset: absent.csv\n");
        Directory.CreateDirectory(toys.PathOf("Model"));
        AssertRefused(toys.Run("ppo", "--model", "Model", "--reward-model", "runs/x/no-reward", "--judge", "no-judge", "--config",
            "paths.yaml", "--batch-size", "0", "--mini-batch-size", "1", "--eval-split", "test"),
            $"""
            rlhf: The configuration has 5 problems:
              - --batch-size is 0; it must be at least 1.
              - --dataset absent.csv {NoData} (paths.yaml, line 1)
              - --model Model is no model folder: it holds no config.json.
              - --reward-model runs/x/no-reward {NoModel}
              - --judge no-judge {NoModel}
            """.ReplaceLineEndings("\n"));
        AssertRefused(toys.Run("sft"),
            """
            rlhf: The configuration has 2 problems:
              - --model is missing; name a model folder, or a model of the Hub.
              - --dataset is missing; name a file or folder of texts.
            """.ReplaceLineEndings("\n"));
        AssertRefused(toys.Run("sft", "--model", "policy", "--dataset", "absent-*.parquet"), $"rlhf: --dataset absent-*.parquet {NoData}");
        AssertRefused(toys.Run("reward", "--model", "classifier", "--pairs", "absent.jsonl"), $"rlhf: --pairs absent.jsonl {NoData}");
        AssertRefused(toys.Run("evaluate", "--policies", "policy, absent", "--dataset", "reviews.csv"),
            $"rlhf: --policies absent {NoModel}");
        AssertRefused(toys.Run("evaluate", "--classifier", "classifier"), "rlhf: --dataset is missing; name a file or folder of texts.");
        AssertRefused(toys.Run("generate", "--model", "policy", "--prompts", "absent.txt"),
            "rlhf: --prompts absent.txt does not exist; name a file.");
        AssertRefused(toys.Run("generate", "--model", "policy", "--prompts", "policy", "--save", "absent/texts.jsonl"),
            """
            rlhf: The configuration has 2 problems:
              - --save is absent/texts.jsonl, whose folder is not there.
              - --prompts policy is a folder; name a file.
            """.ReplaceLineEndings("\n"));
        AssertRefused(toys.Run("pairs", "label", "--pairs", "absent.jsonl"),
            """
            rlhf: The configuration has 2 problems:
              - --out is missing; name the file to write, such as pairs.jsonl.
              - --pairs absent.jsonl does not exist; name a file or a folder.
            """.ReplaceLineEndings("\n"));
    }

    [Fact]
    public void Help_names_every_verb_and_setting()
    {
        var root = toys.Succeed("--help").Output;
        foreach (var verb in (string[])["ppo", "sft", "reward", "evaluate", "tokenizer train", "init", "generate", "info"])
            Assert.Contains($"  {verb} ", root);
        var ppo = toys.Succeed("ppo", "--help").Output;
        foreach (var option in CommandLine.Create().Subcommands.Single(c => c.Name == "ppo").Options)
            Assert.Contains(option.Name + " ", ppo);
        Assert.Contains("Adam's learning rate. (1.41e-5; 1.2e-4 with the model that ships)", ppo);
        Assert.Contains("rlhf hub download ID [FILE ...] [settings]", toys.Succeed("hub", "download", "--help").Output);
    }

    [Fact]
    public void Every_verb_has_help_and_examples_that_parse()
    {
        var root = CommandLine.Create();
        foreach (var verb in root.Subcommands.Concat(root.Subcommands.SelectMany(c => c.Subcommands)).OfType<VerbCommand>())
        {
            Assert.False(string.IsNullOrEmpty(verb.Description));
            Assert.All(verb.Settings.Settings, s => Assert.False(string.IsNullOrWhiteSpace(s.Help), s.Flag));
            Assert.NotEmpty(verb.Examples);
            foreach (var example in verb.Examples)
            {
                // Before the command, a shell takes variables: RLHF_API_KEY=secret rlhf serve.
                var result = root.Parse(example[(example.IndexOf("rlhf ", StringComparison.Ordinal) + "rlhf ".Length)..]);
                Assert.Empty(result.Errors);
                Assert.Same(verb, result.CommandResult.Command);
            }
        }
    }

    private static void AssertRefused(CommandResult result, string message)
    {
        Assert.Equal(message + "\n", result.Error.ReplaceLineEndings("\n"));
        Assert.Equal(("", 2), (result.Output, result.ExitCode));
    }
}
