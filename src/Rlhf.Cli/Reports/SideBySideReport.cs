using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Terminal;
using Rlhf.Evaluation;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Cli.Reports;

/// <summary>Several policies in one table: <c>rlhf evaluate --policies A,B,C --scorers X,Y</c>.</summary>
internal static class SideBySideReport
{
    private const int SamplesShown = 6, LettersShown = 100;

    public static void Run(VerbContext context, string policyList, string? scorerList)
    {
        var (options, screen) = (context.Settings.Get<EvaluateFlags>(), context.Screen);
        var lengths = context.Settings.Get<QueryFlags>();
        string[] policies = [.. Folders(policyList).Select(path => ModelFolders.Resolve(context, "--policies", path))];
        string[] judges = scorerList is null
            ? [ModelFolders.ResolveOrShipped(context, "--scorers", null, ModelFolders.ShippedReward)]
            : [.. Folders(scorerList).Select(path => ModelFolders.Resolve(context, "--scorers", path))];
        if (policies.Length == 0 || judges.Length == 0)
            throw new ConfigurationException(["--policies and --scorers need at least one folder each."]);
        var dataset = QueryFlags.WithLessonFilter(context.Settings);
        string source = QueryFlags.Source(dataset);
        // Policies are read one by one.
        var device = context.Settings.Get<ComputeFlags>().StartToRead("The comparison", [.. judges, policies[0]]);
        var tokenizer = AutoTokenizer.FromPretrained(policies[0]);
        int[][] queries =
            [.. lengths.Load(context, dataset, tokenizer, options.Seed).Take(lengths.EvalQueries).Select(q => q.TokenIds)];
        List<NamedScorer> scorers = [];
        try
        {
            foreach (var (name, folder) in Names(judges).Zip(judges))
                scorers.Add(new(name, AutoReward.FromPretrained(folder, device, Label(folder, options.RewardLabel))));
            screen.Facts("Side by side",
            [
                ("policies", string.Join(", ", policies)), ("scorers", string.Join(", ", judges)),
                ("queries", $"{queries.Length:N0} of {source}"), ("device", LanguageModels.DeviceName(device)),
            ]);
            var comparison = new PolicySideBySide(tokenizer, queries, scorers)
            {
                Generation = context.Settings.Get<Generation.GenerationConfig>(),
                ResponseLengths = lengths.EvalResponseLengths(queries.Length, options.Seed),
                BestOf = lengths.EvalBestOf,
                Seed = options.Seed,
            };
            CausalLM Open(string folder)
            {
                var model = AutoModelForCausalLM.FromPretrained(folder, device);
                LanguageModels.EndToken(folder, model, tokenizer);
                return model;
            }
            var results = ProgressDisplay.Run(screen, "Answering", "model", policies.Length, display => comparison.Compare(
                [.. Names(policies).Zip(policies, (name, folder) => (name, (Func<CausalLM>)(() => Open(folder))))],
                done => display.Report(done), context.Stop));
            screen.Write(Answers(results));
            screen.Write(Numbers(results));
            if (screen.Json)
                screen.WriteJson(ToJson(results));
        }
        finally
        {
            foreach (var scorer in scorers)
                scorer.Reward.Dispose();
        }
    }

    /// <summary>A reward model has no labels to choose from.</summary>
    private static string? Label(string folder, string? label) =>
        AutoModelForSequenceClassification.Labels(folder).Count == 1 ? null : label;

    private static string[] Folders(string list) =>
        list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Short names, or the folders themselves where short names are not different.</summary>
    private static string[] Names(string[] folders)
    {
        string[] names = [.. folders.Select(ModelFolders.NameOf)];
        return names.Distinct().Count() == names.Length ? names : folders;
    }

    private static ResultTable Answers(IReadOnlyList<PolicyResult> results)
    {
        var table = new ResultTable("query");
        foreach (var result in results)
            table.Words(result.Policy);
        for (int i = 0; i < Math.Min(SamplesShown, results[0].Samples.Count); i++)
            table.AddRow([Screen.Safe(results[0].Samples.Completions[i].Query),
                .. results.Select(r => Screen.Safe(Short(r.Samples.Completions[i].Response)))]);
        return table;
    }

    private static ResultTable Numbers(IReadOnlyList<PolicyResult> results)
    {
        var table = new ResultTable("");
        foreach (var result in results)
            table.Number(result.Policy);
        void Row(string name, Func<PolicyResult, string> value) => table.AddRow([Screen.Safe(name), .. results.Select(result => Screen.Safe(value(result)))]);
        for (int s = 0; s < results[0].Scores.Count; s++)
        {
            int scorer = s;
            string name = results[0].Scores[s].Scorer;
            Row($"{name}, mean (95 % interval)", r => WithInterval(r.Scores[scorer].Score));
            Row($"{name}, gain (95 % interval)", r => r.Scores[scorer].Gain is { } gain ? WithInterval(gain) : "–");
            Row($"{name}, better than {results[0].Policy}", r => r.Scores[scorer].WinRate is { } rate
                ? ProgressDisplay.Number(100 * rate, 1) + " %" : "–");
        }
        Row($"KL from {results[0].Policy}, nats per response", r => (r.BestOf is null ? "" : "at most ") + ProgressDisplay.Number(r.Kl));
        Row($"perplexity under {results[0].Policy}", r => ProgressDisplay.Number(r.Samples.RefPerplexity, 1));
        Row("distinct-2", r => ProgressDisplay.Number(r.Samples.Distinct2, 3));
        Row("repeated bigrams", r => ProgressDisplay.Number(r.Samples.Repetition2, 3));
        Row("response length, tokens", r => ProgressDisplay.Number(r.Samples.MeanLength, 1));
        return table;
    }

    private static object ToJson(IReadOnlyList<PolicyResult> results) => new
    {
        Queries = results[0].Samples.Count,
        Policies = results.Select(r => new
        {
            r.Policy,
            r.BestOf,
            Scores = r.Scores.Select(s => new
            {
                s.Scorer,
                s.Score.Mean,
                s.Score.Median,
                Ci95 = Interval(s.Score),
                Gain = s.Gain?.Mean,
                GainCi95 = s.Gain is null ? null : Interval(s.Gain),
                s.WinRate,
            }),
            r.Kl,
            Perplexity = r.Samples.RefPerplexity,
            r.Samples.Distinct2,
            r.Samples.Repetition2,
            r.Samples.MeanLength,
        }),
    };

    private static double[] Interval(SampleStatistics s) => [s.MeanCi95.Low, s.MeanCi95.High];

    private static string WithInterval(SampleStatistics s) =>
        $"{Signed(s.Mean)} ({Signed(s.MeanCi95.Low)} to {Signed(s.MeanCi95.High)})";

    private static string Signed(double value) => (value > 0 ? "+" : "") + ProgressDisplay.Number(value);

    private static string Short(string text)
    {
        string trimmed = text.Trim();
        return trimmed.Length <= LettersShown ? trimmed : trimmed[..LettersShown] + "…";
    }
}
