using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Rlhf.Cli;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Runs;
using Rlhf.Runtime;

namespace Rlhf.Tests.Cli;

/// <summary>Stopping, going on, and what is refused, with the built command on toy models.</summary>
public sealed class ResumeTests(ToyModels toys) : IClassFixture<ToyModels>
{
    public static TheoryData<string> Verbs() => [.. ResumableRuns.Verbs];

    [Theory]
    [MemberData(nameof(Verbs))]
    public void A_run_that_was_stopped_goes_on_bit_for_bit(string verb)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Signals are sent with kill.");
        var command = ResumableRuns.Command(verb, steps: 40, saveEvery: 100);
        toys.Succeed([.. command, "--output", $"{verb}-whole"]);
        using (var process = RlhfCommand.Start(toys.Folder, [.. command, "--output", $"{verb}-stopped"]))
        {
            ResumableRuns.WaitForSteps(process, toys.PathOf($"{verb}-stopped"), 3);
            ResumableRuns.Signal(process, "TERM");
            var stopped = RlhfCommand.Finish(process);
            Assert.Equal(130, stopped.ExitCode);
            Assert.Contains($"rlhf {verb} --resume {verb}-stopped", stopped.Output);
        }
        // No other flag is needed: the settings are the run's own.
        var resumed = toys.Succeed(verb, "--resume", $"{verb}-stopped");
        Assert.Matches(@"Resuming after step \d+", resumed.Output);
        ResumableRuns.AssertSame(toys.PathOf($"{verb}-whole"), toys.PathOf($"{verb}-stopped"));

