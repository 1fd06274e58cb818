using System.Text.Json;
using System.Text.RegularExpressions;

namespace Rlhf.Tests.Cli;

/// <summary>Divergence as a user of the command sees it; the faults are put into the command as it starts.</summary>
public sealed class DivergenceCommandTests(ToyModels toys) : IClassFixture<ToyModels>
{
    private static readonly string[] Ppo =
    [
        "ppo", "--dataset", "reviews.csv", "--longer-than", "0", "--batch-size", "8", "--mini-batch-size", "8", "--eval-queries", "6",
        "--threads", "1", "--model", "policy", "--reward-model", "classifier", "--json",
    ];

    [Fact]
    public void ABadStepIsNamedCountedAndSurvived()
    {
        var result = Run("nan-gradient@2", [.. Ppo, "--steps", "6", "--output", "survived"]);
        Assert.True(result.ExitCode == 0, result.Error);
        Assert.Equal(6, result.Json.GetProperty("steps").GetInt32());
        Assert.Contains("Step 2: The gradient norm is NaN. That update is left out.", result.Error);
        Assert.Contains("Lower --learning-rate", result.Error);
        string[] metrics = File.ReadAllLines(toys.PathOf("survived", "metrics.jsonl"));
        Assert.Equal(6, metrics.Length);
        Assert.Contains("\"ppo/guard/nonfinite_gradient\":4", metrics[1]);
        Assert.True(File.Exists(toys.PathOf("survived", "model", "model.safetensors")));
    }

