using System.Text.Json;
using Rlhf.Cli;
using Rlhf.Reporting;
using Rlhf.Runs;

namespace Rlhf.Tests.Runs;

/// <summary>One list says what kinds of training there are; all that shows runs reads it.</summary>
public sealed class TrainingKindTests
{
    [Fact]
    public void EveryKindIsAVerbOfTheCommand()
    {
        var verbs = CommandLine.Create().Subcommands.OfType<VerbCommand>().ToDictionary(c => c.Name);
        foreach (var kind in TrainingKinds.Own) // other tests register theirs
            Assert.Contains("--resume", verbs[kind.Verb].Options.Select(o => o.Name));
        Assert.All(verbs.Values.Where(v => v.Options.Any(o => o.Name == "--resume")), v => Assert.NotNull(v.Kind));
    }

    [Fact]
    public void MetricsOfChartsAndHeadlinesAreExplained()
    {
        foreach (var kind in TrainingKinds.All)
        {
            var explained = kind.Metrics.SelectMany(g => g.Metrics).ToDictionary(m => m.Name);
            Assert.All(kind.Headlines, name => Assert.NotEqual("", explained[name].Explanation));
            Assert.All(kind.Charts.Where(c => c.Title is null), c => Assert.Contains(c.Lines[0].Metric, explained.Keys));
        }
    }

    [Fact]
    public void GroupsOfOneTitleAreShownAsOne()
    {
        var groups = MetricCatalog.Of(["env/reward_mean", "train/loss", "train/grad_norm", "ppo/grad_norm", "own/thing_of_mine", "time/step"]);
        Assert.Equal(["Is it getting better?", "The optimizer", MetricCatalog.OtherMetrics], groups.Select(g => g.Title));
        Assert.Equal(["env/reward_mean", "train/loss"], groups[0].Metrics.Select(m => m.Name));
        Assert.Equal("thing of mine", groups[2].Metrics.Single().Title);
    }

    [Fact]
    public void AKindOfAnotherAssemblyIsReportedUnderItsOwnTerms()
    {
        TrainingKinds.Register(new("toy", "toy training")
        {
            Charts = [new("margin", "nats", new MetricLine("toy/margin", 1)) { Title = "Margin" }],
            HeldOut = [new("toy_margin", "The margin on held-out pairs") { Metric = "toy/margin", HigherIsBetter = true }],
        });
        using var summary = JsonDocument.Parse("""{"toy_margin":2.5}""");
        var run = new RunData
        {
            Name = "r",
            Verb = "toy",
            LastStep = 4,
            Summary = summary.RootElement,
            Metrics = new Dictionary<string, MetricSeries> { ["toy/margin"] = new([1, 4], [0.5, 2.5]) },
        };
        Assert.Equal(new RunVerdict(Outcome.Improved, "The margin on held-out pairs rose from 0.5 at step 1 to 2.5 at step 4."), RunVerdict.Of(run));
        Assert.Equal("Margin", RunCharts.Curves(run).Single().Title);
        string page = RunReport.Of(run, []);
        Assert.Contains("toy training", page);
        Assert.Contains("rlhf toy --config RUN/config.yaml", page);
    }

    [Fact]
    public void ARunOfAnUnknownVerbIsShownAsWhatItLogs()
    {
        Assert.Equal("training run", TrainingKinds.Of("other", ["ppo/loss/policy", "env/reward_mean"]).Title);
        Assert.Contains(TrainingKinds.Of("", ["ppo/loss/policy", "env/reward_mean"]).Charts, c => c.Name == "policy-loss");
        Assert.DoesNotContain(TrainingKinds.Of("", ["train/loss"]).Charts, c => c.Name == "policy-loss");
    }

    [Theory]
    [InlineData("")]
    [InlineData("Ppo")]
    [InlineData("two words")]
    public void AVerbIsAWord(string verb) => Assert.Throws<ArgumentException>(() => TrainingKinds.Register(new(verb, "x")));
}
