using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Weights;

namespace Rlhf.Tests.Cli;

/// <summary>Adapters by the built command on toy models: trained, resumed, used where a model is named, merged, refused.</summary>
public sealed class AdapterCommandTests(ToyModels toys) : IClassFixture<ToyModels>
{
    [Theory]
    [InlineData("sft")]
    [InlineData("reward")]
    [InlineData("ppo")]
    public void A_run_with_an_adapter_resumes_bit_for_bit_from_a_checkpoint_of_the_adapter_alone(string verb)
    {
        string whole = $"{verb}-lora", again = $"{verb}-lora-again";
        string source = toys.PathOf(verb == "reward" ? "classifier" : "policy", "model.safetensors");
        var before = SHA256.HashData(File.ReadAllBytes(source));
        var result = toys.Succeed([.. ResumableRuns.Command(verb, steps: 9), "--lora", "--lora-r", "2",
            .. verb == "ppo" ? Array.Empty<string>() : ["--lora-dropout", "0.1"], "--output", whole]);
        Assert.Contains("an adapter of rank 2", result.Output.ReplaceLineEndings(" "));
        Assert.Equal(before, SHA256.HashData(File.ReadAllBytes(source)));

        string checkpoint = toys.PathOf(whole, "checkpoints", "checkpoint-6");
        using (var adapter = WeightFiles.OpenFile(Path.Combine(checkpoint, "adapter_model.safetensors")))
            Assert.Contains(adapter.Names, n => n.EndsWith(".lora_A.weight", StringComparison.Ordinal));
        if (verb == "ppo")
            using (var head = WeightFiles.Open(checkpoint)) // TRL's value head lies beside the adapter
                Assert.Equal(["v_head.summary.bias", "v_head.summary.weight"], head.Names.Order());
        else
            Assert.False(File.Exists(Path.Combine(checkpoint, "model.safetensors")));

        ResumableRuns.Copy(toys.PathOf(whole), toys.PathOf(again));
        File.Delete(toys.PathOf(again, ".finished"));
        Directory.Delete(toys.PathOf(again, "checkpoints", "checkpoint-9"), recursive: true);
        Directory.Delete(toys.PathOf(again, "model"), recursive: true);
        Assert.Contains("Resuming after step 6", toys.Succeed(verb, "--resume", again).Output);
        foreach (string file in (string[])["adapter_model.safetensors", "adapter_config.json", "metrics.jsonl"])
            if (file == "metrics.jsonl")
                Assert.Equal(Losses(whole), Losses(again));
            else
                Assert.Equal(File.ReadAllBytes(toys.PathOf(whole, "model", file)), File.ReadAllBytes(toys.PathOf(again, "model", file)));

        // The report and the card say how many weights were trained.
        long trained = JsonNode.Parse(File.ReadAllText(toys.PathOf(whole, "run.json")))!["trained_weights"]!.GetValue<long>();
        using (var adapter = WeightFiles.OpenFile(toys.PathOf(whole, "model", "adapter_model.safetensors")))
            Assert.Equal(trained - (verb == "ppo" ? Elements(toys.PathOf(whole, "model")) : 0),
                adapter.Names.Sum(n => adapter.Shape(n).Aggregate(1L, (a, b) => a * b)));
        Assert.Contains("weights trained", File.ReadAllText(toys.PathOf(whole, "report.html")));
        Assert.Contains("library_name: peft", File.ReadAllText(toys.PathOf(whole, "model", "README.md")));
    }

    /// <summary>In every trainer of decoders, with and without an adapter; a run may also go on the other way.</summary>
    [Theory]
    [InlineData("sft")]
    [InlineData("dpo")]
    [InlineData("kto")]
    [InlineData("ppo")]
    [InlineData("grpo")]
    [InlineData("rloo")]
    public void Activations_that_are_computed_again_give_the_same_model_to_the_last_bit(string verb)
    {
        foreach (string[] adapter in (string[][])[[], ["--lora", "--lora-r", "2"]])
        {
            string kept = $"{verb}-kept-{adapter.Length}", again = $"{verb}-recomputed-{adapter.Length}", file = adapter.Length > 0 ? "adapter_model.safetensors" : "model.safetensors";
            string[] command = [.. ResumableRuns.Command(verb, steps: 4, saveEvery: 2), .. adapter];
            toys.Succeed([.. command, "--output", kept]);
            toys.Succeed([.. command, "--recompute-activations", "--output", again]);
            Assert.Contains("recompute_activations: true", File.ReadAllText(toys.PathOf(again, "config.yaml")));
            var expected = File.ReadAllBytes(toys.PathOf(kept, "model", file));
            Assert.Equal(expected, File.ReadAllBytes(toys.PathOf(again, "model", file)));

            if (verb is not ("sft" or "ppo"))
                continue;
            File.Delete(toys.PathOf(again, ".finished"));
            Directory.Delete(toys.PathOf(again, "checkpoints", "checkpoint-4"), recursive: true);
            Directory.Delete(toys.PathOf(again, "model"), recursive: true);
            Assert.Contains("Resuming after step 2", toys.Succeed(verb, "--resume", again, "--recompute-activations", "false").Output);
            Assert.Equal(expected, File.ReadAllBytes(toys.PathOf(again, "model", file)));
        }
    }

