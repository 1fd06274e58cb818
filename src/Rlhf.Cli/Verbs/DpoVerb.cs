using System.CommandLine;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Models.Adapters;
using Rlhf.Training.Preferences;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf dpo</c>: from preference pairs straight to a policy.</summary>
internal static class DpoVerb
{
    private static readonly string[] Unused = [nameof(DatasetFlags.Dataset), nameof(DatasetFlags.TextColumn), nameof(DatasetFlags.LabelColumn),
        nameof(DatasetFlags.LongerThan), nameof(DatasetFlags.LineBreaks), nameof(DatasetFlags.Part)];

    public static Command Create() => new VerbCommand(
        "dpo", "aligns a policy to preference pairs directly: DPO and its kin, ORPO, CPO, SimPO.",
        [
            "rlhf dpo --model my-gpt2 --pairs preferences.jsonl --learning-rate 5e-6 --output runs/my-dpo",
            "rlhf dpo --model my-gpt2 --pairs preferences.jsonl --loss simpo --beta 2 --simpo-gamma 1",
        ],
        new SettingsBinder()
            .Add("Model", new DpoFlags(), o => o.Validate())
            .Add("Data", new DatasetFlags(), o => o.Validate(), Unused)
            .Add("Pairs", new PairColumnFlags(), null, nameof(PairColumnFlags.MarginColumn))
            .Add("Evaluation", new HeldOutFlags(), o => o.Validate())
            .Add("Training", new DpoConfig(), c => c.Validate())
            .AddLora()
            .AddTraining()
            .Check(s => s.Get<DpoFlags>().ProblemsWith(s.Get<DpoConfig>()).Select(s.NameFlags)),
        Run,
        defaultConfig: command => RunFolder.ConfigOf("dpo", command));

    private static int Run(VerbContext context)
    {
        var (options, config) = (context.Settings.Get<DpoFlags>(), context.Settings.Get<DpoConfig>());
        using var run = new PreferenceRun<PairExample>(context, options, config, config.UsesReference);
        var (pairs, heldOutPairs) = context.Settings.Get<PairColumnFlags>().LoadSplit(context, options.Pairs!, config.Seed, run.Source);
        const string why = "teach nothing: an answer does not fit, or both are the same";
        var train = run.Encode(pairs, run.Tokens.Encode, "pair", why, isTrained: true);
        var heldOut = run.Encode(heldOutPairs, run.Tokens.Encode, "pair", why, isTrained: false);
        run.CheckMemory([.. train.OrderByDescending(e => e.Length).Take(config.BatchSize)
            .SelectMany(e => (int[])[e.Prompt.Length + e.Chosen.Length, e.Prompt.Length + e.Rejected.Length])],
            referenceStays: config.UsesReference && !options.PrecomputeRefLogProbs);

        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context);
        if (folder.SayIfFinished(context.Screen))
            return ExitCode.Success;
        context.Screen.Facts($"Preference optimization ({SettingValue.Format(config.Loss)})",
        [
            .. run.Facts("pairs", train, heldOut), .. folder.Facts(context, run.Device),
        ]);

        var inputs = new Dictionary<string, string>(run.Inputs) { ["--pairs"] = OfPairs(train), [Fingerprint.HeldOut] = OfPairs(heldOut) };
        using var reference = config.UsesReference ? run.OpenReference() : null;
        var asked = reference;
        if (reference is not null && options.PrecomputeRefLogProbs)
        {
            var cache = new ReferenceCache(options.Pairs!, folder.Path, run.RefFolder is null ? inputs["--model"] : inputs["--ref-model"]);
            (train, heldOut) = (cache.With(context, train, reference, config.BatchSize), cache.With(context, heldOut, reference, config.BatchSize));
            reference.Dispose(); // its memory is the training's now
            asked = null;
        }
        using var trainer = new DpoTrainer(run.Policy, config, asked);
        return run.Train(folder, trainer, train, heldOut, inputs, _ => Measure(trainer, config, heldOut));
    }

    /// <summary>How well the policy tells held-out answers apart, and what became of the chosen ones.</summary>
    private static PreferenceResult Measure(DpoTrainer trainer, DpoConfig config, IReadOnlyList<PairExample> heldOut)
    {
        if (heldOut.Count == 0)
            return new(null, []);
        var (chosen, rejected) = trainer.Rewards(heldOut);
        var pairs = PairEvaluation.Of(chosen, rejected);
        var margins = SampleStatistics.Of([.. chosen.Zip(rejected, (c, r) => (double)c - r)]);
        var good = SampleStatistics.Of([.. chosen.Select(c => (double)c)]);
        static string Interval(SampleStatistics of) => $"{ProgressDisplay.Number(of.Mean, 3)} ({ProgressDisplay.Number(of.MeanCi95.Low, 3)} to "
            + $"{ProgressDisplay.Number(of.MeanCi95.High, 3)})";
        var json = new
        {
            pairs.Pairs,
            pairs.Accuracy,
            AccuracyCi95 = (double[])[pairs.AccuracyCi95.Low, pairs.AccuracyCi95.High],
            MeanMargin = margins.Mean,
            MeanMarginCi95 = (double[])[margins.MeanCi95.Low, margins.MeanCi95.High],
            ChosenReward = good.Mean,
            ChosenRewardCi95 = (double[])[good.MeanCi95.Low, good.MeanCi95.High],
        };
        List<KeyValuePair<string, string>> facts =
        [
            new("held-out pairs told right (95 % interval)", $"{PreferenceRun<PairExample>.Percent(pairs.Accuracy)} "
                + $"({PreferenceRun<PairExample>.Percent(pairs.AccuracyCi95.Low)} to {PreferenceRun<PairExample>.Percent(pairs.AccuracyCi95.High)}) of {pairs.Pairs:N0}"),
            new("margin of rewards, mean (95 % interval)", Interval(margins)),
        ];
        if (config.UsesReference)
            facts.Add(new("reward of chosen answers, mean (95 % interval)", Interval(good)));
        return new(json, facts, config.UsesReference && good.MeanCi95.High < 0 && margins.Mean > 0
            ? "Chosen answers have become less likely, too: the policy gained its margin by lowering rejected answers further. Some of this is usual; much of it "
                + "moves the policy to answers that nobody judged. Read samples, and if they suffer try --rpo-alpha 1, a lower --learning-rate, a higher --beta, or --loss nca-pair."
            : null);
    }

    private static string OfPairs(IEnumerable<PairExample> pairs) => Fingerprint.OfTokens(pairs.SelectMany(e => (int[][])[e.Prompt, e.Chosen, e.Rejected]));
}
