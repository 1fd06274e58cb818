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
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Training.Groups;
using Rlhf.Training.Grpo;
using Rlhf.Training.Loop;
using Rlhf.Training.Optimization;
using Rlhf.Training.Rloo;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf grpo</c> and <c>rlhf rloo</c>: a language model learns from comparing its own answers.</summary>
internal static class GroupVerb
{
    public static Command CreateGrpo() => Create("grpo", "GRPO", "aligns a language model by comparing groups of its answers (GRPO and its kin).",
        new GrpoConfig(), c => c.Validate(), (policy, config, reference, steps) => new GrpoTrainer(policy, config, reference, steps),
        [
            "rlhf grpo",
            "rlhf grpo --model runs/my-sft --prompts sums.jsonl --reward number-match:answer --learning-rate 1e-5",
            "rlhf grpo --model runs/my-chat --prompts chats.jsonl --reward runs/my-reward --reward 0.2:json-schema:answer.json",
        ]);

    public static Command CreateRloo() => Create("rloo", "RLOO", "aligns a language model by REINFORCE with the other answers' rewards as baseline (RLOO).",
        new RlooConfig(), c => c.Validate(), (policy, config, reference, steps) => new RlooTrainer(policy, config, reference, steps),
        [
            "rlhf rloo",
            "rlhf rloo --model runs/my-sft --prompts questions.jsonl --reward exact-match:answer --num-generations 4",
        ]);

    private static VerbCommand Create<TConfig>(string verb, string title, string description, TConfig defaults, Func<TConfig, IEnumerable<string>> validate,
        Func<CausalLM, TConfig, Reference?, long, GroupTrainer> create, IReadOnlyList<string> examples) where TConfig : GroupConfig, new() =>
        new(verb, description, examples,
            new SettingsBinder()
                .Add("Models", new GroupFlags(), o => o.Validate())
                .Add("Reward", new ScoringFlags(), o => o.Validate())
                .Add("Prompts", new PromptFlags())
                .Add("Queries", new DatasetFlags(), o => o.Validate(), hide: nameof(DatasetFlags.LabelColumn))
                .Add("Lengths and evaluation", new QueryFlags(), o => o.Validate(),
                    hide: [nameof(QueryFlags.ResponseMin), nameof(QueryFlags.ResponseMax)])
                .AddLora()
                .Add(title, defaults, validate, hide: [nameof(GroupConfig.Divergence), nameof(GroupConfig.Temperature)])
                .Add("Divergence", new DivergenceConfig(), c => c.Validate(),
                    hide: [nameof(DivergenceConfig.NegativeKlLimit), nameof(DivergenceConfig.NegativeKlAction)])
                .Add("Sampling", new GenerationConfig(), c => c.Validate(), hide: nameof(GenerationConfig.MaxNewTokens))
                .AddTraining()
                .Check(PromptFlags.Problems)
                .Check(LoraFlags.WithoutDropout)
                .Check(s => s.Get<GroupFlags>().RefModel is not null && s.Get<TConfig>().Beta == 0
                    ? ["--ref-model has no use with --beta 0, which keeps no reference; set --beta, or leave it out."] : [])
                .Check(s => s.Get<DivergenceConfig>().KlLimit is not null && s.Get<TConfig>().Beta == 0
                    ? ["--kl-limit has no use with --beta 0, which keeps no reference; set --beta, or leave it out."] : []),
            context => Run(context, title, create),
            defaultConfig: command => RunFolder.ConfigOf(verb, command),
            // The model that ships comes with settings that suit it, however it is named.
            preset: settings => ModelFolders.ShippedSettings(settings.Get<GroupFlags>().Model, ModelFolders.ShippedGroupSettings))
        {
            ShippedSettings = () => ModelFolders.ShippedSettings(model: null, ModelFolders.ShippedGroupSettings),
            Shipped = new Dictionary<string, string>
            {
                ["model"] = ModelFolders.ShippedPolicy,
                ["reward"] = ModelFolders.ShippedReward,
                ["judge"] = ModelFolders.ShippedJudge,
                ["dataset"] = ModelFolders.ShippedQueries,
            },
        };

