using System.Diagnostics;
using System.Text.Json.Nodes;
using Rlhf.Cli;

namespace Rlhf.Tests.Cli;

/// <summary>Toy runs of all kinds of training, and what two runs must have in common to be the same.</summary>
internal static class ResumableRuns
{
    public static readonly string[] Verbs = [.. CommandLine.Create().Subcommands.OfType<VerbCommand>()
        .Where(v => v.Kind is not null).Select(v => v.Name)];

    /// <summary>A run of some dozen short steps with everything that is random in it: dropout, crops, sampling.</summary>
    public static string[] Command(string verb, int steps = 24, int saveEvery = 3) => verb switch
    {
        "sft" => ["sft", "--model", "policy", "--dataset", "reviews.csv", "--max-steps", $"{steps}", "--max-length", "32",
            "--batch-size", "4", "--eval-steps", "10", "--save-every", $"{saveEvery}", "--threads", "1"],
        "reward" => ["reward", "--model", "classifier", "--dataset", "reviews.csv", "--max-steps", $"{steps}", "--batch-size", "8",
            "--random-crop-probability", "0.5", "--eval-steps", "10", "--save-every", $"{saveEvery}", "--threads", "1"],
        "grpo" or "rloo" => [verb, "--model", "policy", "--reward", "classifier", "--reward", "0.01:length", "--dataset", "reviews.csv", "--longer-than", "0",
            "--steps", $"{steps}", "--batch-size", "8", "--mini-batch-size", "4", "--num-generations", "4", "--num-iterations", "2", "--beta", "0.05",
            "--max-completion-length", "6", "--resample-rounds", "1", "--learning-rate", "1e-4", "--eval-queries", "6", "--save-every", $"{saveEvery}", "--threads", "1"],
        "dpo" or "kto" => [verb, "--model", "policy", "--pairs", "preferences.jsonl", "--max-steps", $"{steps}", "--batch-size", "4",
            "--learning-rate", "1e-4", "--eval-fraction", "0.1", "--eval-steps", "10", "--save-every", $"{saveEvery}", "--threads", "1"],
        _ => ["ppo", "--model", "policy", "--reward-model", "classifier", "--dataset", "reviews.csv", "--longer-than", "0",
            "--steps", $"{steps}", "--batch-size", "8", "--mini-batch-size", "4", "--eval-queries", "6", "--use-score-scaling",
            "--save-every", $"{saveEvery}", "--threads", "1"],
    };

    /// <summary>Weights, and every metric and sample but those that tell the time, are the same to the last bit.</summary>
    public static void AssertSame(string expected, string actual)
    {
        Assert.Equal(File.ReadAllBytes(Path.Combine(expected, "model", "model.safetensors")),
            File.ReadAllBytes(Path.Combine(actual, "model", "model.safetensors")));
        Assert.Equal(Timeless(expected, "metrics.jsonl"), Timeless(actual, "metrics.jsonl"));
        if (File.Exists(Path.Combine(expected, "samples.jsonl")))
            Assert.Equal(Timeless(expected, "samples.jsonl"), Timeless(actual, "samples.jsonl"));
    }

    public static void Signal(Process process, string name) => Process.Start("kill", ["-" + name, $"{process.Id}"]).WaitForExit();

    /// <summary>Waits until a run has logged this many steps.</summary>
    public static void WaitForSteps(Process process, string run, int steps)
    {
        string metrics = Path.Combine(run, "metrics.jsonl");
        var waiting = Stopwatch.StartNew();
        while (!process.HasExited && (!File.Exists(metrics) || File.ReadLines(metrics).Count() < steps))
        {
            Assert.True(waiting.Elapsed < RlhfCommand.Limit, $"{run} has not logged {steps} steps within {RlhfCommand.Limit}.");
            Thread.Sleep(2);
        }
    }

    /// <summary>Copies a run's folder.</summary>
    public static void Copy(string from, string to)
    {
        foreach (var path in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            string target = Path.Combine(to, Path.GetRelativePath(from, path));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(path, target);
        }
    }

    private static string[] Timeless(string run, string file) => [.. File.ReadLines(Path.Combine(run, file)).Select(line =>
    {
        var numbers = JsonNode.Parse(line)!.AsObject();
        foreach (var name in numbers.Select(n => n.Key).Where(n => n.StartsWith("time", StringComparison.Ordinal)
            || n == "train/tokens_per_second").ToArray())
            numbers.Remove(name);
        return numbers.ToJsonString();
    })];
}
