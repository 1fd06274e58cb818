using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using System.Text.Json.Serialization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tracking;
using Rlhf.Training.Loop;
using Rlhf.Training.Memory;
using Rlhf.Training.Optimization;
using Rlhf.Training.RewardModeling;
using TorchSharp;

namespace Rlhf.Cli.Verbs;

/// <summary>What becomes a reward model.</summary>
internal sealed record RewardFlags
{
    [Description("Classifier to start from, with its tokenizer: a folder (rlhf init makes one) or one of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Model { get; init; }

    [Description("Preference pairs instead of labeled texts: JSONL, CSV or parquet with prompt, chosen and rejected.")]
    [ValueName("PATH")]
    [DataInput]
    [MayChange]
    public string? Pairs { get; init; }

    [Description("Put a new head with these labels on the model, as a base model without a head needs: NEGATIVE,POSITIVE.")]
    [ValueName("NAMES")]
    public string? NewHead { get; init; }

    [Description("Pairs: shift the reward so that its mean over training answers is 0; default: yes, where the model has a bias for it.")]
    [MayChange]
    public bool? NormalizeReward { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Model is null) yield return $"Model {ModelFolders.Missing}";
        if (NormalizeReward is not null && Pairs is null)
            yield return "NormalizeReward applies to preference pairs; a classifier's logits are left as they are.";
    }
}

/// <summary><c>rlhf reward</c>: stage 2, a classifier learns what people like.</summary>
internal static class RewardVerb
{
    public static Command Create() => new VerbCommand(
        "reward", "trains a reward model on labeled texts or on preference pairs.",
        [
            "rlhf reward --model my-classifier --dataset imdb/ --eval-split test --output runs/my-reward",
            "rlhf reward --model distilbert-base-uncased --pairs preferences.jsonl --learning-rate 2e-5",
        ],
        new SettingsBinder()
            .Add("Model", new RewardFlags(), o => o.Validate())
            .Add("Data", new DatasetFlags(), o => o.Validate())
            .Add("Pairs", new PairColumnFlags())
            .Add("Evaluation", new HeldOutFlags { MaxEvalTexts = 2000 }, o => o.Validate())
            .Add("Training", new RewardConfig(), c => c.Validate())
            .AddTraining()
            .Check(s => (s.Get<DatasetFlags>().Dataset is null) == (s.Get<RewardFlags>().Pairs is null)
                ? ["Name the data with --dataset (labeled texts) or with --pairs (preferences), one of the two."] : [])
            .Check(s => s.Get<PairColumnFlags>().ProblemsWithout(s.Get<RewardFlags>().Pairs)),
        Run,
        defaultConfig: command => RunFolder.ConfigOf("reward", command));

    private static int Run(VerbContext context)
    {
        var (options, config) = (context.Settings.Get<RewardFlags>(), context.Settings.Get<RewardConfig>());
        HubFlags.CheckPush(context);
        string source = ModelFolders.Resolve(context, "--model", options.Model);
        return options.Pairs is { } pairs
            ? Train(context, source, LoadPairs(context, pairs, source), (t, rows) => TellingPairs(context, t, rows), (t, rows, report) =>
                t.Train(rows.Train, rows.HeldOut, report, context.Stop), (model, tokenizer, rows) =>
                PairReport.Finish(model, tokenizer, rows.Train, rows.HeldOut, options.NormalizeReward ?? model.CanShiftLogits))
            : Train(context, source, LoadReviews(context, source), (_, rows) => rows, (t, rows, report) =>
                t.Train(rows.Train, rows.HeldOut, report, context.Stop), (_, _, _) => null);
    }

    private sealed record Rows<T>(IReadOnlyList<T> Train, IReadOnlyList<T> HeldOut);

    private static int Train<T>(
        VerbContext context, string source, Rows<T> rows, Func<RewardTrainer, Rows<T>, Rows<T>> select,
        Func<RewardTrainer, Rows<T>, Action<TrainProgress>, TrainProgress> training,
        Func<SequenceClassifier, ITokenizer, Rows<T>, PairReport.Outcome?> finish)
    {
        var options = context.Settings.Get<RewardFlags>();
        var config = context.Settings.Get<RewardConfig>();
        var screen = context.Screen;
        var device = context.Settings.Get<ComputeFlags>().Start();
        var size = ModelShape.Of(source);
        void CheckMemory(int[]? longest) => context.Settings.Get<ComputeFlags>().CheckMemory(MemoryPlan.ForTraining(
            $"Training the reward model {source}", size, config.BatchSize, longest, device, predictsTokens: false), device);
        CheckMemory(null);
        var tokenizer = AutoTokenizer.FromPretrained(source);
        CheckMemory(LongestRows(rows.Train, tokenizer, config, size.MaxPositions));
        using var model = Open(source, options, config, device);
        if (options.NormalizeReward == true && !model.CanShiftLogits)
            throw new ConfigurationException(["--normalize-reward shifts the bias of the model's last norm, and this model has none; leave it out, and let PPO "
                + "scale and center scores with --use-score-scaling and --use-score-norm."]);
        using var trainer = new RewardTrainer(model, tokenizer, config);
        rows = select(trainer, rows);
        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context);
        if (folder.SayIfFinished(screen))
            return ExitCode.Success;
        long perStep = config.ExamplesPerStep;
        long steps = config.TotalSteps(rows.Train.Count);
        screen.Facts("Reward model",
        [
            ("model", $"{ModelFolders.PlaceOf(source)}, {model.Parameters.ElementCount:N0} parameters, all trained"),
            ("labels", string.Join(", ", model.Labels)),
            (options.Pairs is null ? "texts" : "pairs", $"{rows.Train.Count:N0} to train on, {rows.HeldOut.Count:N0} held out"),
            ("plan", $"{Numbers.Count(steps, "step")} of {perStep:N0}, texts of up to {config.LengthFor(model.MaxPositions):N0} tokens"),
            .. context.SettingsFacts(),
            ("device", LanguageModels.DeviceName(device)),
            ("output", folder.Path),
        ]);