    private static int Run<TConfig>(VerbContext context, string title, Func<CausalLM, TConfig, Reference?, long, GroupTrainer> create)
        where TConfig : GroupConfig
    {
        var (options, screen, generation) = (context.Settings.Get<GroupFlags>(), context.Screen, context.Settings.Get<GenerationConfig>());
        var config = context.Settings.Get<TConfig>() with { Divergence = context.Settings.Get<DivergenceConfig>(), Temperature = generation.Temperature };
        generation = generation with { MaxNewTokens = config.MaxCompletionLength };
        var (dataset, lengths) = (QueryFlags.WithLessonFilter(context.Settings), context.Settings.Get<QueryFlags>());
        HubFlags.CheckPush(context);
        string policyFolder = ModelFolders.ResolveOrShipped(context, "--model", options.Model, ModelFolders.ShippedPolicy);
        string? refFolder = options.RefModel is { } named ? ModelFolders.Resolve(context, "--ref-model", named) : null;
        var rewards = RewardSet.Find(context, ModelFolders.ShippedReward);
        string? judgeFolder = options.Judge is not null || rewards.IsShipped(ModelFolders.ShippedReward)
            ? ModelFolders.Judge(context, options.Judge, rewardModel: null) : null;
        string source = context.Settings.Get<PromptFlags>().Prompts ?? QueryFlags.Source(dataset);

        var device = context.Settings.Get<ComputeFlags>().Start();
        var (shape, plan) = (LoraFlags.Shaped(context, ModelShape.Of(policyFolder)), context.Settings.Get<MemoryFlags>().On(device));
        var tokenizer = AutoTokenizer.FromPretrained(policyFolder);
        int perStep = config.BatchSize / config.NumGenerations;
        var (train, heldOut) = PromptFlags.Load(context, dataset, source, tokenizer, policyFolder,
            shape.MaxPositions - config.MaxCompletionLength, perStep, config.Seed);
        rewards.CheckColumns(train.Concat(heldOut), source);
        context.Settings.Get<ComputeFlags>().CheckMemory(LoraFlags.Sized(context, GroupMemory.Plan($"{title} on {policyFolder}", config, shape,
            refFolder is null ? null : ModelShape.Of(refFolder), [.. rewards.Folders.Concat(judgeFolder is null ? [] : [judgeFolder]).Select(ModelShape.Of)],
            new(train.Min(q => q.TokenIds.Length), train.Max(q => q.TokenIds.Length) + 1), plan), policyFolder, ownsReference: refFolder is null, samples: true), device);

        using var policy = AutoModelForCausalLM.FromPretrained(policyFolder, plan);
        LoraFlags.Attach(context, policy, policyFolder, config.Seed);
        LanguageModels.EndToken(policyFolder, policy, tokenizer);
        using var reward = rewards.Load(device);
        using var judge = judgeFolder is null ? null : Scorers.Judge(judgeFolder, device, context.Settings.Get<ScoringFlags>().RewardLabel);
        long steps = options.Steps ?? train.Length / perStep;
        using var refModel = refFolder is null ? null : LanguageModels.Reference(refFolder, policy, device);
        using var trainer = create(policy, config, refModel, steps);
        var run = new RolloutRun(trainer, new TextGenerator(policy), tokenizer, reward, train,
            new RolloutPlan(generation, AnswersPerQuery: config.NumGenerations) { ResampleRounds = options.ResampleRounds });
        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context, new Dictionary<string, object?>
        {
            [nameof(GroupFlags.Model)] = ModelFolders.PlaceOf(policyFolder),
            [nameof(ScoringFlags.Reward)] = rewards.Places,
            [nameof(GroupFlags.Judge)] = judgeFolder is null ? null : ModelFolders.PlaceOf(judgeFolder),
            [nameof(GroupFlags.Steps)] = steps,
            [nameof(DatasetFlags.LongerThan)] = dataset.LongerThan,
        });
        if (folder.SayIfFinished(screen))
            return ExitCode.Success;
        screen.Facts(title,
        [
            ("model", $"{ModelFolders.PlaceOf(policyFolder)}{(policy.Adapter is null ? "" : $", {LoraFlags.Describe(policy)}")}"),
            ("reference", config.Beta == 0 ? "none: beta is 0" : refFolder is null ? "the policy before training" : ModelFolders.PlaceOf(refFolder)),
            ("reward", rewards.Names),
            .. judge is null ? Array.Empty<(string, string)>() : [("judge", Scorers.Describe(judgeFolder!, judge))],
            ("prompts", $"{source}: {train.Length:N0} to train on, {heldOut.Length:N0} held out"),
            .. Plan(policy, config, steps, perStep),
            .. folder.Facts(context, device),
        ]);

