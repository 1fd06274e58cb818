using System.Text.Json;
using Rlhf.Cli.Rewards;
using Rlhf.Cli.Settings;

namespace Rlhf.Tests.Cli;

/// <summary>rlhf grpo, rlhf rloo and their rewards, as a user runs them.</summary>
public sealed class GroupCommandTests(ToyModels toys) : IClassFixture<ToyModels>
{
    private static readonly string[] Small =
    [
        "--model", "policy", "--steps", "2", "--batch-size", "8", "--num-generations", "4", "--max-completion-length", "6", "--eval-queries", "4",
        "--threads", "1",
    ];

    [Theory]
    [InlineData("length", "Length", "", 1)]
    [InlineData("0.5:length:200", "Length", "200", 0.5)]
    [InlineData("-1e-2:length", "Length", "", -0.01)]
    [InlineData("regex:^a=1:2$", "Regex", "^a=1:2$", 1)]
    [InlineData("2:regex:1:x", "Regex", "1:x", 2)]
    [InlineData("json-schema:a.json", "JsonSchema", "a.json", 1)]
    [InlineData("exact-match:answer", "ExactMatch", "answer", 1)]
    [InlineData("3:number-match:the answer", "NumberMatch", "the answer", 3)]
    [InlineData("http://localhost:8000/score?x=1", "Http", "http://localhost:8000/score?x=1", 1)]
    [InlineData("exec:python3 grade.py", "Exec", "python3 grade.py", 1)]
    [InlineData("0.25:grade.csx", "Script", "grade.csx", 0.25)]
    [InlineData("runs/my-reward", "Model", "runs/my-reward", 1)]
    public void ARewardIsReadAndWrittenAsItStands(string text, string kind, string argument, double weight)
    {
        var spec = RewardSpec.Parse(text);
        Assert.Equal((kind, argument, weight), (spec.Kind.ToString(), spec.Argument, spec.Weight));
        Assert.Equal(spec, RewardSpec.Parse(spec.ToString()));
    }

    [Fact]
    public void SeveralRewardsAreAddedWithTheirWeights()
    {
        Prompts("prompts.jsonl");
        File.WriteAllText(toys.PathOf("grade.csx"), "// the answer's own column\nResponse.Contains((string)Fields[\"answer\"]!)");
        File.WriteAllText(toys.PathOf("any.json"), "{\"type\":[\"string\",\"number\"]}");
        var result = toys.Succeed(["grpo", .. Small, "--prompts", "prompts.jsonl", "--reward", "2:grade.csx", "--reward", "0.1:length", "--reward",
            "-1:regex:[aeiou]", "--reward", "exact-match:answer", "--reward", "json-schema:any.json", "--reward", "number-match:number", "--output", "several"]);
        Assert.Contains("2:grade.csx + 0.1:length + -1:regex:[aeiou]", result.Output);
        using var first = JsonDocument.Parse(File.ReadLines(toys.PathOf("several", "metrics.jsonl")).First());
        double Mean(string name) => first.RootElement.GetProperty($"rewards/{name}/mean").GetDouble();
        Assert.Equal(first.RootElement.GetProperty("reward").GetDouble(), 2 * Mean("script") + 0.1 * Mean("length") - Mean("regex") + Mean("exact_match")
            + Mean("json_schema") + Mean("number_match"), 4);

        // What was run is repeated by its settings file, in which the rewards are a list.
        string config = File.ReadAllText(toys.PathOf("several", "config.yaml"));
        Assert.Contains("reward: [\"2:grade.csx\", \"0.1:length\", \"-1:regex:[aeiou]\"", config);
        toys.Succeed("grpo", "--config", toys.PathOf("several", "config.yaml"), "--output", "repeated");
        ResumableRuns.AssertSame(toys.PathOf("several"), toys.PathOf("repeated"));
    }