        void SaveAs(string path, torch.ScalarType? storage)
        {
            model.SavePretrained(path, storage);
            tokenizer.SavePretrained(path);
        }
        var session = new CommandSession(context, folder, source, trainer, path => SaveAs(path, null),
            new Dictionary<string, string>
            {
                ["--model"] = Fingerprint.OfModel(source),
                [options.Pairs is null ? "--dataset" : "--pairs"] = Fingerprint.OfTexts(rows.Train.Select(r => r!.ToString()!)),
                [Fingerprint.HeldOut] = Fingerprint.OfTexts(rows.HeldOut.Select(r => r!.ToString()!)),
            });
        TrainEvaluation? evaluation = null;
        var last = session.Train("Training", steps, (display, sinks) => training(trainer, rows, state =>
        {
            evaluation = state.Evaluation ?? evaluation;
            TrainingReport.Log(context, sinks, state.Step, state.Warning);
            Report(display, sinks, state, evaluation);
            TrainingReport.Warn(context, state.Warning);
            session.AfterStep(state.BadStepsInARow == 0, -state.Evaluation?.Loss);
        }));
        PairReport.Outcome? pairs = null;
        try
        {
            if (!context.Stop.IsCancellationRequested)
                pairs = finish(model, tokenizer, rows);
        }
        finally
        {
            SaveAs(folder.Model, options.Storage.ToScalarType()); // what was trained is kept, whatever the measuring comes to
        }
        Finish(context, folder, source, config, last, pairs);
        session.Finish(last.Step >= steps && !context.Stop.IsCancellationRequested);
        return HubFlags.Push(context, folder.Model);
    }

    /// <summary>Tokens of the longest texts of a minibatch; the longest by characters stand for the longest by tokens.</summary>
    private static int[] LongestRows<T>(IReadOnlyList<T> rows, ITokenizer tokenizer, RewardConfig config, int positions)
    {
        int longest = config.LengthFor(positions);
        return [.. rows.Select(row => row switch
        {
            Review review => new[] { review.Text },
            PreferencePair pair => [pair.Prompt + pair.Chosen, pair.Prompt + pair.Rejected],
            _ => [],
        }).OrderByDescending(texts => texts.Sum(t => t.Length)).Take(config.BatchSize).SelectMany(texts => texts)
            .Select(text => tokenizer.EncodeTruncated(text, longest).Length).DefaultIfEmpty(1)];
    }

    private static string[] NamesOf(string labels) => labels.Split(',', StringSplitOptions.TrimEntries);

    private static Rows<Review> LoadReviews(VerbContext context, string source)
    {
        var labels = context.Settings.Get<RewardFlags>().NewHead is { } names ? NamesOf(names) : AutoModelForSequenceClassification.Labels(source);
        var (data, seed) = (context.Settings.Get<DatasetFlags>(), context.Settings.Get<RewardConfig>().Seed);
        var (train, heldOut) = context.Settings.Get<HeldOutFlags>().Split(
            (path, split, limit) => data.Load(context, seed, path, split, limit, labels));
        return new(train, heldOut);
    }

    private static Rows<PreferencePair> LoadPairs(VerbContext context, string pairs, string source)
    {
        long seed = context.Settings.Get<RewardConfig>().Seed;
        var (train, heldOut) = context.Settings.Get<HeldOutFlags>().SplitByPrompt(
            (path, split, limit) => context.Settings.Get<PairColumnFlags>().Load(
                context, path is null ? "--pairs" : "--eval-dataset", path ?? pairs, split, limit, seed, source));
        if (heldOut.Count == 0 && context.Settings.Get<HeldOutFlags>().EvalFraction > 0)
            context.Screen.Line("[yellow]No pair is held out: whole prompts are, and none has few enough pairs. "
                + "Raise --eval-fraction or name --eval-dataset.[/]");
        return new(train, heldOut);
    }