        // Without a value: the run in --output.
        var finished = toys.Succeed(verb, "--resume", "--output", $"{verb}-stopped");
        Assert.Contains("is finished", finished.Output);
    }

    [Fact]
    public void An_evaluation_that_a_stop_interrupted_is_made_up()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Signals are sent with kill.");
        string[] command = ["reward", "--model", "classifier", "--dataset", "reviews.csv", "--max-steps", "4", "--batch-size", "8",
            "--save-every", "100", "--threads", "1"];
        toys.Succeed([.. command, "--output", "evaluated"]);
        using (var process = RlhfCommand.StartWithFaults(toys.Folder, "stop-in-evaluation@4",
            [.. command, "--output", "interrupted"]))
            Assert.Equal(130, RlhfCommand.Finish(process).ExitCode);
        Assert.Equal(["checkpoint-4"], Directory.GetDirectories(toys.PathOf("interrupted", "checkpoints")).Select(p => Path.GetFileName(p)));
        Assert.Equal(3, File.ReadLines(toys.PathOf("interrupted", "metrics.jsonl")).Count());
        Assert.False(File.Exists(toys.PathOf("interrupted", ".finished")));

        toys.Succeed("reward", "--resume", "interrupted");
        ResumableRuns.AssertSame(toys.PathOf("evaluated"), toys.PathOf("interrupted"));
        // Made up again, as after a kill behind the first time, it is still there once.
        File.Delete(toys.PathOf("interrupted", ".finished"));
        toys.Succeed("reward", "--resume", "interrupted");
        ResumableRuns.AssertSame(toys.PathOf("evaluated"), toys.PathOf("interrupted"));
        double EvalLoss(string run) => JsonDocument.Parse(File.ReadAllText(toys.PathOf(run, "summary.json"))).RootElement
            .GetProperty("eval_loss").GetDouble();
        Assert.Equal(EvalLoss("evaluated"), EvalLoss("interrupted"));
    }

    [Theory]
    [InlineData("", null, "runs/here")]
    [InlineData("--resume", "auto", "runs/here")]
    [InlineData("--resume auto", "auto", "runs/here")]
    [InlineData("--resume runs/mine", "runs/mine", "runs/here")]
    [InlineData("--resume=runs/mine", "runs/mine", "runs/here")]
    [InlineData("--resume --output runs/there", "auto", "runs/there")]
    [InlineData("--resume --json", "auto", "runs/here")]
    public void Without_a_value_it_means_auto(string flags, string? resume, string output)
    {
        foreach (var verb in ResumableRuns.Verbs)
        {
            string[] words = [.. flags.Contains("--output", StringComparison.Ordinal) ? [] : (string[])["--output", "runs/here"],
                .. flags.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
            var result = CommandLine.Create().Parse([verb, .. words]);
            Assert.Empty(result.Errors);
            var settings = ((VerbCommand)result.CommandResult.Command).Settings.Preview(result);
            Assert.Equal(resume, settings.Get<CheckpointFlags>().Resume);
            Assert.Equal(output, settings.Get<OutputFlags>().Output);
        }
    }

    [Fact]
    public void A_damaged_checkpoint_is_told_and_the_one_before_is_used()
    {
        toys.Succeed([.. ResumableRuns.Command("sft", steps: 9), "--output", "undamaged"]);
        foreach (var (name, damage) in Damages())
        {
            string run = toys.PathOf(name);
            ResumableRuns.Copy(toys.PathOf("undamaged"), run);
            var weights = File.ReadAllBytes(Path.Combine(run, "model", "model.safetensors"));
            File.Delete(Path.Combine(run, ".finished"));
            damage(Path.Combine(run, "checkpoints", "checkpoint-9"));
            var resumed = toys.Succeed("sft", "--resume", name);
            Assert.Matches("checkpoint-9.* is damaged and was set aside", resumed.Error.ReplaceLineEndings(" "));
            Assert.Contains("Resuming after step 6", resumed.Output);
            Assert.Equal(weights, File.ReadAllBytes(Path.Combine(run, "model", "model.safetensors")));
            Assert.True(Directory.Exists(Path.Combine(run, "checkpoints", "set-aside-checkpoint-9")));
        }
    }

    [Fact]
    public void An_earlier_checkpoint_can_be_chosen()
    {
        string[] command = [.. ResumableRuns.Command("ppo", steps: 9), "--keep-last", "3"];
        toys.Succeed([.. command, "--output", "chosen"]);
        var weights = File.ReadAllBytes(toys.PathOf("chosen", "model", "model.safetensors"));
        File.Delete(toys.PathOf("chosen", ".finished"));
        var resumed = toys.Succeed("ppo", "--resume", "chosen/checkpoints/checkpoint-3");
        Assert.Contains("Resuming after step 3", resumed.Output);
        Assert.Equal(weights, File.ReadAllBytes(toys.PathOf("chosen", "model", "model.safetensors")));
    }

    [Fact]
    public void Another_setting_is_refused_and_the_message_says_which_may_change()
    {
        toys.Succeed([.. ResumableRuns.Command("ppo", steps: 3), "--output", "settings"]);
        var before = File.ReadAllBytes(toys.PathOf("settings", "config.yaml"));
        var refused = toys.Run("ppo", "--resume", "settings", "--batch-size", "16", "--gamma", "0.9", "--steps", "5",
            "--learning-rate", "1e-6");
        Assert.Equal(2, refused.ExitCode);
        Assert.Contains("--batch-size is 16, and the run began with 8", refused.Error);
        Assert.Contains("--gamma is 0.9, and the run began with 1", refused.Error);
        Assert.DoesNotContain("--steps is", refused.Error); // the schedule is constant
        Assert.Matches("only these may change: .*--learning-rate.*--steps", refused.Error.ReplaceLineEndings(" "));
        Assert.Equal(before, File.ReadAllBytes(toys.PathOf("settings", "config.yaml")));
        DocumentNames(refused.Error);

        // What may change does, and a longer run goes on from the end of the shorter.
        var longer = toys.Succeed("ppo", "--resume", "settings", "--steps", "5", "--learning-rate", "1e-6");
        Assert.Contains("Resuming after step 3", longer.Output);
        Assert.Contains("--steps is 5, and the run began with 3", longer.Output);
        Assert.Equal(5, File.ReadLines(toys.PathOf("settings", "metrics.jsonl")).Count());
    }

    [Fact]
    public void Another_model_or_other_data_under_the_same_name_are_refused()
    {
        toys.Succeed([.. ResumableRuns.Command("reward", steps: 3), "--output", "content"]);
        File.Delete(toys.PathOf("content", ".finished"));
        DocumentNames(toys.Run("reward", "--resume", "content", "--batch-size", "9").Error);
        string data = File.ReadAllText(toys.PathOf("reviews.csv"));
        try
        {
            File.WriteAllText(toys.PathOf("reviews.csv"), data.Replace("The music", "The light", StringComparison.Ordinal));
            var refused = toys.Run("reward", "--resume", "content");
            Assert.Equal(2, refused.ExitCode);
            Assert.Contains("--dataset: the content is not what the run began with", refused.Error);
        }
        finally
        {
            File.WriteAllText(toys.PathOf("reviews.csv"), data);
        }
        toys.Succeed("reward", "--resume", "content");
    }

    [Fact]
    public void Another_judge_reference_or_held_out_data_under_the_same_name_are_refused()
    {
        foreach (var (copy, model) in (KeyValuePair<string, string>[])[new("reference", "policy"), new("judge", "classifier")])
            ResumableRuns.Copy(toys.PathOf(model), toys.PathOf(copy));
        toys.Succeed([.. ResumableRuns.Command("ppo", steps: 3), "--judge", "judge", "--output", "judged"]);
        File.Delete(toys.PathOf("judged", ".finished"));
        // A reference that the run did not have is another one.
        Refused("--ref-model: the content is not what the run began with", "ppo", "--resume", "judged", "--ref-model", "reference");
        File.AppendAllText(toys.PathOf("judge", "config.json"), " ");
        Refused("--judge: the content is not what the run began with", "ppo", "--resume", "judged");

        foreach (var verb in (string[])["sft", "reward"])
        {
            var reviews = File.ReadAllLines(toys.PathOf("reviews.csv"));
            File.WriteAllLines(toys.PathOf("others.csv"), reviews[..40]);
            string run = $"{verb}-held-out";
            toys.Succeed([.. ResumableRuns.Command(verb, steps: 3), "--eval-dataset", "others.csv", "--output", run]);
            File.Delete(toys.PathOf(run, ".finished"));
            File.WriteAllLines(toys.PathOf("others.csv"), [.. reviews[..39], reviews[41]]);
            Refused("the held-out data: the content is not what the run began with", verb, "--resume", run);
            if (verb == "sft")
                DocumentNames(toys.Run(verb, "--resume", run, "--batch-size", "9").Error);
        }
    }

    [Fact]
    public void Where_the_loss_begins_belongs_to_the_data()
    {
        string File(string prompt, string completion) => string.Concat(Enumerable.Repeat(
            JsonSerializer.Serialize(new { prompt, completion }) + "\n", 24));
        System.IO.File.WriteAllText(toys.PathOf("moved.jsonl"), File("a ", "b c"));
        toys.Succeed("sft", "--model", "policy", "--dataset", "moved.jsonl", "--format", "completions", "--max-steps", "2", "--save-every",
            "1", "--threads", "1", "--output", "moved");
        System.IO.File.Delete(toys.PathOf("moved", ".finished"));
        System.IO.File.WriteAllText(toys.PathOf("moved.jsonl"), File("a b", " c"));
        Refused("--dataset: the content is not what the run began with", "sft", "--resume", "moved");
    }

    [Fact]
    public void A_folder_that_another_run_took_meanwhile_is_not_cleared()
    {
        Directory.CreateDirectory(toys.PathOf("taken"));
        File.WriteAllText(toys.PathOf("taken", "config.yaml"), "# a run");
        for (int i = 0; i < 2; i++) // the lock is given back each time
            Assert.Contains("already holds files", Assert.Throws<ConfigurationException>(() =>
                RunFolder.Lock(toys.PathOf("taken"), "--output", mustBeFree: true)).Message);
        Assert.Equal("# a run", File.ReadAllText(toys.PathOf("taken", "config.yaml")));
    }

    [Fact]
    public void A_folder_in_which_a_run_was_killed_before_it_began_is_free()
    {
        Directory.CreateDirectory(toys.PathOf("begun"));
        File.WriteAllText(toys.PathOf("begun", ".lock-owner.abcdefgh.xyz.tmp"), "");
        RunFolder.Lock(toys.PathOf("begun"), "--output", mustBeFree: true).Dispose();
    }

    [Fact]
    public void Two_processes_do_not_share_a_folder()
    {
        using var first = RlhfCommand.Start(toys.Folder, [.. ResumableRuns.Command("sft", steps: 100000), "--output", "shared"]);
        ResumableRuns.WaitForSteps(first, toys.PathOf("shared"), 1);
        foreach (var flags in (string[][])[["--overwrite"], ["--resume", "auto"]])
        {
            var second = toys.Run([.. ResumableRuns.Command("sft", steps: 100000), "--output", "shared", .. flags]);
            Assert.Equal(2, second.ExitCode);
            Assert.Contains("shared is in use by", second.Error);
            if (!OperatingSystem.IsWindows())
                Assert.Contains($"process {first.Id} on {Environment.MachineName}", second.Error);
        }
        Assert.False(first.HasExited);
        first.Kill();
        first.WaitForExit();
        toys.Succeed([.. ResumableRuns.Command("sft", steps: 3), "--output", "shared", "--overwrite"]);
    }

    [Fact]
    public void A_lost_terminal_and_closed_pipes_do_not_stop_training()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Signals are sent with kill.");
        using var process = RlhfCommand.Start(toys.Folder, [.. ResumableRuns.Command("ppo", steps: 60), "--output", "terminal"]);
        ResumableRuns.WaitForSteps(process, toys.PathOf("terminal"), 1);
        process.StandardOutput.Close();
        process.StandardError.Close();
        ResumableRuns.Signal(process, "HUP");
        Assert.True(process.WaitForExit(RlhfCommand.Limit));
        Assert.Equal(0, process.ExitCode);
        Assert.Equal(60, File.ReadLines(toys.PathOf("terminal", "metrics.jsonl")).Count());
    }

    [Fact]
    public void What_cannot_be_resumed_is_said_in_a_sentence()
    {
        toys.Succeed([.. ResumableRuns.Command("sft", steps: 3), "--output", "refusals"]);
        Directory.CreateDirectory(toys.PathOf("no-run"));
        Refused("nowhere does not exist", "sft", "--resume", "nowhere");
        Refused("no-run is no run: there is no config.yaml", "sft", "--resume", "no-run");
        Refused("is a run of rlhf sft; resume it with: rlhf sft --resume refusals", "ppo", "--resume", "refusals");
        Refused("give one of the two", "sft", "--resume", "refusals", "--overwrite");
        Refused("leave --output other out", "sft", "--resume", "refusals", "--output", "other");
        Refused("unknown flag '--batchsize'; did you mean '--batch-size'?", "sft", "--resume", "--batchsize", "--max-steps", "4");
        Refused("--resume is empty; give DIR|auto, or leave the value out for auto.", "sft", "--resume", "");
        Refused("--resume is given more than once.", "sft", "--resume", "--resume", "refusals");
        Refused("or resume that run: --resume refusals", [.. ResumableRuns.Command("sft"), "--output", "refusals"]);
    }

    [Fact]
    public void A_full_disk_costs_a_checkpoint_and_not_the_run()
    {
        Assert.SkipUnless(SmallDisk.TryMount(out var disk, megabytes: 1), "No small file system can be mounted here.");
        using (disk)
        {
            string run = Path.Combine(disk!.Path, "run");
            using var process = RlhfCommand.Start(
                toys.Folder, [.. ResumableRuns.Command("sft", steps: 1000000), "--output", run]);
            ResumableRuns.WaitForSteps(process, run, 12);
            string filler = Path.Combine(disk.Path, "filler");
            Assert.Throws<IOException>(() => File.WriteAllBytes(filler, new byte[2 << 20]));
            // Both have been refused: a checkpoint, and the lines of metrics.jsonl beyond the page that was begun before.
            string output = RlhfCommand.ReadUntil(process.StandardOutput, "Metrics could not be written");
            string error = RlhfCommand.ReadUntil(process.StandardError, "could not be saved");
            Assert.False(process.HasExited);
            File.Delete(filler);
            ResumableRuns.WaitForSteps(process, run, File.ReadLines(Path.Combine(run, "metrics.jsonl")).Count() + 3);
            ResumableRuns.Signal(process, "KILL");
            var result = RlhfCommand.Finish(process);
            Assert.Matches(@"step \d+ could not be saved in .*checkpoints: .*(No space|not enough space|full).* The checkpoint of step \d+ is whole",
                error + result.Error);
            Assert.Single(Regex.Matches(output + result.Output, "Metrics could not be written to metrics.jsonl"));
            // No step is missing: the lines were kept until there was room again.
            int[] steps = [.. File.ReadLines(Path.Combine(run, "metrics.jsonl"))
                .Select(l => JsonDocument.Parse(l).RootElement.GetProperty("step").GetInt32())];
            Assert.Equal(Enumerable.Range(1, steps.Length), steps);
            using var resumed = RlhfCommand.Start(toys.Folder, "sft", "--resume", run);
            ResumableRuns.Signal(resumed, "TERM");
            Assert.DoesNotContain("damaged", RlhfCommand.Finish(resumed).Error);
        }
    }

    [Fact]
    public void A_folder_that_may_not_be_written_is_refused_before_training()
    {
        Assert.SkipUnless(Directory.Exists("/proc/1"), "Needs a folder where nobody may write, such as /proc.");
        foreach (var command in (string[][])[ResumableRuns.Command("sft"), ["export", "--model", "policy"]])
        {
            var refused = toys.Run([.. command, "--output", "/proc/rlhf-run"]);
            Assert.Equal(2, refused.ExitCode);
            Assert.StartsWith("rlhf: --output /proc/rlhf-run cannot be made or written: ", refused.Error);
            Assert.Single(refused.Error.Trim().Split('\n'));
        }
    }

    /// <summary>What the message says may change is what docs/checkpoints.md says.</summary>
    private static void DocumentNames(string message)
    {
        string list = Regex.Match(message.ReplaceLineEndings(" "), "only these may change: (.*?)[.] ").Groups[1].Value;
        string document = File.ReadAllText(Path.Combine(Fixtures.Repository(), "docs", "checkpoints.md"));
        int begin = document.IndexOf("## What may change", StringComparison.Ordinal);
        string section = document[begin..document.IndexOf("\n## ", begin, StringComparison.Ordinal)];
        Assert.All(list.Split(", "), flag => Assert.Contains($"`{flag}`", section));
    }

    private void Refused(string sentence, params string[] command)
    {
        var result = toys.Run(command);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(sentence, result.Error);
    }

    private static (string Name, Action<string> Damage)[] Damages() =>
    [
        ("cut", checkpoint => Change(Path.Combine(checkpoint, "optimizer.safetensors"), b => b[..^100])),
        ("flipped", checkpoint => Change(Path.Combine(checkpoint, "model.safetensors"), b =>
        {
            b[b.Length / 2] ^= 4;
            return b;
        })),
        ("without-manifest", checkpoint => File.Delete(Path.Combine(checkpoint, "manifest.json"))),
        ("cut-manifest", checkpoint => Change(Path.Combine(checkpoint, "manifest.json"), b => b[..(b.Length / 2)])),
        ("state-null", checkpoint => State(checkpoint, _ => """{"inputs":{},"elapsed":"00:00:01","trainer":null}""")),
        ("state-list", checkpoint => State(checkpoint, _ => "[]")),
        ("without-state", checkpoint => File.Delete(Path.Combine(checkpoint, "trainer_state.json"))),
    ];

    /// <summary>Changes the trainer's state, and the manifest so that it fits.</summary>
    private static void State(string checkpoint, Func<string, string> change)
    {
        string state = Path.Combine(checkpoint, "trainer_state.json"), manifest = Path.Combine(checkpoint, "manifest.json");
        File.WriteAllText(state, change(File.ReadAllText(state)));
        var json = JsonNode.Parse(File.ReadAllText(manifest))!;
        var entry = json["files"]!.AsArray().Single(f => (string?)f!["name"] == "trainer_state.json")!;
        (entry["bytes"], entry["sha256"]) = (new FileInfo(state).Length,
            Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(state))));
        File.WriteAllText(manifest, json.ToJsonString());
    }

    private static void Change(string path, Func<byte[], byte[]> change) => File.WriteAllBytes(path, change(File.ReadAllBytes(path)));
}
