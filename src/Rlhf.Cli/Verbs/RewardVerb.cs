using System.CommandLine;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Training.Memory;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Cli.Verbs;

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
            .AddLora()
            .AddTraining()
            .Check(s => (s.Get<DatasetFlags>().Dataset is null) == (s.Get<RewardFlags>().Pairs is null)
                ? ["Name the data with --dataset (labeled texts) or with --pairs (preferences), one of the two."] : [])
            .Check(s => s.Get<PairColumnFlags>().ProblemsWithout(s.Get<RewardFlags>().Pairs)),
        Run,
        defaultConfig: command => RunFolder.ConfigOf("reward", command));

    private static int Run(VerbContext context)
    {
        var (options, config, screen) = (context.Settings.Get<RewardFlags>(), context.Settings.Get<RewardConfig>(), context.Screen);
        HubFlags.CheckPush(context);
        string source = ModelFolders.Resolve(context, "--model", options.Model);
        var data = RewardData.Load(context, source);
        var device = context.Settings.Get<ComputeFlags>().Start();
        var (size, memory) = (ModelShape.Of(source), context.Settings.Get<MemoryFlags>());
        memory.RequireFor(size, source);
        size = LoraFlags.Shaped(context, size);
        var plan = memory.On(device);
        void CheckMemory(int[]? longest) => context.Settings.Get<ComputeFlags>().CheckMemory(LoraFlags.Sized(context, MemoryPlan.ForTraining(
            $"Training the reward model {source}", size, config.BatchSize, longest, plan, predictsTokens: false), source, classifies: true), device);
        CheckMemory(null);
        var tokenizer = AutoTokenizer.FromPretrained(source);
        TokenizerOf.RequireFit(source, tokenizer, size.VocabSize);
        CheckMemory(data.LongestRows(tokenizer, config, size.MaxPositions));
        using var model = Open(source, options, config, plan);
        LoraFlags.Attach(context, model, source, config.Seed);
        if (options.NormalizeReward == true && !model.CanShiftLogits)
            throw new ConfigurationException(["--normalize-reward shifts the bias of the model's last norm, which this model or adapter does not have; leave it out, and let PPO "
                + "scale and center scores with --use-score-scaling and --use-score-norm."]);
        using var trainer = new RewardTrainer(model, tokenizer, config);
        data.LeaveOutUseless(context, trainer);
        long steps = config.TotalSteps(data.Count.Train);
        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context);
        if (folder.SayIfFinished(screen))
            return ExitCode.Success;
        screen.Facts("Reward model",
        [
            ("model", $"{ModelFolders.PlaceOf(source)}, {LoraFlags.Describe(model)}"),
            ("labels", string.Join(", ", model.Labels)),
            (data.Rows, $"{data.Count.Train:N0} to train on, {data.Count.HeldOut:N0} held out"),
            ("plan", $"{Numbers.Count(steps, "step")} of {config.ExamplesPerStep:N0}, texts of up to {config.LengthFor(model.MaxPositions):N0} tokens"),
            .. folder.Facts(context, device),
        ]);

        var saved = new SavedModel((path, type) => model.SavePretrained(path, type), tokenizer);
        var session = new CommandSession(context, folder, source, trainer, saved.Save, new Dictionary<string, string>
        {
            ["--model"] = Fingerprint.OfModel(source),
            [data.Flag] = Fingerprint.OfTexts(data.Train),
            [Fingerprint.HeldOut] = Fingerprint.OfTexts(data.HeldOut),
        });
        var last = session.TrainOnExamples("Training", steps, report => data.TrainWith(trainer, report, context.Stop),
            state => [("accuracy", ProgressDisplay.Percent(state.Metrics["accuracy"]))],
            evaluation => ("held-out accuracy", ProgressDisplay.Percent(evaluation.Metrics["accuracy"])));
        PairReport.Outcome? pairs = null;
        try
        {
            if (!context.Stop.IsCancellationRequested)
                pairs = data.Finish(context, model, tokenizer);
        }
        finally
        {
            saved.Save(folder.Model, options.Storage); // what was trained is kept, whatever the measuring comes to
        }
        RewardReport.Write(context, folder, source, config, last, pairs, model);
        session.Finish(last.Step >= steps && !context.Stop.IsCancellationRequested);
        return HubFlags.Push(context, folder.Model);
    }

    /// <summary>The classifier; pairs need one label, so another head is replaced.</summary>
    private static SequenceClassifier Open(string folder, RewardFlags options, RewardConfig config, ComputePlan plan)
    {
        if (options.NewHeadLabels is { } labels)
            return AutoModelForSequenceClassification.FromPretrained(folder, plan, new NewHead(labels, config.Seed));
        if (options.Pairs is not null && AutoModelForSequenceClassification.Labels(folder).Count != 1)
            return AutoModelForSequenceClassification.FromPretrained(folder, plan, NewHead.Scalar(config.Seed));
        return AutoModelForSequenceClassification.FromPretrained(folder, plan);
    }
}