    /// <summary>Training pairs whose two texts differ in what the model reads of them; says how many do not.</summary>
    private static Rows<PreferencePair> TellingPairs(VerbContext context, RewardTrainer trainer, Rows<PreferencePair> rows)
    {
        const string same = "say nothing: both texts are the same in the tokens that are read of them";
        const string advice = "Raise MaxLength, or shorten what the answers have in common.";
        IReadOnlyList<PreferencePair> train = trainer.Distinguishable(rows.Train), heldOut = trainer.Distinguishable(rows.HeldOut);
        if (train.Count == 0 && rows.Train.Count > 0)
            throw new InvalidDataException(context.Settings.NameFlags($"--pairs: all {rows.Train.Count:N0} pairs {same}. {advice}"));
        if (train.Count < rows.Train.Count)
            TrainingReport.Warn(context, $"{rows.Train.Count - train.Count:N0} of {rows.Train.Count:N0} pairs {same}. They are left out of "
                + $"training. {advice}");
        if (heldOut.Count < rows.HeldOut.Count)
            TrainingReport.Warn(context, $"{rows.HeldOut.Count - heldOut.Count:N0} of {rows.HeldOut.Count:N0} held-out pairs {same}. They "
                + $"count as wrong. {advice}");
        return rows with { Train = train };
    }

    /// <summary>The classifier; pairs need one label, so another head is replaced.</summary>
    private static SequenceClassifier Open(string folder, RewardFlags options, RewardConfig config, torch.Device device)
    {
        if (options.NewHead is { } labels)
            return AutoModelForSequenceClassification.FromPretrained(folder, device,
                new NewHead(NamesOf(labels), config.Seed));
        if (options.Pairs is not null && AutoModelForSequenceClassification.Labels(folder).Count != 1)
            return AutoModelForSequenceClassification.FromPretrained(folder, device, NewHead.Scalar(config.Seed));
        return AutoModelForSequenceClassification.FromPretrained(folder, device);
    }

    private static void Report(ProgressDisplay display, IMetricSink sinks, TrainProgress state, TrainEvaluation? evaluation)
    {
        sinks.Write(new MetricRecord(state.Step, DateTimeOffset.UtcNow, state.Scalars()));
        List<(string, string)> shown =
        [
            ("loss", ProgressDisplay.Number(state.Loss, 3)), ("accuracy", Percent(state.Metrics["accuracy"])),
            ("tokens/s", ProgressDisplay.Number(state.TokensPerSecond, 0)),
        ];
        if (evaluation is not null)
            shown.Add(("held-out accuracy", Percent(evaluation.Metrics["accuracy"])));
        display.Report(state.Step, [.. shown]);
    }

    private sealed record Summary(
        long Steps, double Seconds, long Tokens, double Loss, double? EvalLoss, double? EvalAccuracy, int? EvalExamples,
        string ModelDir)
    {
        /// <summary>By how much the reward was shifted, and its standard deviation.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public object? Normalization { get; init; }

        /// <summary>Held-out pairs.</summary>
        [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        public object? HeldOutPairs { get; init; }
    }

    private static void Finish(
        VerbContext context, RunFolder folder, string source, RewardConfig config, TrainProgress last, PairReport.Outcome? pairs)
    {
        var (moments, measured) = (pairs?.Moments, pairs?.Evaluation);
        var summary = new Summary(last.Step, last.Elapsed.TotalSeconds, last.Tokens, last.Loss, last.Evaluation?.Loss,
            last.Evaluation?.Metrics["accuracy"], last.Evaluation?.Examples, folder.Model)
        {
            Normalization = moments is null ? null : new { Shift = -moments.Mean, moments.StandardDeviation },
            HeldOutPairs = measured is null ? null : PairReport.ToJson(measured),
        };
        List<KeyValuePair<string, string>> results =
        [
            new("steps", last.Step.ToString("N0", CultureInfo.InvariantCulture)),
            new("training loss of the last step", ProgressDisplay.Number(last.Loss, 4)),
        ];
        if (measured is not null)
            results.AddRange(PairReport.Facts(measured).Select(f => KeyValuePair.Create(f.Name, f.Value)));
        else if (last.Evaluation is { } evaluation)
            results.Add(new("accuracy on held-out data", $"{Percent(evaluation.Metrics["accuracy"])} of {evaluation.Examples:N0}"));
        if (moments is not null)
            results.Add(new("reward on training answers", $"mean 0, shifted by {ProgressDisplay.Number(-moments.Mean, 3)}; "
                + $"standard deviation {ProgressDisplay.Number(moments.StandardDeviation, 3)}"));
        var card = new ModelCard(ModelFolders.NameOf(source) + ", reward model",
            "A reward model trained with Rlhf (rlhf reward): its logits score how well a text is liked.")
        {
            PipelineTag = "text-classification",
            Tags = ["reward-model", "rlhf"],
            BaseModel = ModelFolders.BaseModelOf(source),
            Results = results,
            Tables = measured is null ? [] : [PairReport.Curve(measured)],
        };
        if (measured is not null)
            PairReport.WriteCurve(context.Screen, measured);
        TrainingReport.Write(context, folder, summary, card, config.LearningRate, config.BatchSize, config.Seed, last.Elapsed);
    }

    private static string Percent(double share) => ProgressDisplay.Number(100 * share, 1) + " %";
}
