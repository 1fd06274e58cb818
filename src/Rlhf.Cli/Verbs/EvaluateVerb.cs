using System.CommandLine;
using System.Globalization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf evaluate</c>: measures models.</summary>
internal static class EvaluateVerb
{
    public static Command Create() => new VerbCommand(
        "evaluate", "compares models before and after or side by side, or measures a single model.",
        [
            "rlhf evaluate --before runs/my-sft --after runs/my-ppo --reward-model runs/my-reward",
            "rlhf evaluate --policies runs/my-sft,runs/my-ppo,runs/my-other --scorers my-judge,runs/my-reward",
            "rlhf evaluate --pairs preferences.jsonl --reward-model runs/my-reward",
            "rlhf evaluate --classifier runs/my-reward --dataset imdb/ --split test --json",
            "rlhf evaluate --model runs/my-sft --dataset imdb/ --split test --max-texts 500",
        ],
        new SettingsBinder()
            .Add("What", new EvaluateFlags(), o => o.Validate())
            .Add("Data", new DatasetFlags(), o => o.Validate())
            .Add("Pairs", new PairColumnFlags())
            .Add("Queries of a comparison", new QueryFlags(), o => o.Validate(), hide: nameof(QueryFlags.EvalSplit))
            .Add("Sampling of a comparison", new GenerationConfig(), c => c.Validate(), nameof(GenerationConfig.MaxNewTokens))
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private))
            .AddMemoryToRead()
            .Add("Compute", new ComputeFlags(), o => o.Validate())
            .Check(s => s.Get<MemoryFlags>().BaseDtype != BaseStorage.Float32 && s.Get<EvaluateFlags>().Model is null
                ? ["--base-dtype is for --model; leave it out."] : [])
            .Check(Problems),
        Run);

    private static IEnumerable<string> Problems(BoundSettings settings)
    {
        var options = settings.Get<EvaluateFlags>();
        if (options.Model is null && settings.Get<HubFlags>().Revision is not null)
            yield return "--revision belongs to --model; other models take theirs as org/name@NAME.";
        foreach (var problem in settings.Get<PairColumnFlags>().ProblemsWithout(options.Pairs))
            yield return problem;
        if (options.Classifier is null && settings.Get<DatasetFlags>().LabelColumn is not null)
            yield return "--label-column belongs to --classifier; nothing else reads labels.";
        if ((options.Classifier ?? options.Model) is not null && settings.Get<DatasetFlags>().Dataset is null)
            yield return DatasetFlags.Missing;
    }

    private static int Run(VerbContext context)
    {
        var options = context.Settings.Get<EvaluateFlags>();
        if (options.Classifier is { } classifier)
            MeasureClassifier(context, ModelFolders.Resolve(context, "--classifier", classifier));
        else if (options.Policies is { } policies)
            SideBySideReport.Run(context, policies, options.Scorers);
        else if (options.Pairs is { } pairs)
            MeasurePairs(context, pairs);
        else if (options.Model is { } model)
            MeasureLanguageModel(context, ModelFolders.Resolve(context, "--model", model));
        else
            Compare(context, ModelFolders.Resolve(context, "--before", options.Before!),
                ModelFolders.Resolve(context, "--after", options.After!));
        return ExitCode.Success;
    }

    private static void Compare(VerbContext context, string beforeFolder, string afterFolder)
    {
        var options = context.Settings.Get<EvaluateFlags>();
        var lengths = context.Settings.Get<QueryFlags>();
        var screen = context.Screen;
        string rewardFolder = ModelFolders.ResolveOrShipped(
            context, "--reward-model", options.RewardModel, ModelFolders.ShippedReward);
        string? judgeFolder = ModelFolders.Judge(context, options.Judge, options.RewardModel);
        var dataset = QueryFlags.WithLessonFilter(context.Settings);
        string source = QueryFlags.Source(dataset);
        var device = context.Settings.Get<ComputeFlags>()
            .StartToRead("The comparison", beforeFolder, afterFolder, rewardFolder, judgeFolder);
        var tokenizer = AutoTokenizer.FromPretrained(beforeFolder);
        int[][] queries =
            [.. lengths.Load(context, dataset, tokenizer, options.Seed).Take(lengths.EvalQueries).Select(q => q.TokenIds)];
        using var before = AutoModelForCausalLM.FromPretrained(beforeFolder, device);
        using var after = AutoModelForCausalLM.FromPretrained(afterFolder, device);
        LanguageModels.EndToken(beforeFolder, before, tokenizer);
        using var reward = AutoReward.FromPretrained(rewardFolder, device, options.RewardLabel);
        using var judge = judgeFolder is null ? null : Scorers.Judge(judgeFolder, device, options.RewardLabel);
        screen.Facts("Comparison",
        [
            ("before", beforeFolder), ("after", afterFolder), ("reward", Scorers.Describe(rewardFolder, reward)),
            ("queries", $"{queries.Length:N0} of {source}"),
            ("device", LanguageModels.DeviceName(device)),
        ]);
        var evaluator = new PolicyEvaluator(tokenizer, queries, reward, judge)
        {
            Generation = context.Settings.Get<GenerationConfig>(),
            ResponseLengths = lengths.EvalResponseLengths(queries.Length, options.Seed),
            Seed = options.Seed,
        };
        var comparison = evaluator.Compare(before, after, context.Stop);
        var bestOf = new RolloutReport(context).BestOf(evaluator, before, lengths.EvalBestOf);
        ComparisonReport.Write(screen, comparison);
        if (bestOf is var (answers, best))
            screen.Line(ComparisonReport.BestOf(answers, best));
        if (screen.Json)
            screen.WriteJson(ComparisonReport.ToJson(comparison, bestOf));
    }

    private static void MeasurePairs(VerbContext context, string path)
    {
        var (options, screen) = (context.Settings.Get<EvaluateFlags>(), context.Screen);
        string folder = ModelFolders.ResolveOrShipped(context, "--reward-model", options.RewardModel, ModelFolders.ShippedReward);
        var pairs = context.Settings.Get<PairColumnFlags>().Load(context, "--pairs", path, null, null, options.Seed, folder);
        if (pairs.Count == 0)
            throw new InvalidDataException($"{path} holds no pair.");
        var device = context.Settings.Get<ComputeFlags>().StartToRead($"Measuring {folder}", folder);
        using var reward = AutoReward.FromPretrained(folder, device, options.RewardLabel);
        screen.Line($"Scoring {Numbers.Count(pairs.Count, "pair")} …");
        var result = PairEvaluation.Of(reward, pairs);
        if (screen.Json)
            screen.WriteJson(PairReport.ToJson(result));
        else
        {
            PairReport.WriteCurve(screen, result);
            screen.Facts(folder, PairReport.Facts(result));
        }
    }

    private static void MeasureClassifier(VerbContext context, string folder)
    {
        var (options, screen) = (context.Settings.Get<EvaluateFlags>(), context.Screen);
        var reviews = context.Settings.Get<DatasetFlags>().Load(
            context, options.Seed, labels: AutoModelForSequenceClassification.Labels(folder));
        var device = context.Settings.Get<ComputeFlags>().StartToRead($"Measuring {folder}", folder);
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        TokenizerOf.RequireFit(folder, tokenizer, ModelShape.Of(folder).VocabSize);
        using var model = AutoModelForSequenceClassification.FromPretrained(folder, device);
        var evaluator = new ClassifierEvaluator(model, tokenizer) { CropTokens = options.CropTokens, Seed = options.Seed };
        var result = ProgressDisplay.Run(screen, "Classifying", "text", reviews.Count,
            display => evaluator.Evaluate(reviews, done => display.Report(done), context.Stop));
        if (screen.Json)
            screen.WriteJson(new
            {
                result.Examples,
                result.Accuracy,
                result.Loss,
                result.Calibration.ExpectedCalibrationError,
                Labels = model.Labels.Select((name, i) => new
                {
                    Name = name,
                    Precision = result.Confusion.Precision(i),
                    Recall = result.Confusion.Recall(i),
                    F1 = result.Confusion.F1(i),
                }),
                Confusion = model.Labels.Select((_, actual) =>
                    model.Labels.Select((_, predicted) => result.Confusion[actual, predicted])),
                Reliability = result.Calibration.Bins,
            });
        else
            ShowClassifier(screen, folder, model.Labels, result);
    }

    private static void ShowClassifier(Screen screen, string folder, IReadOnlyList<string> labels, ClassifierEvaluation result)
    {
        screen.Line();
        screen.Facts(folder,
        [
            ("texts", $"{result.Examples:N0}"), ("accuracy", ProgressDisplay.Percent(result.Accuracy)),
            ("loss", ProgressDisplay.Number(result.Loss, 4)),
            ("calibration error", ProgressDisplay.Percent(result.Calibration.ExpectedCalibrationError)),
        ]);
        var confusion = new ResultTable("true label", "Confusion");
        foreach (var label in labels)
            confusion.Number("as " + label);
        confusion.Number("precision").Number("recall").Number("F1");
        for (int i = 0; i < labels.Count; i++)
            confusion.AddRow(
            [
                Screen.Safe(labels[i]),
                .. labels.Select((_, j) => result.Confusion[i, j].ToString("N0", CultureInfo.InvariantCulture)),
                ProgressDisplay.Percent(result.Confusion.Precision(i)), ProgressDisplay.Percent(result.Confusion.Recall(i)), ProgressDisplay.Percent(result.Confusion.F1(i)),
            ]);
        screen.Write(confusion);
        var reliability = new ResultTable("confidence", "Calibration").Number("texts").Number("mean confidence").Number("accuracy");
        foreach (var bin in result.Calibration.Bins.Where(b => b.Count > 0))
            reliability.AddRow($"{ProgressDisplay.Percent(bin.Low)} to {ProgressDisplay.Percent(bin.High)}", $"{bin.Count:N0}", ProgressDisplay.Percent(bin.Confidence),
                ProgressDisplay.Percent(bin.Accuracy));
        screen.Write(reliability);
    }

    private static void MeasureLanguageModel(VerbContext context, string folder)
    {
        var (options, screen) = (context.Settings.Get<EvaluateFlags>(), context.Screen);
        var texts = context.Settings.Get<DatasetFlags>().Load(context, options.Seed).Select(r => r.Text).ToArray();
        var device = context.Settings.Get<ComputeFlags>().StartToRead(context.Settings.Get<MemoryFlags>(), $"Measuring {folder}", folder);
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        using var model = AutoModelForCausalLM.FromPretrained(folder, context.Settings.Get<MemoryFlags>().On(device));
        LanguageModels.EndToken(folder, model, tokenizer);
        var score = ProgressDisplay.Run(screen, "Reading", "text", texts.Length,
            display => new LanguageModelEvaluator(model, tokenizer).Evaluate(texts, done => display.Report(done), context.Stop));
        if (screen.Json)
            screen.WriteJson(new
            {
                Texts = texts.Length,
                score.Tokens,
                score.Characters,
                score.Perplexity,
                score.NatsPerToken,
                score.BitsPerCharacter,
                score.BitsPerByte,
            });
        else
        {
            screen.Line();
            screen.Facts(folder,
            [
                ("texts", $"{texts.Length:N0}, {score.Tokens:N0} tokens"),
                ("perplexity per token", ProgressDisplay.Number(score.Perplexity)),
                ("bits per character", ProgressDisplay.Number(score.BitsPerCharacter, 3)),
                ("loss, nats per token", ProgressDisplay.Number(score.NatsPerToken, 4)),
            ]);
        }
    }
}