        var template = ChatTemplates.TryOf(context.Settings.Get<PromptFlags>().ChatTemplate, policyFolder);
        var saved = new SavedModel((path, type) => policy.SavePretrained(path, type), tokenizer, template);
        var inputs = Fingerprint.OfRollouts(policyFolder, refFolder, judgeFolder, train, heldOut, ("--reward", rewards.Fingerprinted));
        var session = new CommandSession(context, folder, policyFolder, trainer, saved.Save, inputs);
        var report = new RolloutReport(context);
        session.Train("Aligning", steps, (display, sinks) => run.Train(steps, step =>
        {
            var statistics = (GroupStatistics)step.Statistics;
            report.Step(display, sinks, step, ("no signal", statistics.GroupsWithoutSignal), ("tokens", statistics.ResponseLengths.Average()));
            session.AfterStep(step.BadStepsInARow == 0, statistics.RewardMean);
        }, context.Stop));
        saved.Save(folder.Model, options.Storage);
        var evaluator = new PolicyEvaluator(tokenizer, heldOut, reward, judge) { Generation = generation, Seed = config.Seed };
        // What the policy was before training is the reference, unless that is another model or there is none.
        // A policy with its adapter off cannot answer beside the policy with it on.
        using var before = trainer.Reference is null or { IsPolicy: true } || refFolder is not null ? AutoModelForCausalLM.FromPretrained(policyFolder, plan) : null;
        var comparison = report.Compare(evaluator, before ?? trainer.Reference!.Model, policy);
        var bestOf = comparison is null ? null : report.BestOf(evaluator, before ?? trainer.Reference!.Model, lengths.EvalBestOf);
        report.Finish(folder, trainer.StepCount, session.Elapsed, comparison, Card(title, policyFolder, rewards, config, trainer.StepCount, policy),
            bestOf);
        session.Finish(comparison is not null);
        return HubFlags.Push(context, folder.Model);
    }

    private static IEnumerable<(string Name, string Value)> Plan(CausalLM policy, GroupConfig config, long steps, int perStep)
    {
        int miniBatches = (config.BatchSize + config.MiniBatchSize - 1) / config.MiniBatchSize;
        int updates = config.NumIterations * ((miniBatches + config.MiniBatchesPerUpdate - 1) / config.MiniBatchesPerUpdate);
        yield return ("plan", $"{Numbers.Count(steps, "step")} of {Numbers.Count(perStep, "prompt")}, {config.NumGenerations} answers each of at most "
            + $"{config.MaxCompletionLength} tokens");
        yield return ("", $"{Numbers.Count(updates, "update")} per step, {steps * updates:N0} in all");
        long all = policy.Parameters.Sum(p => p.Value.numel()), trained = policy.TrainedParameters.Where(p => p.Value.requires_grad).Sum(p => p.Value.numel());
        yield return ("parameters", $"{all:N0}, {(trained == all ? "all" : $"of which {trained:N0} are")} trained");
    }

    private static ModelCard Card(string title, string policyFolder, RewardSet rewards, GroupConfig config, long steps, CausalLM policy) => new(
        ModelFolders.NameOf(policyFolder) + ", aligned by " + title,
        $"A causal language model aligned to the reward {rewards.Names} with Rlhf (rlhf {title.ToLowerInvariant()}).")
    {
        Tags = [title.ToLowerInvariant(), "rlhf"],
        BaseModel = ModelFolders.BaseModelOf(policyFolder),
        Results = [new(title + " steps", $"{steps:N0}"), .. LoraFlags.Results(policy)],
        Settings =
        [
            new("learning rate", SettingValue.Format(config.LearningRate)),
            new("answers per step", SettingValue.Format(config.BatchSize)),
            new("answers per prompt", SettingValue.Format(config.NumGenerations)),
            new("KL coefficient", SettingValue.Format(config.Beta)),
            new("seed", SettingValue.Format(config.Seed)),
        ],
    };
}