    [Fact]
    public void AKlThatStaysBeyondItsLimitStopsTheRunWithItsCauseAndFlag()
    {
        var result = Run("kl-explosion@3-", [.. Ppo, "--steps", "20", "--max-bad-steps", "2", "--output", "exploded"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("rlhf: Training diverged at step 5: objective/kl is", result.Error);
        Assert.Contains("over --kl-limit (120) (3 bad steps in a row). The policy has run away from the reference. Lower "
            + "--learning-rate", result.Error);
        Assert.Equal(4, File.ReadLines(toys.PathOf("exploded", "metrics.jsonl")).Count());
        Assert.True(File.Exists(toys.PathOf("exploded", "model", "model.safetensors")));
    }

    [Fact]
    public void FineTuningStopsAfterTooManyBadSteps()
    {
        var result = Run("nan-loss@2-", ["sft", "--model", "policy", "--dataset", "reviews.csv", "--max-steps", "9", "--max-bad-steps", "1",
            "--eval-fraction", "0", "--threads", "1", "--output", "sft-bad"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("Step 2 was left out", result.Output + result.Error);
        Assert.Contains("rlhf: Training diverged at step 3: the loss is NaN", result.Error);
    }

    [Theory]
    [InlineData("sft", "nan-loss@9", "--max-bad-steps", "0")]
    [InlineData("reward", "nan-gradient@9", "--max-bad-steps", "0")]
    [InlineData("ppo", "kl-explosion@9", "--kl-action", "stop")]
    [InlineData("ppo", "nan-loss@9", "--non-finite-action", "stop")]
    [InlineData("ppo", "nan-reward@9", "--non-finite-reward-action", "stop")]
    [InlineData("grpo", "nan-loss@9", "--non-finite-action", "stop")]
    [InlineData("rloo", "kl-explosion@9", "--kl-action", "stop")]
    public void TheLastWholeStepBeforeADivergenceIsSavedAndGoesOnBitForBit(string verb, string fault, string setting, string value)
    {
        string whole = $"{verb}-{fault}-whole", failed = $"{verb}-{fault}-failed";
        string[] command = [.. ResumableRuns.Command(verb, steps: 12, saveEvery: 5), setting, value, "--keep-last", "1"];
        toys.Succeed([.. command, "--output", whole]);
        var result = Run(fault, [.. command, "--output", failed]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("the last good checkpoint, of step 8, is ", result.Error);
        Assert.Contains($"by: rlhf {verb} --resume {failed}", result.Error);
        // It is there besides those from before, of which it takes none away.
        Assert.True(Directory.Exists(toys.PathOf(failed, "checkpoints", "checkpoint-5")));
        Assert.Equal(File.ReadAllBytes(toys.PathOf(failed, "model", "model.safetensors")),
            File.ReadAllBytes(toys.PathOf(failed, "checkpoints", "checkpoint-8", "model.safetensors")));

        Assert.Contains("Resuming after step 8", toys.Succeed(verb, "--resume", failed).Output);
        ResumableRuns.AssertSame(toys.PathOf(whole), toys.PathOf(failed));
    }

    [Theory]
    [InlineData("ppo", "kl-explosion@4", "--kl-action", "stop")]
    [InlineData("ppo", "negative-kl@4", "--negative-kl-action", "stop")]
    [InlineData("grpo", "kl-explosion@4", "--kl-action", "stop")]
    [InlineData("sft", "nan-gradient@4", "--max-bad-steps", "0")]
    [InlineData("reward", "nan-gradient@4", "--max-bad-steps", "0")]
    public void WhatTheAdviceNamesMayChangeWhenTheRunGoesOn(string verb, string fault, string setting, string value)
    {
        string run = $"{verb}-{fault}-advised";
        var stopped = Run(fault, [.. ResumableRuns.Command(verb, steps: 6), setting, value, "--output", run]);
        Assert.Equal(1, stopped.ExitCode);
        Dictionary<string, string> others = new()
        {
            ["--learning-rate"] = "1e-6",
            ["--max-grad-norm"] = "0.5",
            ["--warmup-ratio"] = "0.5",
            ["--ppo-epochs"] = "2",
            ["--early-stopping"] = "true",
            ["--init-kl-coef"] = "0.5",
            ["--kl-penalty"] = "full",
            ["--top-k"] = "5",
            ["--top-p"] = "0.9",
            ["--temperature"] = "0.9",
            ["--num-iterations"] = "1",
            ["--beta"] = "0.1",
        };
        string advice = stopped.Error[stopped.Error.IndexOf("diverged at", StringComparison.Ordinal)..];
        string[] named = [.. Regex.Matches(advice, "--[a-z-]+").Select(m => m.Value).Distinct()
            .Where(flag => flag != "--kl-limit"), .. fault.StartsWith("negative", StringComparison.Ordinal)
                ? (string[])["--top-k", "--top-p", "--temperature"] : [], .. verb is "ppo" or "grpo" ? [] : (string[])["--warmup-ratio"]];
        Assert.NotEmpty(named);
        var resumed = toys.Succeed([verb, "--resume", run, .. named.SelectMany(flag => (string[])[flag, others[flag]])]);
        foreach (string flag in named)
            Assert.Matches($"{flag} is {others[flag]}, and the run began with", resumed.Output.ReplaceLineEndings(" "));
        if (named.Contains("--init-kl-coef"))
        {
            // The adaptive controller goes on from it, and is not set back to it later.
            double[] used = [.. File.ReadLines(toys.PathOf(run, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement
                .GetProperty("objective/kl_coef").GetDouble())];
            Assert.InRange(used[2], 0.19, 0.21);
            Assert.Equal(0.5, used[3]);
            Assert.All(used[4..], v => Assert.True(v != 0.5 && v is > 0.49 and < 0.51, $"{v}"));
        }
    }

    [Fact]
    public void AStepThatFailsAfterAnUpdateIsNotSavedAndTheLastWholeOneIsNamed()
    {
        var result = Run("late-nan-gradient@4", [.. ResumableRuns.Command("ppo", steps: 12, saveEvery: 2), "--non-finite-action", "stop",
            "--output", "halfway"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("step 4 had changed weights before it failed", result.Error);
        Assert.Contains("the last good checkpoint, of step 2, is ", result.Error);
        Assert.Equal(["checkpoint-2"], Directory.GetDirectories(toys.PathOf("halfway", "checkpoints")).Select(p => Path.GetFileName(p)));
        Assert.True(File.Exists(toys.PathOf("halfway", "model", "model.safetensors")));
    }

    [Theory]
    [InlineData("sft")]
    [InlineData("reward")]
    [InlineData("ppo")]
    public void ADamagedModelIsNeverSavedAndTakesNoOthersPlace(string verb)
    {
        string whole = $"{verb}-sound", damaged = $"{verb}-damaged", checkpoints = toys.PathOf(damaged, "checkpoints");
        string[] command = ResumableRuns.Command(verb, steps: 6);
        toys.Succeed([.. command, "--output", whole]);
        toys.Succeed([.. command, "--output", damaged]);
        File.Delete(toys.PathOf(damaged, ".finished"));
        Directory.Delete(Path.Combine(checkpoints, "checkpoint-6"), recursive: true);
        Directory.Delete(toys.PathOf(damaged, "model"), recursive: true);

        // The first step from there ruins the weights, and it is to be saved.
        var result = Run("", [verb, "--resume", damaged, "--learning-rate", "1e30", "--save-every", "1", "--keep-last", "1"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("the weights are not usable any more and were not saved", result.Error);
        Assert.Contains("the last good checkpoint, of step 3, is ", result.Error);
        Assert.Contains("rlhf: Training diverged at step 4: the model's own numbers are not finite after this step", result.Error);
        Assert.Equal(["checkpoint-3"], Directory.GetDirectories(checkpoints).Select(p => Path.GetFileName(p)));
        Assert.False(Directory.Exists(toys.PathOf(damaged, "model")));

        // What the message names is good: with the learning rate of before, the run ends as one that never went astray.
        string rate = File.ReadLines(toys.PathOf(whole, "config.yaml")).Single(l => l.StartsWith("learning_rate:", StringComparison.Ordinal))
            .Split(' ')[1];
        toys.Succeed(verb, "--resume", damaged, "--learning-rate", rate);
        ResumableRuns.AssertSame(toys.PathOf(whole), toys.PathOf(damaged));

        // A run whose last step does the damage has no other step to show it.
        var last = Run("", [.. ResumableRuns.Command(verb, steps: 1), "--learning-rate", "1e30", "--output", $"{verb}-last"]);
        Assert.Equal(1, last.ExitCode);
        Assert.Contains("rlhf: Training diverged at step 1", last.Error);
        Assert.False(Directory.Exists(toys.PathOf($"{verb}-last", "model")));
    }

    [Fact]
    public void CheckpointsOfBadStepsTakeNoGoodOnesPlace()
    {
        var result = Run("kl-explosion@4-", [.. ResumableRuns.Command("ppo", steps: 12, saveEvery: 1), "--max-bad-steps", "3",
            "--keep-last", "1", "--output", "streak"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("the last good checkpoint, of step 6, is ", result.Error);
        Assert.Contains($"resume from an earlier one: --resume {Path.Combine("streak", "checkpoints", "checkpoint-3")}", result.Error);
        Assert.True(Directory.Exists(toys.PathOf("streak", "checkpoints", "checkpoint-3")));
        Assert.False(Directory.Exists(toys.PathOf("streak", "checkpoints", "checkpoint-5")));
    }

    [Fact]
    public void AnExceptionWithinTheBackwardPassIsAnErrorAndNoCrash()
    {
        var result = Run("throwing-backward@2", [.. Ppo, "--steps", "3", "--output", "thrown"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("rlhf: unexpected error (InvalidOperationException): A fault in a backward pass", result.Error);
    }

    private CommandResult Run(string fault, string[] arguments)
    {
        using var process = RlhfCommand.StartWithFaults(toys.Folder, fault, arguments);
        return RlhfCommand.Finish(process);
    }
}