    [Fact]
    public void AProgramScoresAnswersOfRloo()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The program is a shell's.");
        Prompts("prompts.jsonl");
        toys.Succeed(["rloo", .. Small, "--prompts", "prompts.jsonl", "--reward", "exec:sh -c 'while read -r line; do echo ${#line}; done'", "--output", "program"]);
        string failed = Fail(1, ["rloo", .. Small, "--prompts", "prompts.jsonl", "--reward", "exec:sh -c 'echo no such module >&2; exit 1'", "--output", "broken"]);
        Assert.Contains("ended with exit code 1 after 0 of 8 numbers. Its last words on standard error: no such module", failed);
    }

    [Theory]
    [InlineData("regex:(", "is not a regular expression")]
    [InlineData("exact-match", "needs what it checks by: exact-match:…")]
    [InlineData("exact-match:solution", "compares with the column \"solution\", which prompts.jsonl lacks")]
    [InlineData("json-schema:none.json", "there is no file none.json")]
    [InlineData("length:none", "needs a number of characters")]
    [InlineData("exec:", "needs a program")]
    [InlineData("wrong.csx", "line 2: The name 'Respons' does not exist in the current context")]
    public void ARewardThatCannotBeIsRefusedBeforeAnythingIsTrained(string reward, string problem)
    {
        Prompts("prompts.jsonl");
        File.WriteAllText(toys.PathOf("wrong.csx"), "// a slip\nRespons.Length\n");
        string error = Fail(2, ["grpo", .. Small, "--prompts", "prompts.jsonl", "--reward", reward, "--output", "refused"]);
        Assert.Contains(problem, error);
        Assert.False(File.Exists(toys.PathOf("refused", "metrics.jsonl")));
    }

    [Fact]
    public void SettingsThatWouldNotBeUsedAreRefused()
    {
        Prompts("prompts.jsonl");
        string Refused(params string[] flags) => Fail(2, ["grpo", .. Small, "--prompts", "prompts.jsonl", .. flags]);
        Assert.Contains("--ref-model has no use with --beta 0", Refused("--ref-model", "policy"));
        Assert.Contains("--kl-limit has no use with --beta 0", Refused("--kl-limit", "5"));
        Assert.Contains("not a multiple of --num-generations 4", Fail(2, "grpo", "--batch-size", "7", "--num-generations", "4"));
        Assert.Contains("--query-max is about texts to cut", Refused("--query-max", "9"));
    }

    [Fact]
    public void PpoTakesTheSameRewards()
    {
        Prompts("prompts.jsonl");
        string[] ppo = ["ppo", "--model", "policy", "--prompts", "prompts.jsonl", "--steps", "2", "--batch-size", "8", "--mini-batch-size", "4", "--eval-queries",
            "4", "--threads", "1"];
        toys.Succeed([.. ppo, "--reward", "0.1:length", "--reward", "exact-match:answer", "--output", "ppo-rules"]);
        Assert.Contains("--reward or from --reward-model", Fail(2, [.. ppo, "--reward", "length", "--reward-model", "classifier"]));
    }

    [Fact]
    public void AListInASettingsFileBelongsToSettingsThatTakeSeveral()
    {
        File.WriteAllText(toys.PathOf("list.yaml"), "batch_size: [8, 16]\n");
        Assert.Contains("'batch_size' needs a single value", Fail(2, "grpo", "--config", "list.yaml"));
        Assert.Equal(["a", "b: c"], RepeatedAttribute.Split(YamlSettingsFile.Parse("reward:\n  - a\n  - 'b: c'\n", "x").Single().Value));
    }

    [Fact]
    public void TheBestOfSeveralAnswersAreKeptForFineTuning()
    {
        Prompts("prompts.jsonl");
        string[] bestOf = ["best-of", "--model", "policy", "--prompts", "prompts.jsonl", "--reward", "length", "--answers", "4", "--max-new-tokens", "6", "--threads", "1"];
        var result = toys.Succeed([.. bestOf, "--save", "best.jsonl", "--json"]).Json;
        Assert.Equal(24, result.GetProperty("kept").GetInt32());
        Assert.True(result.GetProperty("reward_best").GetDouble() > result.GetProperty("reward_single").GetDouble());
        JsonElement[] kept = [.. File.ReadLines(toys.PathOf("best.jsonl")).Select(line => JsonDocument.Parse(line).RootElement)];
        Assert.All(kept, row => Assert.Equal(row.GetProperty("completion").GetString()!.Length, row.GetProperty("reward").GetSingle()));
        Assert.All(kept, row => Assert.Contains(row.GetProperty("answer").GetString(), (string[])["good", "bad"])); // the other columns stay
        toys.Succeed("sft", "--model", "policy", "--dataset", "best.jsonl", "--format", "completions", "--max-steps", "2", "--eval-fraction", "0", "--threads",
            "1", "--output", "on-best");

        double least = kept.Select(row => row.GetProperty("reward").GetDouble()).Order().ElementAt(12);
        Assert.InRange(toys.Succeed([.. bestOf, "--save", "some.jsonl", "--min-reward", $"{least}", "--json"]).Json.GetProperty("kept").GetInt32(), 1, 23);
        Assert.Contains("--reward is missing", Fail(2, "best-of", "--model", "policy", "--prompts", "prompts.jsonl"));
        Assert.Contains("--prompts is missing", Fail(2, "best-of", "--model", "policy", "--reward", "length"));
    }

    private string Fail(int exitCode, params string[] arguments)
    {
        var result = toys.Run(arguments);
        Assert.True(exitCode == result.ExitCode, $"{result.ExitCode}: {result.Output}{result.Error}");
        return result.Error;
    }

    /// <summary>Prompts with two columns to check by.</summary>
    private void Prompts(string name) => File.WriteAllLines(toys.PathOf(name), Enumerable.Range(0, 24).Select(i =>
        JsonSerializer.Serialize(new { prompt = $"the film number {i} was", answer = i % 2 == 0 ? "good" : "bad", number = i })));
}
