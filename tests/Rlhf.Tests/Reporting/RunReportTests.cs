using System.Text.Json;
using System.Xml;
using System.Xml.Linq;
using Rlhf.Evaluation;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Tracking;

namespace Rlhf.Tests.Reporting;

public sealed class RunReportTests : IDisposable
{
    private static readonly XNamespace Xhtml = "http://www.w3.org/1999/xhtml", Svg = "http://www.w3.org/2000/svg";
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private string PathOf(string name) => Path.Combine(folder.Path, name);

    /// <summary>Texts that try to become something else than text.</summary>
    public static readonly string[] Hostile =
    [
        "</td></table><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\" onmouseover=\"alert(1)", "' autofocus onfocus='x", "&lt;b&gt; &#0; &nope;",
        "]]> <![CDATA[ x ]]> <!-- -- >", "\0\u0001\u0008\u000b\u001f\u007f\u0085\u009f", "\ud800 \udfff \ud83d", "\ufffe\uffff", "\u202e evil \u2066 \u202d",
        "\u05e9\u05dc\u05d5\u05dd (\u05e2\u05d5\u05dc\u05dd) 12%", "\U0001F600 \u0301\u0301\u0301", "javascript:alert(1)", "</title></style></script>", "line\r\n\tbreak", "",
        new string('\u0301', 2000), new string('x', 5000),
    ];

    private static SampleStatistics Statistics(params double[] values) => SampleStatistics.Of(values);

    private static EvaluationComparison Comparison(double[] before, double[] after, double[]? judgeBefore = null, double[]? judgeAfter = null,
        double distinctAfter = 0.9, string text = "x")
    {
        PolicyEvaluation Of(double[] rewards, double[]? judge, double distinct) =>
            new(Statistics(rewards), judge is null ? null : Statistics(judge), 3.5, 60, distinct, 0.01, 9);
        var rows = before.Select((b, i) => new EvaluationRow(text, text, b, text, after[i])).ToArray();
        return new(rows, Of(before, judgeBefore, 0.9), Of(after, judgeAfter, distinctAfter), Statistics([.. after.Zip(before, (a, b) => a - b)]))
        {
            JudgeGain = judgeBefore is null ? null : Statistics([.. judgeAfter!.Zip(judgeBefore, (a, b) => a - b)]),
        };
    }

    private static RunData Run(EvaluationComparison? comparison = null) => new()
    {
        Name = "run",
        Verb = "ppo",
        LastStep = 3,
        Metrics = new Dictionary<string, MetricSeries>
        {
            ["env/reward_mean"] = new([1, 2, 3], [0, 1, 2]),
            ["env/reward_std"] = new([1, 2, 3], [1, 1, 1]),
        },
        Evaluation = comparison is null ? null : new EvaluationFile(3, comparison),
    };

    /// <summary>The page as an XML parser without mercy reads it.</summary>
    private static XDocument Parse(string page)
    {
        using var reader = XmlReader.Create(new StringReader(page),
            new XmlReaderSettings { DtdProcessing = DtdProcessing.Ignore, CheckCharacters = true, XmlResolver = null });
        return XDocument.Load(reader);
    }

    [Fact]
    public void HostileTextStaysText()
    {
        string[] names = [.. Hostile];
        var run = Run(Comparison([.. names.Select(_ => 0.0)], [.. names.Select((_, i) => (double)i)])) with
        {
            Name = Hostile[0],
            Info = new("ppo", 9, [new(Hostile[0], DateTimeOffset.UnixEpoch, Hostile[3], Hostile[2])]) { State = RunState.Failed, Message = Hostile[1] },
            Warnings = [.. names.Select((n, i) => new RunWarning(i, n, 1))],
        };
        run = run with
        {
            Evaluation = run.Evaluation! with
            {
                Comparison = run.Evaluation.Comparison with { Rows = [.. names.Select((n, i) => new EvaluationRow(n, n, 0, n, i))] },
            },
        };
        foreach (var data in new[] { run, run with { Evaluation = null, FirstSamples = Samples(1), LastSamples = Samples(3) } })
        {
            var settings = names.Select(n => new RunSetting(n, n, n, "default")).ToArray();
            string page = RunReport.Of(data, settings);
            var document = Parse(page);
            var elements = document.Descendants().ToArray();
            Assert.Single(elements, e => e.Name.LocalName == "script");
            Assert.DoesNotContain(elements, e => e.Name.LocalName is "img" or "iframe" or "object" or "a" or "form");
            Assert.DoesNotContain(elements.SelectMany(e => e.Attributes()), a => a.Name.LocalName.StartsWith("on", StringComparison.OrdinalIgnoreCase));
            Assert.Contains(elements, e => e.Name == Xhtml + "bdi" && e.Value == Hostile[0]);
            Assert.DoesNotContain(page, c => char.IsControl(c) && c is not ('\n' or '\t'));
            Assert.Contains("␀␁", page);
        }
        RunSample[] Samples(long step) => [.. names.Select(n => new RunSample(step, n, n, double.NaN))];
    }

