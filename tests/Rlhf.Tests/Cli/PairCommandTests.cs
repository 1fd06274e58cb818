using System.Text.Json;
using Rlhf.Cli;
using Rlhf.Data;
using Rlhf.Models;

namespace Rlhf.Tests.Cli;

/// <summary>Preference pairs by the built command: from prompts to a policy.</summary>
public sealed class PairCommandTests(ToyModels toys) : IClassFixture<ToyModels>
{
    private static readonly string[] Cheap = ["--threads", "1", "--json"];

    private static readonly string[] Data = ["--dataset", "reviews.csv", "--longer-than", "0", "--eval-queries", "6"];

    [Fact]
    public void Pairs_are_sampled_labelled_learnt_and_optimised()
    {
        var sampled = toys.Succeed(["pairs", "sample", "--model", "policy", .. Data, "--out", "new/pairs.jsonl", .. Cheap]);
        var pairs = PairFile.Load(toys.PathOf("new", "pairs.jsonl"));
        Assert.Equal(pairs.Count, sampled.Json.GetProperty("pairs").GetInt32());
        Assert.Equal(154, sampled.Json.GetProperty("prompts").GetInt32()); // of 160 texts 6 are ppo's
        Assert.InRange(pairs.Count, 100, 154);
        Assert.All(pairs, p => Assert.Equal("policy", p.Model));
        toys.Succeed(["pairs", "sample", "--model", "policy", .. Data, "--out", "again.jsonl", .. Cheap]);
        Assert.Equal(File.ReadAllText(toys.PathOf("new", "pairs.jsonl")), File.ReadAllText(toys.PathOf("again.jsonl")));

        var labeled = toys.Succeed(["pairs", "label", "--pairs", "new/pairs.jsonl", "--reward-model", "classifier", "--flip",
            "0.1", "--out", "labelled.jsonl", .. Cheap]);
        var preferences = PreferenceDataset.Load(toys.PathOf("labelled.jsonl"));
        Assert.Equal(preferences.Count, labeled.Json.GetProperty("pairs").GetInt32());
        Assert.Equal(pairs.Count, preferences.Count + labeled.Json.GetProperty("ties").GetInt32());
        Assert.InRange(labeled.Json.GetProperty("agreement").GetDouble(), 0.7, 0.99);

        // As usual the reward model begins as the language model, with another head.
        var reward = toys.Succeed(["reward", "--model", "policy", "--pairs", "labelled.jsonl", "--eval-fraction", "0.25",
            "--max-steps", "3", "--output", "reward", .. Cheap]);
        var heldOut = reward.Json.GetProperty("held_out_pairs");
        Assert.Equal(reward.Json.GetProperty("eval_accuracy").GetDouble(), heldOut.GetProperty("accuracy").GetDouble(), 9);
        Assert.Equal(reward.Json.GetProperty("eval_loss").GetDouble(), heldOut.GetProperty("loss").GetDouble(), 5);
        Assert.Equal(heldOut.GetProperty("pairs").GetInt32(),
            heldOut.GetProperty("calibration").EnumerateArray().Sum(b => b.GetProperty("pairs").GetInt32()));
        Assert.True(reward.Json.TryGetProperty("normalization", out _));
        Assert.Equal(reward.Json.GetRawText(),
            JsonDocument.Parse(File.ReadAllText(toys.PathOf("reward", "summary.json"))).RootElement.GetRawText());
        Assert.Contains("Calibration", File.ReadAllText(toys.PathOf("reward", "model", "README.md")));
        Assert.Single(AutoModelForSequenceClassification.Labels(toys.PathOf("reward", "model")));

        toys.Succeed(["ppo", "--model", "policy", "--reward-model", "reward", .. Data, "--batch-size", "8",
            "--mini-batch-size", "8", "--steps", "1", "--output", "ppo", .. Cheap]);

        var table = toys.Succeed(["evaluate", "--policies", "policy,ppo", "--scorers", "classifier, reward", .. Data, .. Cheap]);
        var policies = table.Json.GetProperty("policies").EnumerateArray().ToArray();
        Assert.Equal(["policy", "ppo", "best of 8"], policies.Select(p => p.GetProperty("policy").GetString()));
        Assert.Equal(8, policies[2].GetProperty("best_of").GetInt32());
        Assert.True(policies[2].GetProperty("scores")[0].GetProperty("mean").GetDouble() > policies[0].GetProperty("scores")[0].GetProperty("mean").GetDouble());
        Assert.Equal(["classifier", "reward"], policies[1].GetProperty("scores").EnumerateArray()
            .Select(s => s.GetProperty("scorer").GetString()));
        Assert.Equal(JsonValueKind.Null, policies[0].GetProperty("scores")[0].GetProperty("gain").ValueKind);
        Assert.InRange(policies[1].GetProperty("scores")[1].GetProperty("win_rate").GetDouble(), 0, 1);

        // The scorer agrees with the labels as often as the labeling said.
        var agreement = toys.Succeed(["evaluate", "--pairs", "labelled.jsonl", "--reward-model", "classifier", .. Cheap]);
        Assert.Equal(labeled.Json.GetProperty("agreement").GetDouble(), agreement.Json.GetProperty("accuracy").GetDouble(), 9);
    }