    /// <summary>An adapter on a base that is kept in fewer bytes: trained, resumed bit for bit, used on such a base and on a whole one.</summary>
    [Theory]
    [InlineData("sft", "int8")]
    [InlineData("sft", "bfloat16")]
    [InlineData("ppo", "int8")]
    [InlineData("grpo", "bfloat16")]
    public void A_base_in_fewer_bytes_carries_an_adapter(string verb, string type)
    {
        string whole = $"{verb}-{type}", again = whole + "-again";
        toys.Succeed([.. ResumableRuns.Command(verb, steps: 6), "--lora", "--lora-r", "2", "--base-dtype", type, "--output", whole]);
        Assert.Contains($"base_dtype: {type}", File.ReadAllText(toys.PathOf(whole, "config.yaml")));
        ResumableRuns.Copy(toys.PathOf(whole), toys.PathOf(again));
        File.Delete(toys.PathOf(again, ".finished"));
        Directory.Delete(toys.PathOf(again, "checkpoints", "checkpoint-6"), recursive: true);
        Directory.Delete(toys.PathOf(again, "model"), recursive: true);
        Assert.Contains("Resuming after step 3", toys.Succeed(verb, "--resume", again).Output);
        Assert.Equal(File.ReadAllBytes(toys.PathOf(whole, "model", "adapter_model.safetensors")), File.ReadAllBytes(toys.PathOf(again, "model", "adapter_model.safetensors")));
        if (verb != "sft")
            return;
        foreach (string storage in (string[])["float32", type])
        {
            toys.Succeed("generate", "--model", whole, "a b", "--base-dtype", storage, "--max-new-tokens", "4", "--threads", "1");
            Assert.Contains("perplexity", toys.Succeed("evaluate", "--model", whole, "--dataset", "reviews.csv", "--base-dtype", storage, "--threads", "1").Output);
        }
    }

    [Fact]
    public void Weights_that_are_trained_are_not_kept_in_fewer_bytes()
    {
        var refused = toys.Run([.. ResumableRuns.Command("sft", steps: 1), "--base-dtype", "int8", "--output", "whole-int8"]);
        Assert.Equal((2, "rlhf: --base-dtype is for the base of an adapter, and all weights are trained here, in float32; add --lora, or leave it out.\n"),
            (refused.ExitCode, refused.Error.ReplaceLineEndings("\n")));
    }