    [Fact]
    public void ThePageNeedsNothingElseAndLetsNothingElseRun()
    {
        var document = Parse(RunReport.Of(Run(Comparison([0, 0.1, 0.2], [1, 1.1, 1.3])), []));
        var links = document.Descendants().SelectMany(e => e.Attributes()).Where(a => a.Name.LocalName is "src" or "href" or "srcset" or "action" or "data");
        Assert.All(links, a => Assert.Equal("data:,", a.Value));
        string style = document.Descendants(Xhtml + "style").Single().Value;
        Assert.DoesNotContain("url(", style);
        Assert.DoesNotContain("@import", style);
        string policy = document.Descendants(Xhtml + "meta").Single(m => m.Attribute("http-equiv") is not null).Attribute("content")!.Value;
        string script = document.Descendants(Xhtml + "script").Single().Value;
        string hash = Convert.ToBase64String(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(script)));
        Assert.Contains($"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'", policy);
    }

    [Fact]
    public void EveryChartSaysWhatItShowsAndTablesHaveHeaders()
    {
        var document = Parse(RunReport.Of(Run(Comparison([0, 0.1, 0.2], [1, 1.1, 1.3])), [new("PPO", "seed", "7", "0")]));
        var charts = document.Descendants(Svg + "svg").ToArray();
        Assert.Equal(3, charts.Length); // rewards, intervals, the reward's curve
        foreach (var chart in charts)
        {
            string[] ids = chart.Attribute("aria-labelledby")!.Value.Split(' ');
            Assert.Equal(ids, (string[])[chart.Element(Svg + "title")!.Attribute("id")!.Value, chart.Element(Svg + "desc")!.Attribute("id")!.Value]);
            Assert.NotEqual("", chart.Element(Svg + "title")!.Value);
            Assert.NotEqual("", chart.Element(Svg + "desc")!.Value);
        }
        Assert.Contains("from 0 to 2", charts[2].Element(Svg + "desc")!.Value);
        var identifiers = document.Descendants().Select(e => e.Attribute("id")?.Value).OfType<string>().ToArray();
        Assert.Equal(identifiers.Distinct(), identifiers);
        Assert.All(document.Descendants(Xhtml + "table"), t => Assert.All(t.Element(Xhtml + "thead")!.Descendants(Xhtml + "th"),
            h => Assert.Equal("col", h.Attribute("scope")?.Value)));
        Assert.Contains(document.Descendants(Xhtml + "tr"), r => r.Value.Contains("seed", StringComparison.Ordinal) && r.Value.Contains('7'));
    }

    [Fact]
    public void TheVerdictFollowsTheIntervalsTheJudgeAndDiversity()
    {
        double[] zero = [-0.1, 0, 0.1, 0.05, -0.05, 0], one = [0.9, 1, 1.1, 1.05, 0.95, 1], noisy = [-3, 3, -2, 2, -1, 1.2];
        (Outcome, string) Of(EvaluationComparison c) => (RunVerdict.Of(Run(c)).Outcome, RunVerdict.Of(Run(c)).Sentence);
        var (outcome, sentence) = Of(Comparison(zero, one, zero, one));
        Assert.Equal(Outcome.Improved, outcome);
        Assert.StartsWith("Reward rose from 0.00 to +1.00 on 6 held-out queries (difference +1.00, 95 % interval +1.00 to +1.00); "
            + "a judge that training never saw agrees", sentence);
        Assert.EndsWith("; the policy is 3.5 nats of KL per response from where it began, and its responses are about as varied as before "
            + "(distinct-2 0.90 to 0.90).", sentence);
        Assert.Equal(Outcome.Improved, Of(Comparison(zero, one)).Item1);
        Assert.Equal(Outcome.Doubtful, Of(Comparison(zero, one, zero, zero)).Item1);
        (outcome, sentence) = Of(Comparison(zero, one, one, zero));
        Assert.Equal(Outcome.Doubtful, outcome);
        Assert.Contains("disagrees", sentence);
        (outcome, sentence) = Of(Comparison(zero, one, zero, one, distinctAfter: 0.3));
        Assert.Equal(Outcome.Doubtful, outcome);
        Assert.Contains("less varied (distinct-2 0.90 to 0.30)", sentence);
        Assert.Equal(Outcome.Unclear, Of(Comparison(zero, noisy)).Item1);
        Assert.Equal(Outcome.Worse, Of(Comparison(one, zero)).Item1);
    }

    [Fact]
    public void WithoutAMeasurementTheVerdictSaysSo()
    {
        var run = Run() with { Info = new("ppo", 10, []) { State = RunState.Stopped } };
        Assert.Equal("The run was stopped after 3 of 10 steps: mean reward of its batches went from 0.00 to 2.00; nothing was measured on held-out data.",
            RunVerdict.Of(run).Sentence);
        Assert.Equal("The run failed after 3 steps: too bad", RunVerdict.Of(run with { Info = run.Info! with { State = RunState.Failed, Message = "too bad" } }).Sentence);
        Assert.Equal(Outcome.Unmeasured, RunVerdict.Of(new RunData { Name = "empty" }).Outcome);
        Parse(RunReport.Of(new RunData { Name = "empty" }, []));
    }

    [Fact]
    public void OneOfAThingIsCalledOne()
    {
        var run = Run() with { LastStep = 1, Info = new("ppo", 1, [new("rlhf ppo", DateTimeOffset.UnixEpoch, "1", "cpu, 1 thread")]) { State = RunState.Stopped } };
        Assert.StartsWith("The run was stopped after 1 step: ", RunVerdict.Of(run).Sentence);
        Assert.Contains(" · PPO · 1 step</p>", RunReport.Of(run, []));
        Assert.Contains("on 1 held-out query (", RunVerdict.Of(Run(Comparison([0], [1]))).Sentence);
        string page = RunReport.Of(Run(Comparison([0], [1])), [new("", "seed", "0", "0")]);
        Assert.DoesNotContain("1 queries", page);
        Assert.Contains("All 1 setting<", page);
    }

    // Newcombe (1998), table I: 15 of 148 by the score method without continuity correction: 0.0624 to 0.1605.
    [Fact]
    public void WarningsAreCountedByTheirKind()
    {
        using (var sink = new JsonlSink(folder.Path))
            for (int step = 1; step <= 4; step++)
                sink.Write(new SampleTable("warnings", step, ["kind", "message"],
                    [[step == 3 ? "few_tokens" : "kl_limit", step == 1 ? "One wording." : "Another wording."]]));
        Assert.Equal([(1, "One wording.", 3), (3, "Another wording.", 1)],
            RunData.Load(folder.Path).Warnings.Select(w => ((int)w.Step, w.Message, w.Count)));
    }

    [Fact]
    public void AnAccuracyHasWilsonsInterval()
    {
        using var summary = JsonDocument.Parse($"{{\"eval_accuracy\":{15 / 148.0:R},\"eval_examples\":148}}");
        var run = new RunData { Name = "r", Verb = "reward", Summary = summary.RootElement };
        Assert.Contains("(95 % interval 6.2 % to 16.0 %)", RunVerdict.Of(run).Sentence);
    }

    [Fact]
    public void AnEarlierRunIsReadFromItsFiles()
    {
        File.WriteAllText(PathOf("config.yaml"), "# rlhf ppo --config config.yaml repeats this run.\nseed: 1\n");
        using (var sink = new JsonlSink(folder.Path))
            for (int step = 1; step <= 3; step++)
            {
                sink.Write(new SampleTable("game_log", step, ["query", "response", "reward"], [["q", $"r{step}", (double)step]]));
                sink.Write(new SampleTable("warnings", step, ["message"], [[$"The ratio was {step}."]]));
                sink.Write(new MetricRecord(step, DateTimeOffset.UnixEpoch, new Dictionary<string, double>
                {
                    ["env/reward_mean"] = step == 2 ? double.NaN : step,
                    ["objective/kl"] = step,
                }));
            }
        File.AppendAllText(PathOf("metrics.jsonl"), "[1]\nnull\n{\"step\":\"x\"}\n{\"step\":4,\"objective/kl\":\"Infinity\",\"x\":[],\"ti");
        File.WriteAllText(PathOf("summary.json"), """{"queries":200,"reward_before":{"mean":0.0,"ci95":[-0.1,0.1]},"reward_after":{"mean":1.0,"ci95":[0.9,1.1]}}""");
        File.WriteAllText(PathOf("evaluation.json"), "{\"step\":3,\"comparison\":{\"rows\":[null]}}");
        var run = RunData.Load(folder.Path);
        Assert.Equal(("ppo", 3), (run.Verb, run.LastStep));
        Assert.Equal([1, double.NaN, 3], run.Metric("env/reward_mean").Values);
        Assert.Equal((1, 3), ((int)run.FirstSamples[0].Reward, (int)run.LastSamples[^1].Reward));
        Assert.Equal((1, 3), ((int)Assert.Single(run.Warnings).Step, run.Warnings[0].Count));
        Assert.Equal(Outcome.Improved, RunVerdict.Of(run).Outcome);
        Parse(RunReport.Of(run, []));
    }

    [Fact]
    public void FilesCutOffAnywhereStillMakeAPage()
    {
        var names = new[] { "metrics.jsonl", "samples.jsonl", "summary.json", "run.json", "evaluation.json" };
        using (var sink = new JsonlSink(folder.Path))
        {
            sink.Write(new SampleTable("game_log", 1, ["query", "response", "reward"], [["q", "r", 1.0]]));
            sink.Write(new MetricRecord(1, DateTimeOffset.UnixEpoch, new Dictionary<string, double> { ["objective/kl"] = 1 }));
        }
        File.WriteAllText(PathOf("summary.json"), """{"queries":2,"reward_after":{"mean":1.0,"ci95":[0.9,1.1]},"kl":[1]}""");
        new RunInfo("ppo", 9, [new("rlhf ppo", DateTimeOffset.UnixEpoch, "1", "cpu")]).Save(folder.Path);
        new EvaluationFile(1, Comparison([0, 1], [1, double.Epsilon])).Save(folder.Path);
        var whole = names.ToDictionary(n => n, n => File.ReadAllBytes(PathOf(n)));
        Assert.NotNull(EvaluationFile.Load(folder.Path));
        foreach (var name in names)
        {
            for (int length = 0; length <= whole[name].Length; length += Math.Max(1, whole[name].Length / 60))
            {
                File.WriteAllBytes(PathOf(name), whole[name][..length]);
                Parse(RunReport.Of(RunData.Load(folder.Path), []));
            }
            File.WriteAllBytes(PathOf(name), whole[name]);
        }
    }

    [Fact]
    public void WhatWasEvaluatedIsReadBackAsItWas()
    {
        var comparison = Comparison([0, 1, 2], [2, 3, 5], [0, 1, 2], [1, 1, 1], text: Hostile[4]);
        new EvaluationFile(12, comparison with { After = comparison.After with { Perplexity = double.PositiveInfinity } }).Save(folder.Path);
        var read = EvaluationFile.Load(folder.Path)!;
        Assert.Equal(12, read.Step);
        Assert.Equal(comparison.Rows, read.Comparison.Rows);
        Assert.Equal(comparison.Before, read.Comparison.Before);
        Assert.Equal((comparison.RewardGain, comparison.JudgeGain), (read.Comparison.RewardGain, read.Comparison.JudgeGain));
        Assert.Equal(double.PositiveInfinity, read.Comparison.After.Perplexity);
    }
}