    [Fact]
    public void As_many_texts_as_are_asked_for_are_answered_beside_those_that_are_held_out()
    {
        string[] command = ["pairs", "sample", "--model", "policy", .. Data, .. Cheap];
        toys.Succeed([.. command, "--out", "every.jsonl"]);
        var few = toys.Succeed([.. command, "--max-texts", "5", "--out", "few.jsonl"]);
        Assert.Equal(5, few.Json.GetProperty("prompts").GetInt32()); // fewer than the 6 that are held out
        var all = PairFile.Load(toys.PathOf("every.jsonl")).Select(p => p.Prompt).ToHashSet();
        var prompts = PairFile.Load(toys.PathOf("few.jsonl")).Select(p => p.Prompt).ToArray();
        Assert.NotEmpty(prompts);
        Assert.All(prompts, p => Assert.Contains(p, all)); // so none of them is held out
        Refused("gives 160 prompts, no more than the 200 that are held out for ppo's evaluation", "pairs", "sample", "--model", "policy",
            "--dataset", "reviews.csv", "--longer-than", "0", "--max-texts", "40", "--out", "x.jsonl", "--threads", "1");
    }

    [Fact]
    public void Ready_prompts_are_answered_whole_and_the_best_is_set_against_the_worst()
    {
        File.WriteAllLines(toys.PathOf("prompts.txt"), ["The film", "That ending"]);
        toys.Succeed("pairs", "sample", "--model", "policy", "--prompts", "prompts.txt", "--samples", "4", "--select",
            "best-worst", "--reward-model", "classifier", "--out", "best.jsonl", "--threads", "1");
        Assert.Equal(["That ending", "The film"], PairFile.Load(toys.PathOf("best.jsonl")).Select(p => p.Prompt).Order());
    }

    [Fact]
    public void Every_command_of_the_guide_is_a_command()
    {
        var guide = File.ReadAllText(Path.Combine(Fixtures.Repository(), "docs", "preference-pairs.md"));
        var commands = guide.Split("```sh\n").Skip(1).SelectMany(block => block.Split("```")[0].Trim().Split('\n')).ToArray();
        Assert.Equal(6, commands.Length);
        Assert.All(commands, command =>
        {
            var result = CommandLine.Create().Parse(command["rlhf ".Length..]);
            Assert.Empty(result.Errors);
            Assert.IsType<VerbCommand>(result.CommandResult.Command).Settings.Bind(result);
        });
    }

    [Fact]
    public void Pairs_that_say_nothing_where_they_are_read_are_left_out_and_counted()
    {
        string prompt = string.Concat(Enumerable.Repeat("The music won my heart ", 25)), same = string.Concat(Enumerable.Repeat(" a", 80));
        object Pair(string chosen, string rejected) => new { prompt, chosen, rejected };
        File.WriteAllLines(toys.PathOf("long.jsonl"), Enumerable.Range(0, 12).Select(i => JsonSerializer.Serialize(
            i < 4 ? Pair(same + " warm", same + " dull") : Pair("a warm delight", "a dull mess"))));
        string[] command = ["reward", "--model", "classifier", "--pairs", "long.jsonl", "--eval-fraction", "0", "--batch-size", "4",
            "--threads", "1"];
        var result = toys.Succeed([.. command, "--output", "long"]);
        Assert.Contains("4 of 12 pairs say nothing: both texts are the same in the tokens that are read of them. They are left out of "
            + "training. Raise --max-length", result.Output);
        Assert.Contains("8 to train on, 0 held out", result.Output);
        Assert.Contains("2 steps of 4", result.Output);

        File.WriteAllLines(toys.PathOf("same.jsonl"), [JsonSerializer.Serialize(Pair(same + " warm", same + " dull"))]);
        var refused = toys.Run([.. command.Select(a => a == "long.jsonl" ? "same.jsonl" : a), "--output", "none"]);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("rlhf: --pairs: all 1 pairs say nothing", refused.Error);
        Assert.False(Directory.Exists(toys.PathOf("none")));
    }

    [Fact]
    public void What_makes_no_sense_is_refused_before_any_work()
    {
        File.WriteAllText(toys.PathOf("mine.jsonl"), "labels of a week");
        Refused("--out is missing", "pairs", "sample", "--model", "policy");
        Refused("--out mine.jsonl is already there", "pairs", "sample", "--model", "policy", "--out", "mine.jsonl");
        Refused("give one of the two", "pairs", "sample", "--dataset", "reviews.csv", "--prompts", "p.txt", "--out", "x.jsonl");
        Refused("--query-min is about texts to cut", "pairs", "sample", "--prompts", "p.txt", "--query-min", "3");
        Refused("need no reward", "pairs", "sample", "--reward-model", "classifier", "--out", "x.jsonl");
        Refused("--pairs is missing", "pairs", "label", "--out", "x.jsonl");
        Refused("--flip and --label-temperature", "pairs", "label", "--flip", "0.1", "--label-temperature", "1");
        Refused("--scorers belongs to --policies", "evaluate", "--model", "policy", "--scorers", "classifier");
        Refused("--reward-model belongs to", "evaluate", "--model", "policy", "--reward-model", "classifier");
        Refused("--normalize-reward applies to preference pairs", "reward", "--dataset", "reviews.csv", "--normalize-reward");
        Assert.Equal("labels of a week", File.ReadAllText(toys.PathOf("mine.jsonl")));
    }

    private void Refused(string problem, params string[] command)
    {
        var result = toys.Run(command);
        Assert.Contains(problem, result.Error);
        Assert.Equal(("", 2), (result.Output, result.ExitCode));
    }
}
