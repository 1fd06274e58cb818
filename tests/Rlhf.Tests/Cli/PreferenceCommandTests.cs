using System.Text.Json;
using Rlhf.Runs;

namespace Rlhf.Tests.Cli;

/// <summary>rlhf dpo and rlhf kto as a user meets them, on toy models.</summary>
public sealed class PreferenceCommandTests(ToyModels toys) : IClassFixture<ToyModels>
{
    private static readonly string[] Cheap = ["--model", "policy", "--batch-size", "4", "--max-steps", "3", "--eval-fraction", "0.2", "--threads", "1"];

    [Theory]
    [InlineData("sigmoid")]
    [InlineData("orpo")]
    [InlineData("simpo")]
    public void Pairs_become_a_policy(string loss)
    {
        string output = "dpo-" + loss;
        var result = toys.Succeed(["dpo", "--pairs", "preferences.jsonl", "--loss", loss, "--learning-rate", "1e-3", "--output", output, .. Cheap, "--json"]);
        Assert.Equal(3, result.Json.GetProperty("steps").GetInt32());
        var pairs = result.Json.GetProperty("held_out_pairs");
        Assert.Equal(12, pairs.GetProperty("pairs").GetInt32());
        Assert.InRange(pairs.GetProperty("accuracy").GetDouble(), 0, 1);
        var names = MetricNames(output);
        Assert.Superset(new HashSet<string> { "train/rewards/chosen", "train/rewards/margins", "train/logps/rejected", "eval/rewards/accuracies" }, names);
        Assert.Equal(loss == "orpo", names.Contains("train/log_odds_ratio"));
        // The report knows the kind, and the model can be used.
        Assert.Contains("The policy favors the answer that was chosen in", File.ReadAllText(toys.PathOf(output, "report.html")));
        toys.Succeed("generate", "--model", output, "--max-new-tokens", "4", "--threads", "1", "The film");
    }

    [Fact]
    public void References_computed_before_are_kept_beside_the_pairs_and_taken_again()
    {
        File.Copy(toys.PathOf("preferences.jsonl"), toys.PathOf("kept.jsonl"));
        string[] command = ["dpo", "--pairs", "kept.jsonl", "--learning-rate", "1e-3", .. Cheap, "--precompute-ref-log-probs"];
        Assert.Contains("The reference's logprobs were kept in kept.jsonl.reference-", toys.Succeed([.. command, "--output", "kept-1"]).Output);
        string[] files = Directory.GetFiles(toys.Folder, "kept.jsonl.reference-*.safetensors");
        Assert.Equal(2, files.Length); // of the training pairs and of the held-out ones
        Assert.DoesNotContain("were kept", toys.Succeed([.. command, "--beta", "0.3", "--output", "kept-2"]).Output);
        // Another reference or other pairs are computed anew.
        Assert.Contains("were kept", toys.Succeed([.. command, "--ref-model", "kept-1", "--output", "kept-3"]).Output);
        Assert.Equal(4, Directory.GetFiles(toys.Folder, "kept.jsonl.reference-*.safetensors").Length);
    }

    [Fact]
    public void Labeled_answers_become_a_policy()
    {
        File.WriteAllLines(toys.PathOf("feedback.jsonl"), Enumerable.Range(0, 40).Select(i =>
            $$"""{"prompt":"Film {{i}}","completion":"{{(i % 4 == 0 ? " made me smile" : " put me to sleep")}}","label":{{(i % 4 == 0 ? "true" : "false")}}}"""));
        var result = toys.Succeed(["kto", "--dataset", "feedback.jsonl", "--learning-rate", "1e-3", "--output", "kto", .. Cheap]);
        Assert.Matches(@"labels +\d+ liked, \d+ not", result.Output);
        Assert.Contains("Set --desirable-weight", result.Output);
        var names = MetricNames("kto");
        Assert.Contains("train/kl", names);
        Assert.Contains("The policy moves the right way on", File.ReadAllText(toys.PathOf("kto", "report.html")));
        var summary = JsonDocument.Parse(File.ReadAllText(toys.PathOf("kto", RunFiles.Summary))).RootElement;
        Assert.Equal(8, summary.GetProperty("eval_examples").GetInt32());
    }

    [Fact]
    public void What_makes_no_sense_is_refused_before_any_work()
    {
        Refused("--pairs is missing", "dpo", "--model", "policy");
        Refused("--ref-model names a reference, and the loss Orpo has none; leave it out.", "dpo", "--model", "policy", "--pairs", "preferences.jsonl", "--loss", "orpo", "--ref-model", "policy");
        Refused("one of the two", "kto", "--model", "policy");
        Refused("--completion-column and --label-column belong to --dataset", "kto", "--model", "policy", "--pairs", "preferences.jsonl", "--label-column", "x");
        Refused("--batch-size is 1", "kto", "--model", "policy", "--pairs", "preferences.jsonl", "--batch-size", "1");

        File.WriteAllText(toys.PathOf("same.jsonl"), """{"prompt":"a","chosen":" b","rejected":" b"}""");
        var result = toys.Run("dpo", "--model", "policy", "--pairs", "same.jsonl", "--eval-fraction", "0", "--threads", "1", "--output", "none");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("teach nothing", result.Error);
        Assert.Contains("--max-length", result.Error);
        Assert.False(Directory.Exists(toys.PathOf("none")));
    }

    private HashSet<string> MetricNames(string run) => [.. File.ReadLines(toys.PathOf(run, "metrics.jsonl"))
        .SelectMany(line => JsonDocument.Parse(line).RootElement.EnumerateObject().Select(p => p.Name))];

    private void Refused(string problem, params string[] command)
    {
        var result = toys.Run(command);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(problem, result.Error);
    }
}