    [Fact]
    public void An_adapter_folder_is_a_model_wherever_one_is_named()
    {
        toys.Succeed("sft", "--model", "policy", "--dataset", "reviews.csv", "--max-steps", "3", "--batch-size", "4", "--max-length", "32", "--lora",
            "--lora-target-modules", "all-linear", "--learning-rate", "0.05", "--threads", "1", "--output", "styled");
        File.WriteAllLines(toys.PathOf("prompts.txt"), ["a b", "c"]);
        string[] generate = ["--prompts", "prompts.txt", "--max-new-tokens", "6", "--threads", "1", "--json"];
        string styled = Texts("styled"), plain = Texts("policy");
        Assert.NotEqual(plain, styled);
        // Also without the tokenizer's files, which the base has.
        ResumableRuns.Copy(toys.PathOf("styled", "model"), toys.PathOf("bare"));
        foreach (string file in Directory.GetFiles(toys.PathOf("bare")).Where(f => !Path.GetFileName(f).StartsWith("adapter_", StringComparison.Ordinal)))
            File.Delete(file);
        Assert.Equal(styled, Texts("bare"));
        toys.Succeed("merge", "--model", "styled", "--output", "merged");
        Assert.Equal(styled, Texts("merged"));
        Assert.False(File.Exists(toys.PathOf("merged", "adapter_config.json")));
        toys.Succeed("export", "--model", "styled", "--output", "exported");
        Assert.Equal(styled, Texts("exported"));
        toys.Succeed("evaluate", "--model", "styled", "--dataset", "reviews.csv", "--threads", "1");

        // Its base elsewhere: said, or refused.
        ResumableRuns.Copy(toys.PathOf("bare"), toys.PathOf("moved"));
        string config = toys.PathOf("moved", "adapter_config.json");
        var json = JsonNode.Parse(File.ReadAllText(config))!;
        json["base_model_name_or_path"] = "/nowhere/base";
        File.WriteAllText(config, json.ToJsonString());
        var refused = toys.Run(["generate", "--model", "moved", .. generate]);
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("adapter of /nowhere/base, which is neither a folder here nor a model of the Hub; name its base with --base-model.",
            refused.Error.ReplaceLineEndings(" "));
        Assert.Equal(styled, toys.Succeed(["generate", "--model", "moved", "--base-model", "policy", .. generate]).Output.Replace("moved", "M"));

        string Texts(string model) => toys.Succeed(["generate", "--model", model, .. generate]).Output.Replace(model, "M");
    }

    /// <summary>A language model becomes a reward model by its adapter: labels and head come from the adapter's folder.</summary>
    [Fact]
    public void A_reward_model_may_be_an_adapter_of_a_language_model()
    {
        toys.Succeed("reward", "--model", "policy", "--dataset", "reviews.csv", "--new-head", "bad,good", "--lora", "--max-steps", "2", "--batch-size", "4",
            "--threads", "1", "--output", "judge");
        Assert.Equal(["bad", "good"], AutoModelForSequenceClassification.Labels(toys.PathOf("judge", "model")));
        toys.Succeed("evaluate", "--classifier", "judge", "--dataset", "reviews.csv", "--threads", "1");
        toys.Succeed("ppo", "--model", "policy", "--reward-model", "judge", "--reward-label", "good", "--dataset", "reviews.csv", "--longer-than", "0",
            "--steps", "1", "--batch-size", "8", "--mini-batch-size", "4", "--eval-queries", "6", "--threads", "1", "--output", "by-judge");
        toys.Succeed("merge", "--model", "judge", "--output", "whole-judge");
        using var merged = AutoModelForSequenceClassification.FromPretrained(toys.PathOf("whole-judge"));
        using var adapted = AutoModelForSequenceClassification.FromPretrained(toys.PathOf("judge", "model"));
        Assert.All(merged.Parameters, p => Assert.True(p.Value.Equals(adapted.Parameters[p.Key]), p.Key));
    }

    [Theory]
    [InlineData("--lora-r is 0; an adapter needs a rank of at least 1.", "--lora", "--lora-r", "0")]
    [InlineData("--lora-target-modules q_proj is no linear layer of GPT2LMHeadModel; it has attn.c_attn", "--lora", "--lora-target-modules", "q_proj")]
    [InlineData("belong to --lora, which is not given", "--lora-r", "4")]
    [InlineData("--lora-rank-pattern: 'c_attn' is not of the form NAME=NUMBER.", "--lora", "--lora-rank-pattern", "c_attn")]
    [InlineData("is not a valid regular expression", "--lora", "--lora-target-modules", "(c_attn")]
    [InlineData("--base-model belongs to an adapter", "--base-model", "policy")]
    public void What_does_not_fit_is_refused_before_anything_is_written(string why, params string[] flags)
    {
        var result = toys.Run(["sft", "--model", "policy", "--dataset", "reviews.csv", "--threads", "1", "--output", "refused", .. flags]);
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains(why, result.Error.ReplaceLineEndings(" "));
        Assert.False(Directory.Exists(toys.PathOf("refused")));
    }

    private string[] Losses(string run) => [.. File.ReadLines(toys.PathOf(run, "metrics.jsonl")).Select(line => JsonNode.Parse(line)!.AsObject())
        .Select(row => string.Join(" ", row.Where(n => !n.Key.StartsWith("time", StringComparison.Ordinal) && n.Key != "train/tokens_per_second")))];

    private static long Elements(string folder)
    {
        using var weights = WeightFiles.Open(folder);
        return weights.Names.Sum(n => weights.Shape(n).Aggregate(1L, (a, b) => a * b));
    }
}
