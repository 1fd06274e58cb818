using System.CommandLine;
using System.ComponentModel;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Rewards;
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

    [Description("A second classifier that training never sees, to tell earned reward from a hacked one; default: with the reward "
        + "that ships, the judge that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Judge { get; init; }

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
            .Add("Reward", new ScoringFlags(), o => o.Validate())
            .Add("Prompts", new PromptFlags())
            .Add("Queries", new DatasetFlags(), o => o.Validate(), hide: nameof(DatasetFlags.LabelColumn))
            .Add("Lengths and evaluation", new QueryFlags(), o => o.Validate())
            .Add("PPO", new PpoConfig(), c => c.Validate(), hide: nameof(PpoConfig.Divergence))
            .Add("Divergence", new DivergenceConfig(), c => c.Validate())
            .Add("Sampling", new GenerationConfig(), c => c.Validate(), hide: nameof(GenerationConfig.MaxNewTokens))
            .AddTraining()
            .Check(PromptFlags.Problems)
            .Check(s => s.IsGiven(nameof(ScoringFlags.Reward)) && s.Get<ScoringFlags>().Reward is not null && s.Get<PpoFlags>().RewardModel is not null
                ? ["The reward comes from --reward or from --reward-model; give one of the two (--reward takes models, too)."] : []),
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
        var rewards = RewardSet.Find(context, ModelFolders.ShippedReward, options.RewardModel);
        string? judgeFolder = ModelFolders.Judge(context, options.Judge, context.Settings.Get<ScoringFlags>().Reward ?? options.RewardModel);
        var prompts = context.Settings.Get<PromptFlags>();
        string source = prompts.Prompts ?? QueryFlags.Source(dataset);

        var device = context.Settings.Get<ComputeFlags>().Start();
        var shape = ModelShape.Of(policyFolder);
        void CheckMemory(LengthSampler queryLengths) => context.Settings.Get<ComputeFlags>().CheckMemory(PpoMemory.Plan(
            $"PPO on {policyFolder}", config, shape, refFolder is null ? null : ModelShape.Of(refFolder),
            [.. rewards.Folders.Append(judgeFolder).OfType<string>().Select(ModelShape.Of)], queryLengths,
            lengths.ResponseLengths, device),
            device);
        CheckMemory(lengths.QueryLengths);
        var tokenizer = AutoTokenizer.FromPretrained(policyFolder);
        var (train, heldOut) = PromptFlags.Load(context, dataset, source, tokenizer, policyFolder, shape.MaxPositions - (lengths.ResponseMax - 1),
            config.BatchSize, config.Seed, "--batch-size");
        rewards.CheckColumns(train.Concat(heldOut), source);
        if (prompts.Prompts is not null)
            CheckMemory(new(train.Min(q => q.TokenIds.Length), train.Max(q => q.TokenIds.Length) + 1));

        using var policy = CausalLMWithValueHead.FromPretrained(policyFolder, device, config.Seed);
        LanguageModels.EndToken(policyFolder, policy.PretrainedModel, tokenizer);
        using var reward = rewards.Load(device);
        using var judge = judgeFolder is null ? null : Scorers.Judge(judgeFolder, device, context.Settings.Get<ScoringFlags>().RewardLabel);

        long steps = options.Steps ?? train.Length / config.BatchSize;
        using var refModel = refFolder is null ? null : LanguageModels.Reference(refFolder, policy.PretrainedModel, device);
        using var trainer = new PpoTrainer(policy, config, refModel, steps);
        var generation = context.Settings.Get<GenerationConfig>();
        var run = new RolloutRun(trainer, new TextGenerator(policy), tokenizer, reward, train, new RolloutPlan(generation, lengths.ResponseLengths));
        bool isSingle = context.Settings.Get<ScoringFlags>().Reward is null;
        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context, new Dictionary<string, object?>
        {
            [nameof(PpoFlags.Model)] = ModelFolders.PlaceOf(policyFolder),
            [nameof(PpoFlags.RewardModel)] = isSingle ? ModelFolders.PlaceOf(rewards.Folders.First()) : null,
            [nameof(ScoringFlags.Reward)] = isSingle ? null : rewards.Places,
            [nameof(PpoFlags.Judge)] = judgeFolder is null ? null : ModelFolders.PlaceOf(judgeFolder),
            [nameof(ScoringFlags.RewardLabel)] = Scorers.LabelOf(reward) ?? context.Settings.Get<ScoringFlags>().RewardLabel,
            [nameof(PpoFlags.Steps)] = steps,
            [nameof(DatasetFlags.LongerThan)] = dataset.LongerThan,
        });
        if (folder.SayIfFinished(screen))
            return ExitCode.Success;
        screen.Facts("PPO",
        [
            ("model", ModelFolders.PlaceOf(policyFolder)),
            .. refFolder is null ? Array.Empty<(string, string)>() : [("reference", ModelFolders.PlaceOf(refFolder))],
            ("reward", isSingle ? Scorers.Describe(rewards.Folders.First(), reward) : rewards.Names),
            .. judge is null ? Array.Empty<(string, string)>() : [("judge", Scorers.Describe(judgeFolder!, judge))],
            ("queries", $"{source}: {train.Length:N0} to train on, {heldOut.Length:N0} held out"),
            .. Plan(policy, config, steps, train, lengths),
            .. context.SettingsFacts(),
            ("device", LanguageModels.DeviceName(device)), ("output", folder.Path),
        ]);

        var template = prompts.ChatTemplate is null ? null : ChatTemplates.Of(prompts.ChatTemplate, policyFolder);
        void SaveAs(string path, torch.ScalarType? storage)
        {
            policy.SavePretrained(path, storage);
            tokenizer.SavePretrained(path);
            template?.Save(path);
        }
        var inputs = new Dictionary<string, string>
        {
            ["--model"] = Fingerprint.OfModel(policyFolder),
            [isSingle ? "--reward-model" : "--reward"] = isSingle ? Fingerprint.OfModel(rewards.Folders.First()) : rewards.Fingerprinted,
            ["--ref-model"] = refFolder is null ? "the policy before training" : Fingerprint.OfModel(refFolder),
            ["--dataset"] = Fingerprint.OfTokens(train.Select(q => q.TokenIds)),
            [Fingerprint.HeldOut] = Fingerprint.OfTokens(heldOut.Select(q => q.TokenIds)),
        };
        if (judgeFolder is not null)
            inputs["--judge"] = Fingerprint.OfModel(judgeFolder);
        var session = new CommandSession(context, folder, policyFolder, trainer, path => SaveAs(path, null), inputs);
        var report = new RolloutReport(context);
        session.Train("Aligning", steps, (display, sinks) => run.Train(steps, step =>
        {
            report.Step(display, sinks, step, ("KL", ((PpoStatistics)step.Statistics).Kl));
            session.AfterStep(step.BadStepsInARow == 0, step.Statistics.RewardMean);
        }, context.Stop));
        SaveAs(folder.Model, options.Storage.ToScalarType());
        var evaluator = new PolicyEvaluator(tokenizer, heldOut, reward, judge)
        {
            Generation = generation,
            ResponseLengths = lengths.EvalResponseLengths(heldOut.Length, config.Seed),
            Seed = config.Seed,
        };
        // What the policy was before training is the reference, unless that is another model.
        using var before = refFolder is null ? null : AutoModelForCausalLM.FromPretrained(policyFolder, device);
        var comparison = report.Compare(evaluator, before ?? trainer.Reference.Model, trainer.Model.PretrainedModel);
        string goal = isSingle ? (Scorers.LabelOf(reward) is { } label ? $"the label {label} of " : "") + $"the reward model {rewards.Names}"
            : $"the reward {rewards.Names}";
        report.Finish(folder, trainer.StepCount, session.Elapsed, comparison, Card(policyFolder, goal, trainer));
        session.Finish(comparison is not null);
        return HubFlags.Push(context, folder.Model);
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

    private static ModelCard Card(string policyFolder, string goal, PpoTrainer trainer) => new(
        ModelFolders.NameOf(policyFolder) + ", aligned by PPO",
        $"A causal language model aligned to {goal} with Rlhf (rlhf ppo). The weights hold TRL's value head beside the language model.")
    {
        Tags = ["ppo", "rlhf"],
        BaseModel = ModelFolders.BaseModelOf(policyFolder),
        Results = [new("PPO steps", $"{trainer.StepCount:N0}")],
        Settings =
        [
            new("learning rate", SettingValue.Format(trainer.Config.LearningRate)),
            new("batch size", SettingValue.Format(trainer.Config.BatchSize)),
            new("first KL coefficient", SettingValue.Format(trainer.Config.InitKlCoef)),
            new("KL target", SettingValue.Format(trainer.Config.Target)),
            new("seed", SettingValue.Format(trainer.Config.Seed)),
        ],
    };
}
