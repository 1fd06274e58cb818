using System.CommandLine;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Training.Loop;
using Rlhf.Training.Preferences;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf kto</c>: from single answers with thumbs up or down straight to a policy.</summary>
internal static class KtoVerb
{
    private static readonly string[] Unused = [nameof(DatasetFlags.TextColumn), nameof(DatasetFlags.LabelColumn), nameof(DatasetFlags.LongerThan),
        nameof(DatasetFlags.LineBreaks), nameof(DatasetFlags.Part)];

    public static Command Create() => new VerbCommand(
        "kto", "aligns a policy to single answers with thumbs up or down.",
        [
            "rlhf kto --model my-gpt2 --dataset feedback.jsonl --learning-rate 5e-6 --output runs/my-kto",
            "rlhf kto --model my-gpt2 --pairs preferences.jsonl",
        ],
        new SettingsBinder()
            .Add("Model", new KtoFlags(), o => o.Validate())
            .Add("Data", new DatasetFlags(), o => o.Validate(), Unused)
            .Add("Columns", new PairColumnFlags(), null, nameof(PairColumnFlags.MarginColumn))
            .Add("Evaluation", new HeldOutFlags(), o => o.Validate())
            .Add("Training", new KtoConfig(), c => c.Validate())
            .AddLora()
            .AddTraining()
            .Check(Problems),
        Run,
        defaultConfig: command => RunFolder.ConfigOf("kto", command));

    private static int Run(VerbContext context)
    {
        var (options, config) = (context.Settings.Get<KtoFlags>(), context.Settings.Get<KtoConfig>());
        using var run = new PreferenceRun<AnswerExample>(context, options, config, usesReference: true);
        var (answers, heldOutAnswers) = LabeledAnswers(context, options, config.Seed, run.Source);
        var train = run.Encode(answers, run.Tokens.Encode, "answer", "do not fit", isTrained: true);
        var heldOut = run.Encode(heldOutAnswers, run.Tokens.Encode, "answer", "do not fit", isTrained: false);
        // The answers, and the mismatched ones of the KL estimate, which are only read.
        run.CheckMemory([.. train.Select(e => e.Length).OrderDescending().Take(config.BatchSize)], referenceStays: true);

        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context);
        if (folder.SayIfFinished(context.Screen))
            return ExitCode.Success;
        int good = train.Count(e => e.IsDesirable);
        context.Screen.Facts("Optimization from single answers",
        [
            .. run.Facts("answers", train, heldOut), ("labels", $"{good:N0} liked, {train.Count - good:N0} not"),
            .. folder.Facts(context, run.Device),
        ]);
        WarnOfImbalance(context, config, good, train.Count - good);

        var inputs = new Dictionary<string, string>(run.Inputs)
        {
            [options.Pairs is null ? "--dataset" : "--pairs"] = OfAnswers(train),
            [Fingerprint.HeldOut] = OfAnswers(heldOut),
        };
        using var reference = run.OpenReference();
        using var trainer = new KtoTrainer(run.Policy, config, reference);
        return run.Train(folder, trainer, train, heldOut, inputs, Measure);
    }

    /// <summary>Labeled answers; no prompt is in both parts.</summary>
    private static (IReadOnlyList<LabeledAnswer> Train, IReadOnlyList<LabeledAnswer> HeldOut) LabeledAnswers(
        VerbContext context, KtoFlags options, long seed, string model)
    {
        if (options.Pairs is { } pairs)
        {
            var (chosen, held) = context.Settings.Get<PairColumnFlags>().LoadSplit(context, pairs, seed, model);
            return ([.. chosen.SelectMany(Both)], [.. held.SelectMany(Both)]);
        }
        var data = context.Settings.Get<DatasetFlags>();
        var columns = context.Settings.Get<PairColumnFlags>();
        var heldOutFlags = context.Settings.Get<HeldOutFlags>();
        var (train, heldOut) = heldOutFlags.Split<LabeledAnswer>((path, split, limit) =>
        {
            var (source, chosen) = data.Locate(context, path, split);
            return LabeledAnswerDataset.Load(source, new()
            {
                PromptColumn = columns.PromptColumn,
                CompletionColumn = options.CompletionColumn,
                LabelColumn = options.LabelColumn,
                Template = ChatTemplates.TryOf(columns.ChatTemplate, model),
                Split = chosen,
                Limit = limit ?? data.MaxTexts,
                ShuffleSeed = seed,
            });
        });
        var known = heldOut.Select(a => a.Prompt).ToHashSet();
        train = [.. train.Where(a => !known.Contains(a.Prompt))];
        return train.Count > 0 ? (train, heldOut) : throw new InvalidDataException($"{data.Dataset} holds no answer to train on.");
    }

    private static IEnumerable<LabeledAnswer> Both(PreferencePair pair) =>
    [
        new(pair.Prompt, pair.Chosen, true) { IsRendered = pair.IsRendered },
        new(pair.Prompt, pair.Rejected, false) { IsRendered = pair.IsRendered },
    ];

    private static PreferenceResult Measure(TrainProgress last) => last.Evaluation is not { } held ? new(null, []) : new(null,
    [
        new("held-out answers moved the right way", $"{PreferenceRun<AnswerExample>.Percent(held.Metrics["rewards/accuracies"])} of {held.Examples:N0}"),
        .. new[] { ("liked", "rewards/chosen"), ("not liked", "rewards/rejected") }.Where(x => held.Metrics.ContainsKey(x.Item2))
            .Select(x => KeyValuePair.Create($"reward of held-out answers, {x.Item1}", ProgressDisplay.Number(held.Metrics[x.Item2], 3))),
    ]);

    /// <summary>The paper's rule: weight times number of the liked answers, over that of the others, between 1 and 4/3.</summary>
    private static void WarnOfImbalance(VerbContext context, KtoConfig config, int good, int bad)
    {
        double ratio = config.DesirableWeight * good / (config.UndesirableWeight * bad);
        if (good > 0 && bad > 0 && ratio is < 0.75 or > 1.78 && double.IsFinite(ratio))
            TrainingReport.Warn(context, $"Liked answers weigh {ProgressDisplay.Number(ratio, 2)} times the others; 1 to 1.33 is best. Set "
                + $"{(ratio < 1 ? $"DesirableWeight {ProgressDisplay.Number(config.DesirableWeight / ratio, 2)}"
                    : $"UndesirableWeight {ProgressDisplay.Number(config.UndesirableWeight * ratio, 2)}")} to balance them.");
    }

    private static IEnumerable<string> Problems(BoundSettings settings)
    {
        var options = settings.Get<KtoFlags>();
        var columns = settings.Get<PairColumnFlags>();
        if ((settings.Get<DatasetFlags>().Dataset is null) == (options.Pairs is null))
            yield return "Name the data with --dataset (answers with labels) or with --pairs (preferences), one of the two.";
        if (options.Pairs is null && (columns.ChosenColumn ?? columns.RejectedColumn) is not null)
            yield return "--chosen-column and --rejected-column belong to --pairs.";
        if (options.Pairs is not null && (options.CompletionColumn ?? options.LabelColumn) is not null)
            yield return "--completion-column and --label-column belong to --dataset.";
    }

    private static string OfAnswers(IEnumerable<AnswerExample> answers) =>
        Fingerprint.OfTokens(answers.SelectMany(e => (int[][])[e.Prompt, e.Completion, [e.IsDesirable ? 1 : 0]]));
}
