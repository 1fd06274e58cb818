using System.CommandLine;
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
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;

namespace Rlhf.Cli.Verbs;

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
            .AddLora()
            .Add("Divergence", new DivergenceConfig(), c => c.Validate())
            .Add("Sampling", new GenerationConfig(), c => c.Validate(), hide: nameof(GenerationConfig.MaxNewTokens))
            .AddTraining()
            .Check(PromptFlags.Problems)
            .Check(LoraFlags.WithoutDropout)
            .Check(s => s.Get<LoraFlags>().Lora && s.Get<PpoConfig>().NumSharedLayers is not null
                ? ["--num-shared-layers has no use with --lora: the reference is the policy with its adapter off; leave it out."] : [])
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
        var (shape, plan) = (LoraFlags.Shaped(context, ModelShape.Of(policyFolder)), context.Settings.Get<MemoryFlags>().On(device));
        void CheckMemory(LengthSampler queryLengths) => context.Settings.Get<ComputeFlags>().CheckMemory(LoraFlags.Sized(context, PpoMemory.Plan(
            $"PPO on {policyFolder}", config, shape, refFolder is null ? null : ModelShape.Of(refFolder),
            [.. rewards.Folders.Append(judgeFolder).OfType<string>().Select(ModelShape.Of)], queryLengths,
            lengths.ResponseLengths, plan), policyFolder, ownsReference: refFolder is null, samples: true),
            device);
        CheckMemory(lengths.QueryLengths);
        var tokenizer = AutoTokenizer.FromPretrained(policyFolder);
        var (train, heldOut) = PromptFlags.Load(context, dataset, source, tokenizer, policyFolder, shape.MaxPositions - (lengths.ResponseMax - 1),
            config.BatchSize, config.Seed);
        rewards.CheckColumns(train.Concat(heldOut), source);
        if (prompts.Prompts is not null)
            CheckMemory(new(train.Min(q => q.TokenIds.Length), train.Max(q => q.TokenIds.Length) + 1));

        using var policy = CausalLMWithValueHead.FromPretrained(policyFolder, plan, config.Seed);
        LoraFlags.Attach(context, policy.PretrainedModel, policyFolder, config.Seed);
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
            ("model", $"{ModelFolders.PlaceOf(policyFolder)}{(policy.PretrainedModel.Adapter is null ? "" : $", {LoraFlags.Describe(policy.PretrainedModel)}")}"),
            .. refFolder is null ? Array.Empty<(string, string)>() : [("reference", ModelFolders.PlaceOf(refFolder))],
            ("reward", isSingle ? Scorers.Describe(rewards.Folders.First(), reward) : rewards.Names),
            .. judge is null ? Array.Empty<(string, string)>() : [("judge", Scorers.Describe(judgeFolder!, judge))],
            ("queries", $"{source}: {train.Length:N0} to train on, {heldOut.Length:N0} held out"),
            .. PpoFacts.Plan(policy, config, steps, train, lengths),
            .. folder.Facts(context, device),
        ]);

        var template = ChatTemplates.TryOf(prompts.ChatTemplate, policyFolder);
        var saved = new SavedModel((path, type) => policy.SavePretrained(path, type), tokenizer, template);
        var inputs = Fingerprint.OfRollouts(policyFolder, refFolder, judgeFolder, train, heldOut,
            isSingle ? ("--reward-model", Fingerprint.OfModel(rewards.Folders.First())) : ("--reward", rewards.Fingerprinted));
        var session = new CommandSession(context, folder, policyFolder, trainer, saved.Save, inputs);
        var report = new RolloutReport(context);
        session.Train("Aligning", steps, (display, sinks) => run.Train(steps, step =>
        {
            report.Step(display, sinks, step, ("KL", ((PpoStatistics)step.Statistics).Kl));
            session.AfterStep(step.BadStepsInARow == 0, step.Statistics.RewardMean);
        }, context.Stop));
        saved.Save(folder.Model, options.Storage);
        var evaluator = new PolicyEvaluator(tokenizer, heldOut, reward, judge)
        {
            Generation = generation,
            ResponseLengths = lengths.EvalResponseLengths(heldOut.Length, config.Seed),
            Seed = config.Seed,
        };
        // What the policy was before training is the reference, unless that is another model.
        using var before = refFolder is null ? null : AutoModelForCausalLM.FromPretrained(policyFolder, plan);
        Reference start = before is null ? trainer.Reference : before;
        var comparison = report.Compare(evaluator, start, trainer.Model.PretrainedModel);
        var bestOf = comparison is null ? null : report.BestOf(evaluator, start, lengths.EvalBestOf);
        string goal = isSingle ? (Scorers.LabelOf(reward) is { } label ? $"the label {label} of " : "") + $"the reward model {rewards.Names}"
            : $"the reward {rewards.Names}";
        report.Finish(folder, trainer.StepCount, session.Elapsed, comparison, PpoFacts.Card(policyFolder, goal, trainer), bestOf);
        session.Finish(comparison is not null);
        return HubFlags.Push(context, folder.Model);
    }
}
