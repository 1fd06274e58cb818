using Rlhf.Cli.Models;

namespace Rlhf.Tests.Cli;

/// <summary>The models that ship are known by name, wherever the command runs.</summary>
public sealed class ShippedModelTests : IDisposable
{
    private readonly string elsewhere = Directory.CreateTempSubdirectory("rlhf-shipped-").FullName;

    public void Dispose() => Directory.Delete(elsewhere, recursive: true);

    [Theory]
    [InlineData("imdb-gpt2-tiny")]
    [InlineData("models/imdb-gpt2-tiny")]
    public void A_shipped_model_is_found_by_name(string name)
    {
        var result = RlhfCommand.Succeed(elsewhere, "generate", "--model", name, "--threads", "1", "This movie is");
        Assert.Contains("This movie is", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_shipped_model_brings_its_settings_and_judge_however_it_is_named()
    {
        string models = Path.Combine(Fixtures.Repository(), "models");
        Directory.CreateSymbolicLink(Path.Combine(elsewhere, "link"), Path.Combine(models, "imdb-gpt2-tiny"));
        File.WriteAllText(Path.Combine(elsewhere, "named.yaml"), "model: models/imdb-gpt2-tiny\n");
        string unnamed = Run("unnamed");
        foreach (string setting in (string[])["learning_rate: 0.00012", "learning_rate_schedule: linear", "init_kl_coef: 0.07", "judge: \""])
            Assert.Contains("\n" + setting, unnamed, StringComparison.Ordinal);
        string[][] names =
        [
            ["--model", "imdb-gpt2-tiny"], ["--model", "models/imdb-gpt2-tiny"], ["--model", Path.Combine(models, "imdb-gpt2-tiny")],
            ["--model", "link"], ["--config", "named.yaml"], ["--reward-model", "imdb-distilbert-tiny"],
            ["--dataset", Path.Combine(models, "queries.jsonl")],
        ];
        foreach (var (flags, i) in names.Select((flags, i) => (flags, i)))
        {
            Assert.Equal(WithoutPaths(unnamed), WithoutPaths(Run("named-" + i, flags)));
            Assert.Equal(Weights("unnamed"), Weights("named-" + i));
        }

        string Run(string output, params string[] flags)
        {
            RlhfCommand.Succeed(elsewhere, ["ppo", .. flags, .. OneStep, "--output", output]);
            return File.ReadAllText(Path.Combine(elsewhere, output, "config.yaml"));
        }

        byte[] Weights(string output) => File.ReadAllBytes(Path.Combine(elsewhere, output, "model", "model.safetensors"));

        // Where the models and queries lie is said as it was named.
        static string WithoutPaths(string config) => string.Join('\n', config.Split('\n').Where(line =>
            !line.StartsWith("model:", StringComparison.Ordinal) && !line.StartsWith("reward_model:", StringComparison.Ordinal)
                && !line.StartsWith("judge:", StringComparison.Ordinal) && !line.StartsWith("dataset:", StringComparison.Ordinal)));
    }

    [Fact]
    public void The_plan_says_where_each_value_comes_from()
    {
        File.WriteAllText(Path.Combine(elsewhere, "run.yaml"), "init_kl_coef: 0.1\ngamma: 1\n");
        string shown = RlhfCommand.Succeed(elsewhere, ["ppo", .. OneStep, "--config", "run.yaml", "--output", "run"]).Output;
        string plan = string.Join(' ', shown[..shown.IndexOf("device", StringComparison.Ordinal)].Split((char[])[' ', '\n', '\r'],
            StringSplitOptions.RemoveEmptyEntries));
        Assert.EndsWith(" settings flags: --steps 1, --eval-queries 2, --batch-size 4, --mini-batch-size 4, --output run, --threads 1 "
            + "run.yaml: init_kl_coef 0.1 models/ppo.yaml: learning_rate 0.00012, learning_rate_schedule linear default: all others",
            plan, StringComparison.Ordinal);
        string help = RlhfCommand.Succeed(elsewhere, "ppo", "--help").Output;
        Assert.Contains("Queries per PPO step. (128; 64 with the model that ships)", help, StringComparison.Ordinal);
        Assert.Contains("for the model that ships, named or not, from models/ppo.yaml; else it is the default in brackets",
            string.Join(' ', help.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
    }

    [Fact]
    public void Another_model_or_a_preset_does_not_get_the_settings_of_the_one_that_ships()
    {
        Directory.CreateDirectory(Path.Combine(elsewhere, "imdb-gpt2-tiny"));
        File.Copy(Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny", "config.json"),
            Path.Combine(elsewhere, "imdb-gpt2-tiny", "config.json"));
        Assert.Null(ModelFolders.ShippedSettings(Path.Combine(elsewhere, "imdb-gpt2-tiny"))); // of the same name
        Assert.Null(ModelFolders.ShippedSettings("imdb-distilbert-tiny"));
        Assert.Null(ModelFolders.ShippedSettings("lvwerra/gpt2-imdb"));
        Assert.Equal("models/ppo.yaml", ModelFolders.ShippedSettings("imdb-gpt2-tiny")?.Name);
        // A preset is chosen by its name, whatever the model; of two problems at once both are reported, with the preset's batch of 128.
        Assert.Contains("128", RlhfCommand.Run(elsewhere, "ppo", "--preset", "imdb", "--model", "models/imdb-gpt2-tiny", "--mini-batch-size",
            "3", "--steps", "1").Error, StringComparison.Ordinal);
    }

    private static readonly string[] OneStep =
        ["--steps", "1", "--batch-size", "4", "--mini-batch-size", "4", "--eval-queries", "2", "--threads", "1"];

    [Theory]
    [InlineData("no-such-model")]
    [InlineData("..")]
    [InlineData("queries.jsonl")]
    public void Any_other_name_is_no_model(string name)
    {
        var result = RlhfCommand.Run(elsewhere, "generate", "--model", name, "This movie is");
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains($"--model {name}", result.Error, StringComparison.Ordinal);
    }
}
