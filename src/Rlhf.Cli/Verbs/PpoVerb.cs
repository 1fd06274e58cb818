using System.CommandLine;
using System.ComponentModel;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using Rlhf.Tracking;
using Rlhf.Training.Loop;
using Rlhf.Training.Memory;
using Rlhf.Training.Optimization;
using Rlhf.Training.Ppo;
using TorchSharp;

namespace Rlhf.Cli.Verbs;

/// <summary>What to align, and to what.</summary>
internal sealed record PpoFlags
{
    [Description("A known set of settings; those that are given win. imdb is the lesson: lvwerra/gpt2-imdb, "
        + "lvwerra/distilbert-imdb, stanfordnlp/imdb.")]
    public PpoPreset? Preset { get; init; }

    [Description("Language model to align: a folder or one of the Hub; default: the small review model that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Model { get; init; }

    [Description("Model that the KL penalty holds the policy near to; default: the policy as it is before training.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? RefModel { get; init; }

    [Description("Reward model: a classifier or a model with a scalar head, a folder or one of the Hub; default: the sentiment "
        + "classifier that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? RewardModel { get; init; }

    [Description("Label whose logit is the reward; default: the one label that says positive.")]
    [ValueName("NAME")]
    public string? RewardLabel { get; init; }

    [Description("A second classifier that training never sees, to tell earned reward from a hacked one; default: with the reward "
        + "that ships, the judge that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Judge { get; init; }

    [Description("Whole prompts instead of texts to cut: one per line, or JSONL, CSV or parquet with a column prompt (a text or messages) or query.")]
    [ValueName("PATH")]
    [DataInput(OfTheHub = false)]
    public string? Prompts { get; init; }

    [Description("Chat template for prompts that are messages: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    public string? ChatTemplate { get; init; }

    [Description("PPO steps; default: one pass over the queries.")]
    [MayChange(When = nameof(PpoConfig.HasConstantRate))]
    public int? Steps { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Steps < 1) yield return $"Steps is {Steps}; it must be at least 1, or left out.";
    }
}

/// <summary><c>rlhf ppo</c>: stage 3, a language model learns to write what the reward model likes.</summary>
internal static class PpoVerb
{
    public static Command Create() => new VerbCommand(
        "ppo", "aligns a language model to a reward model by PPO.",
        [
            "rlhf ppo",
            "rlhf ppo --preset imdb",
            "rlhf ppo --model runs/my-sft --reward-model runs/my-reward --dataset imdb.parquet --steps 100",
            "rlhf ppo --model runs/my-chat --reward-model runs/my-reward --prompts chats.jsonl --response-max 129",
        ],
        new SettingsBinder()
            .Add("Models", new PpoFlags(), o => o.Validate())
            .Add("Queries", new DatasetFlags(), o => o.Validate(), hide: nameof(DatasetFlags.LabelColumn))
            .Add("Lengths and evaluation", new QueryFlags(), o => o.Validate())
            .Add("PPO", new PpoConfig(), c => c.Validate(), hide: nameof(PpoConfig.Divergence))
            .Add("Divergence", new DivergenceConfig(), c => c.Validate())
            .Add("Sampling", new GenerationConfig(), c => c.Validate(), hide: nameof(GenerationConfig.MaxNewTokens))
            .AddTraining()
            .Check(s => s.Get<DatasetFlags>().Dataset is null && s.Get<PpoFlags>().Prompts is null && s.Get<QueryFlags>().EvalSplit is not null
                ? ["--eval-split belongs to --dataset or --prompts, and neither is given."] : [])
            .Check(PromptProblems),
        Run,
        defaultConfig: command => RunFolder.ConfigOf("ppo", command),
        // The model that ships comes with settings that suit it, however it is named.
        preset: settings => settings.Get<PpoFlags>() is { Preset: { } chosen } ? PpoPresets.Settings(chosen)
            : ModelFolders.ShippedSettings(settings.Get<PpoFlags>().Model))
    {
        ShippedSettings = () => ModelFolders.ShippedSettings(model: null),
        Shipped = new Dictionary<string, string>
        {
            ["model"] = ModelFolders.ShippedPolicy,
            ["reward_model"] = ModelFolders.ShippedReward,
            ["judge"] = ModelFolders.ShippedJudge,
            ["dataset"] = ModelFolders.ShippedQueries,
        },
    };

    private static int Run(VerbContext context)
    {
        var (options, screen) = (context.Settings.Get<PpoFlags>(), context.Screen);
        var config = context.Settings.Get<PpoConfig>() with { Divergence = context.Settings.Get<DivergenceConfig>() };
        var (dataset, lengths) = (QueryFlags.WithLessonFilter(context.Settings), context.Settings.Get<QueryFlags>());
        HubFlags.CheckPush(context);
        string policyFolder = ModelFolders.ResolveOrShipped(context, "--model", options.Model, ModelFolders.ShippedPolicy);
        string? refFolder = options.RefModel is { } reference ? ModelFolders.Resolve(context, "--ref-model", reference) : null;
        string rewardFolder = ModelFolders.ResolveOrShipped(
            context, "--reward-model", options.RewardModel, ModelFolders.ShippedReward);
        string? judgeFolder = ModelFolders.Judge(context, options.Judge, options.RewardModel);
        string source = options.Prompts ?? QueryFlags.Source(dataset);

        var device = context.Settings.Get<ComputeFlags>().Start();
        var shape = ModelShape.Of(policyFolder);
        void CheckMemory(LengthSampler queryLengths) => context.Settings.Get<ComputeFlags>().CheckMemory(PpoMemory.Plan(
            $"PPO on {policyFolder}", config, shape, refFolder is null ? null : ModelShape.Of(refFolder),
            [.. new[] { rewardFolder, judgeFolder }.OfType<string>().Select(ModelShape.Of)], queryLengths,
            lengths.ResponseLengths, device),
            device);
        CheckMemory(lengths.QueryLengths);
        var tokenizer = AutoTokenizer.FromPretrained(policyFolder);
        var (train, heldOut) = Queries(context, dataset, tokenizer, source, policyFolder, shape.MaxPositions);
        if (options.Prompts is not null)
            CheckMemory(new(train.Min(q => q.TokenIds.Length), train.Max(q => q.TokenIds.Length) + 1));

        using var policy = CausalLMWithValueHead.FromPretrained(policyFolder, device, config.Seed);
        LanguageModels.EndToken(policyFolder, policy.PretrainedModel, tokenizer);
        using var reward = AutoReward.FromPretrained(rewardFolder, device, options.RewardLabel);
        using var judge = judgeFolder is null ? null : Scorers.Judge(judgeFolder, device, options.RewardLabel);

        long steps = options.Steps ?? train.Length / config.BatchSize;
        using var refModel = refFolder is null ? null : Reference(refFolder, policy, device);
        using var trainer = new PpoTrainer(policy, config, refModel, steps);
        var generation = context.Settings.Get<GenerationConfig>();
        var run = new RolloutRun(trainer, new TextGenerator(policy), tokenizer, reward, train, new RolloutPlan(generation, lengths.ResponseLengths));
        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context, new Dictionary<string, object?>
        {
            [nameof(PpoFlags.Model)] = ModelFolders.PlaceOf(policyFolder),
            [nameof(PpoFlags.RewardModel)] = ModelFolders.PlaceOf(rewardFolder),
            [nameof(PpoFlags.Judge)] = judgeFolder is null ? null : ModelFolders.PlaceOf(judgeFolder),
            [nameof(PpoFlags.RewardLabel)] = Scorers.LabelOf(reward),
            [nameof(PpoFlags.Steps)] = steps,
            [nameof(DatasetFlags.LongerThan)] = dataset.LongerThan,
        });
        if (folder.SayIfFinished(screen))
            return ExitCode.Success;
        screen.Facts("PPO",
        [
            ("model", ModelFolders.PlaceOf(policyFolder)),
            .. refFolder is null ? Array.Empty<(string, string)>() : [("reference", ModelFolders.PlaceOf(refFolder))],
            ("reward", Scorers.Describe(rewardFolder, reward)),
            .. judge is null ? Array.Empty<(string, string)>() : [("judge", Scorers.Describe(judgeFolder!, judge))],
            ("queries", $"{source}: {train.Length:N0} to train on, {heldOut.Length:N0} held out"),
            .. Plan(policy, config, steps, train, lengths),
            .. context.SettingsFacts(),
            ("device", LanguageModels.DeviceName(device)), ("output", folder.Path),
        ]);

        var template = options.ChatTemplate is null ? null : ChatTemplates.Of(options.ChatTemplate, policyFolder);
        void SaveAs(string path, torch.ScalarType? storage)
        {
            policy.SavePretrained(path, storage);
            tokenizer.SavePretrained(path);
            template?.Save(path);
        }
        var inputs = new Dictionary<string, string>
        {
            ["--model"] = Fingerprint.OfModel(policyFolder),
            ["--reward-model"] = Fingerprint.OfModel(rewardFolder),
            ["--ref-model"] = refFolder is null ? "the policy before training" : Fingerprint.OfModel(refFolder),
            ["--dataset"] = Fingerprint.OfTokens(train.Select(q => q.TokenIds)),
            [Fingerprint.HeldOut] = Fingerprint.OfTokens(heldOut.Select(q => q.TokenIds)),
        };
        if (judgeFolder is not null)
            inputs["--judge"] = Fingerprint.OfModel(judgeFolder);
        var session = new CommandSession(context, folder, policyFolder, trainer, path => SaveAs(path, null), inputs);
        var warned = new HashSet<string>();
        session.Train("Aligning", steps, (display, sinks) => run.Train(steps, step =>
        {
            Report(context, display, sinks, step, warned);
            session.AfterStep(step.BadStepsInARow == 0, step.Statistics.RewardMean);
        }, context.Stop));
        SaveAs(folder.Model, options.Storage.ToScalarType());
        var evaluator = new PolicyEvaluator(tokenizer, [.. heldOut.Select(q => q.TokenIds)], reward, judge)
        {
            Generation = generation,
            ResponseLengths = lengths.EvalResponseLengths(heldOut.Length, config.Seed),
            Seed = config.Seed,
        };
        // What the policy was before training is the reference, unless that is another model.
        using var before = refFolder is null ? null : AutoModelForCausalLM.FromPretrained(policyFolder, device);
        var comparison = Compare(context, evaluator, before ?? trainer.Reference.Model, trainer.Model.PretrainedModel);
        Finish(context, folder, policyFolder, rewardFolder, Scorers.LabelOf(reward), trainer, session.Elapsed, comparison);
        session.Finish(comparison is not null);
        return HubFlags.Push(context, folder.Model);
    }

    /// <summary>Queries to train on and queries to evaluate on, which are never trained on.</summary>
    private static (Query[] Train, Query[] HeldOut) Queries(
        VerbContext context, DatasetFlags dataset, ITokenizer tokenizer, string source, string policyFolder, int positions)
    {
        var (lengths, config, options) = (context.Settings.Get<QueryFlags>(), context.Settings.Get<PpoConfig>(), context.Settings.Get<PpoFlags>());
        IReadOnlyList<Query> Load(DatasetFlags data) => options.Prompts is { } path
            ? WholePrompts(context, path, data, tokenizer, ChatTemplates.TryOf(options.ChatTemplate, policyFolder), positions - (lengths.ResponseMax - 1))
            : lengths.Load(context, data, tokenizer, config.Seed);
        var queries = Load(dataset);
        var others = lengths.EvalSplit is { } split ? Load(dataset with { Split = split }) : queries;
        int taken = lengths.EvalSplit is null ? lengths.EvalQueries : 0;
        if (queries.Count < taken + config.BatchSize || others.Count < lengths.EvalQueries)
            throw new ConfigurationException(
                [$"{source} gives {queries.Count:N0} queries, too few for {lengths.EvalQueries} held-out ones and a batch of "
                + $"{config.BatchSize}; lower --eval-queries or --batch-size, or name more data."]);
        return ([.. queries.Skip(taken)], [.. others.Take(lengths.EvalQueries)]);
    }

    /// <summary>Ready prompts in an order drawn from the seed; those that leave no room for the longest response are left out.</summary>
    private static IReadOnlyList<Query> WholePrompts(
        VerbContext context, string path, DatasetFlags data, ITokenizer tokenizer, ChatTemplate? template, int longest)
    {
        var all = QueryDataset.Load(path, tokenizer, new()
        {
            Split = data.Split,
            Limit = data.MaxTexts,
            ShuffleSeed = context.Settings.Get<PpoConfig>().Seed,
            Template = template,
        });
        Query[] fitting = [.. all.Where(q => q.TokenIds.Length <= longest)];
        if (fitting.Length < all.Count)
            context.Screen.Line($"Left out {Numbers.Count(all.Count - fitting.Length, "prompt")} of more than {longest:N0} tokens, which leave no room "
                + "for the longest response; lower --response-max or shorten them.");
        return fitting;
    }

    /// <summary>Settings of texts that are cut have no meaning for prompts that are whole.</summary>
    private static IEnumerable<string> PromptProblems(BoundSettings settings)
    {
        var options = settings.Get<PpoFlags>();
        if (options.Prompts is null)
            return options.ChatTemplate is null ? [] : ["--chat-template is for --prompts, which is not given."];
        if (settings.Get<DatasetFlags>().Dataset is not null)
            return ["Queries come from --prompts or are cut from --dataset; give one of the two."];
        string[] cutting = [nameof(DatasetFlags.TextColumn), nameof(DatasetFlags.LongerThan), nameof(DatasetFlags.LineBreaks), nameof(DatasetFlags.Part),
            nameof(QueryFlags.QueryMin), nameof(QueryFlags.QueryMax)];
        return cutting.Where(settings.IsGiven).Select(name => settings.NameFlags($"{name} is about texts to cut; prompts from --prompts are taken as they are."));
    }

    private static CausalLM Reference(string folder, CausalLMWithValueHead policy, torch.Device device)
    {
        var reference = AutoModelForCausalLM.FromPretrained(folder, device);
        var (tokens, positions) = (policy.PretrainedModel.VocabSize, policy.PretrainedModel.MaxPositions);
        if (reference.VocabSize == tokens && reference.MaxPositions >= positions)
            return reference;
        using (reference)
            throw new ConfigurationException(
                [$"--ref-model {folder} has {reference.VocabSize:N0} tokens and {reference.MaxPositions:N0} positions, the "
                + $"policy {tokens:N0} and {positions:N0}; the reference must know the policy's tokens and lengths."]);
    }

    private static IEnumerable<(string Name, string Value)> Plan(
        CausalLMWithValueHead policy, PpoConfig config, long steps, Query[] train, QueryFlags lengths)
    {
        long trainable = policy.NamedParameters.Where(p => p.Value.requires_grad).Sum(p => p.Value.numel());
        long all = policy.NamedParameters.Sum(p => p.Value.numel());
        int minibatches = config.BatchSize / config.MiniBatchSize;
        int updates = config.PpoEpochs * minibatches / config.GradientAccumulationSteps;
        double tokens = config.BatchSize * (train.Average(q => q.TokenIds.Length)
            + (lengths.ResponseMin + lengths.ResponseMax - 1) / 2.0);
        yield return ("plan", $"{Numbers.Count(steps, "step")} of {Numbers.Count(config.BatchSize, "query", "queries")}, "
            + $"about {tokens:N0} tokens each");
        yield return ("", $"{Numbers.Count(config.PpoEpochs, "epoch")} of {Numbers.Count(minibatches, "minibatch", "minibatches")}: "
            + $"{Numbers.Count(updates, "update")} per step, {steps * updates:N0} in all");
        yield return ("parameters", $"{all:N0}, {(trainable == all ? "all" : $"of which {trainable:N0} are")} trained");
    }

    private static void Report(
        VerbContext context, ProgressDisplay display, IMetricSink sinks, RolloutProgress step, HashSet<string> warned)
    {
        sinks.Write(step.GameLog());
        TrainingReport.Log(context, sinks, step.Step, step.Statistics.Warnings);
        sinks.Write(step.Metrics);
        foreach (var warning in step.Statistics.Warnings)
            if (warned.Add(warning.Kind)) // one of a kind, whatever its numbers
                TrainingReport.Warn(context, $"Step {step.Step}: {warning}");
        display.Report(step.Step,
            ("reward", ProgressDisplay.Number(step.Statistics.RewardMean)), ("KL", ProgressDisplay.Number(((PpoStatistics)step.Statistics).Kl)));
    }

    /// <summary>The comparison, or null when the run was interrupted.</summary>
    private static EvaluationComparison? Compare(VerbContext context, PolicyEvaluator evaluator, CausalLM before, CausalLM after)
    {
        if (context.Stop.IsCancellationRequested)
            return null;
        context.Screen.Line("Answering the held-out queries …");
        try
        {
            return evaluator.Compare(before, after, context.Stop);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }

    private static void Finish(
        VerbContext context, RunFolder folder, string policyFolder, string rewardFolder, string? rewardLabel, PpoTrainer trainer, TimeSpan elapsed,
        EvaluationComparison? comparison)
    {
        var (config, screen) = (trainer.Config, context.Screen);
        new ModelCard(ModelFolders.NameOf(policyFolder) + ", aligned by PPO",
            $"A causal language model aligned to {(rewardLabel is null ? "" : $"the label {rewardLabel} of ")}"
            + $"the reward model {ModelFolders.NameOf(rewardFolder)} with Rlhf (rlhf ppo). "
            + "The weights hold TRL's value head beside the language model.")
        {
            PipelineTag = "text-generation",
            Tags = ["ppo", "rlhf"],
            BaseModel = ModelFolders.BaseModelOf(policyFolder),
            Results = [new("PPO steps", $"{trainer.StepCount:N0}")],
            Tables = comparison is null ? [] : ComparisonTables.Of(comparison),
            Settings =
            [
                new("learning rate", SettingValue.Format(config.LearningRate)),
                new("batch size", SettingValue.Format(config.BatchSize)),
                new("first KL coefficient", SettingValue.Format(config.InitKlCoef)),
                new("KL target", SettingValue.Format(config.Target)),
                new("seed", SettingValue.Format(config.Seed)),
            ],
            Command = context.CommandLine,
        }.Save(folder.Model);
        var summary = RunSummary.Of(comparison, trainer.StepCount, elapsed.TotalSeconds, folder.Model);
        summary.Save(folder.Path);
        if (comparison is not null)
            new EvaluationFile(trainer.StepCount, comparison).Save(folder.Path);
        if (comparison is not null)
            ComparisonReport.Write(screen, comparison);
        if (screen.Json)
            screen.WriteJson(summary);
        else
            screen.Facts(comparison is null ? "Stopped" : "Done",
                [("steps", $"{trainer.StepCount:N0}"), ("time", ProgressDisplay.Time(elapsed)), ("model", folder.Model),
                    ("report", folder[RunFiles.Report])]);
    }
}
