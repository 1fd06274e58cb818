using Rlhf.Tracking;

namespace Rlhf.Tests.Cli;

/// <summary>rlhf report, of a folder that an earlier version left.</summary>
public sealed class ReportCommandTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public ReportCommandTests()
    {
        string run = Path.Combine(folder.Path, "run");
        using var sink = new JsonlSink(run);
        for (int step = 1; step <= 3; step++)
            sink.Write(new MetricRecord(step, DateTimeOffset.UnixEpoch, new Dictionary<string, double> { ["env/reward_mean"] = step }));
        File.WriteAllText(Path.Combine(run, "config.yaml"),
            "# rlhf ppo --config config.yaml repeats this run.\nmodel: \"<b>mine</b>\"\nseed: 7\n");
    }

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_page_has_the_settings_that_are_not_the_defaults()
    {
        var result = RlhfCommand.Succeed(folder.Path, "report", "run", "--json");
        Assert.Equal("unmeasured", result.Json.GetProperty("outcome").GetString());
        string page = File.ReadAllText(Path.Combine(folder.Path, "run", "report.html"));
        Assert.Contains("&lt;b&gt;mine&lt;/b&gt;", page);
        Assert.Contains(Row("seed", "7", "0"), page);
    }

    [Fact]
    public void The_page_names_models_and_data_that_were_not_named_because_they_ship()
    {
        File.WriteAllText(Path.Combine(folder.Path, "run", "config.yaml"), """
            # rlhf ppo --config config.yaml repeats this run.
            model: "models/imdb-gpt2-tiny"
            reward_model: "/home/somebody/runs/reward/model"
            judge: null
            dataset: null
            steps: 12
            """);
        RlhfCommand.Succeed(folder.Path, "report", "run");
        string page = File.ReadAllText(Path.Combine(folder.Path, "run", "report.html"));
        Assert.Contains(Row("model", "models/imdb-gpt2-tiny, which ships", ""), page);
        Assert.Contains(Row("reward_model", "/home/somebody/runs/reward/model", "models/imdb-distilbert-tiny, which ships"), page);
        Assert.Contains(Row("dataset", "models/queries.jsonl, which ships", ""), page);
        Assert.Contains(Row("steps", "12", "unset"), page);
        Assert.DoesNotContain(Row("judge", "none", "models/imdb-bert-tiny, which ships"), page);
        Assert.Contains("rlhf ppo --config RUN/config.yaml", page);
        Assert.Contains("from the folder where the run was started", page);
    }

    private static string Row(string name, string value, string otherwise) =>
        $"<code>{name}</code></th><td class=\"value\" data-label=\"value\">"
        + $"<bdi>{value}</bdi></td><td class=\"query value\" data-label=\"default\">{otherwise}</td>";

    [Fact]
    public void Charts_become_pictures_or_a_sentence()
    {
        var result = RlhfCommand.Run(folder.Path, "report", "run", "--png", "slides");
        if (result.ExitCode != 0) // no font or no native library here
            Assert.StartsWith("rlhf: Pictures cannot be drawn here: ", result.Error);
        else
            Assert.Equal([0x89, (byte)'P', (byte)'N', (byte)'G'],
                File.ReadAllBytes(Path.Combine(folder.Path, "slides", "reward.png"))[..4]);
        Assert.True(File.Exists(Path.Combine(folder.Path, "run", "report.html")));
    }

    [Fact]
    public void Another_folder_is_refused_in_a_sentence()
    {
        var result = RlhfCommand.Run(folder.Path, "report", ".");
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(". is no folder of a run", result.Error);
    }
}
