using Rlhf.Studio.Runs;

namespace Rlhf.Studio.Tests;

/// <summary>A run's settings as the studio reads them.</summary>
public sealed class RunConfigTests
{
    [Fact]
    public void SettingsAreReadUnderTheirHeadings()
    {
        var config = RunConfig.Parse("""
            # rlhf grpo --config config.yaml repeats this run.

            # Models
            model: "models/it's \"mine\"\\\u0009#1"
            ref_model: null
            steps: 40

            # Reward
            reward: ["0.5:length:200", 'regex:^[0-9]+$', runs/judge]
            reward_timeout: 1.5e1

            """);
        Assert.Equal("grpo", config.Verb);
        Assert.Equal(
        [
            new("Models", "model", "models/it's \"mine\"\\\t#1"), new("Models", "ref_model", ""), new("Models", "steps", "40"),
            new("Reward", "reward", "0.5:length:200, regex:^[0-9]+$, runs/judge"), new("Reward", "reward_timeout", "1.5e1"),
        ], config.Entries);
        Assert.Equal((40L, null), (config.TotalSteps, config["ref_model"]));
    }

    [Theory]
    [InlineData("a: 1\nb: {c: 2}\nd: 3")]
    [InlineData("a: 1\nb: [[2]]\nd: 3")]
    [InlineData("a: 1\nb: *no\nd: 3")]
    [InlineData("a: 1\nb: \"not closed\nd: 3")]
    public void WhatFollowsAMistakeIsLeftOut(string text) => Assert.Equal([new("", "a", "1")], RunConfig.Parse(text).Entries);

    [Theory]
    [InlineData("")]
    [InlineData("# nothing")]
    [InlineData("just words")]
    [InlineData("- a\n- b")]
    [InlineData("\0\u0001")]
    public void AnythingElseHasNoSettings(string text) => Assert.Empty(RunConfig.Parse(text).Entries);
}
