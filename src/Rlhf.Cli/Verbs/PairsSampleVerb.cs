using System.ComponentModel;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using Rlhf.Training.RewardModeling;

namespace Rlhf.Cli.Verbs;

/// <summary>Who answers what.</summary>
internal sealed record PairSampleFlags
{
    [Description("Language model after fine-tuning, a folder or one of the Hub; default: the small review model that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("Ready prompts instead of texts to cut: one per line, or JSONL, CSV or parquet with a column prompt or query.")]
    [ValueName("PATH")]
    [DataInput(OfTheHub = false)]
    public string? Prompts { get; init; }

    [Description("Chat template for prompts that are messages: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    [Description("Reward model that finds the best and the worst answer; only with --select best-worst.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? RewardModel { get; init; }

    [Description("Label whose logit is the reward; default: POSITIVE.")]
    [ValueName("NAME")]
    public string? RewardLabel { get; init; }

    [Description("File for the pairs: JSON lines with id, prompt, response_a and response_b.")]
    [ValueName("FILE")]
    public string? Out { get; init; }

    [Description("Replace the file if it is there.")]
    public bool Overwrite { get; init; }
}

/// <summary><c>rlhf pairs sample</c>: two different answers to each prompt, for somebody to compare.</summary>
internal static class PairsSampleVerb
{
    public static VerbCommand Create() => new(
        "sample", "lets a model answer each prompt and writes two different answers, to be compared.",
        [
            "rlhf pairs sample --out pairs.jsonl",
            "rlhf pairs sample --model runs/my-sft --dataset imdb/ --max-texts 5000 --out pairs.jsonl",
            "rlhf pairs sample --prompts prompts.txt --samples 4 --select best-worst --reward-model runs/my-reward "
                + "--out pairs.jsonl",
        ],
        new SettingsBinder()
            .Add("Files", new PairSampleFlags())
            .Add("Pairs", new PairSamplingConfig(), c => c.Validate())
            .Add("Texts to cut prompts from", new DatasetFlags(), o => o.Validate(), hide: nameof(DatasetFlags.LabelColumn))
            .Add("Lengths, and ppo's held-out queries, which are left out", new QueryFlags(), o => o.Validate(),
                hide: [nameof(QueryFlags.EvalSplit), nameof(QueryFlags.EvalBestOf)])
            .Add("Sampling", new GenerationConfig(), c => c.Validate(), hide: nameof(GenerationConfig.MaxNewTokens))
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private))
            .Add("Compute", new ComputeFlags(), o => o.Validate())
            .Check(Problems),
        Run);

    private static int Run(VerbContext context)
    {
        var (options, config) = (context.Settings.Get<PairSampleFlags>(), context.Settings.Get<PairSamplingConfig>());
        var (lengths, screen) = (context.Settings.Get<QueryFlags>(), context.Screen);
        string modelFolder = ModelFolders.ResolveOrShipped(context, "--model", options.Model, ModelFolders.ShippedPolicy);
        string? rewardFolder = config.Select == PairSelection.BestWorst
            ? ModelFolders.ResolveOrShipped(context, "--reward-model", options.RewardModel, ModelFolders.ShippedReward) : null;
        string file = PairsVerb.NewFile(options.Out, options.Overwrite);
        var device = context.Settings.Get<ComputeFlags>().StartToRead($"Sampling with {modelFolder}", modelFolder, rewardFolder);
        var tokenizer = AutoTokenizer.FromPretrained(modelFolder);
        var (source, prompts) = Prompts(context, tokenizer, ChatTemplates.TryOf(options.ChatTemplate, modelFolder));
        using var model = AutoModelForCausalLM.FromPretrained(modelFolder, device);
        LanguageModels.EndToken(modelFolder, model, tokenizer);
        using var scorer = rewardFolder is null ? null : AutoReward.FromPretrained(rewardFolder, device, options.RewardLabel);
        screen.Facts("Pairs",
        [
            ("model", modelFolder), ("prompts", $"{prompts.Count:N0} of {source}"),
            ("answers", $"{config.Samples} of each, {Selection(rewardFolder)}"),
            ("device", LanguageModels.DeviceName(device)),
        ]);

        var sampler = new PairSampler(model, tokenizer, config)
        {
            Generation = context.Settings.Get<GenerationConfig>(),
            ResponseLengths = lengths.ResponseLengths,
            Scorer = scorer,
            ModelName = ModelFolders.NameOf(modelFolder),
        };
        var sampled = ProgressDisplay.Run(screen, "Answering", "prompt", prompts.Count,
            display => sampler.Sample(prompts, done => display.Report(done), context.Stop));
        if (sampled.Pairs.Count == 0)
            throw new InvalidDataException("No prompt got two different answers, and no file was written; "
                + "raise --samples, --temperature or --response-max.");
        PairFile.Save(file, sampled.Pairs);
        if (screen.Json)
            screen.WriteJson(new
            {
                File = file,
                Prompts = prompts.Count,
                Pairs = sampled.Pairs.Count,
                sampled.PromptsWithoutPair,
                sampled.Repeated,
            });
        else
            screen.Facts(file,
            [
                ("pairs", $"{sampled.Pairs.Count:N0}"),
                ("prompts without two different answers", $"{sampled.PromptsWithoutPair:N0}"),
                ("pairs that came a second time", $"{sampled.Repeated:N0}"),
            ]);
        return ExitCode.Success;
    }

    private static IEnumerable<string> Problems(BoundSettings settings)
    {
        var options = settings.Get<PairSampleFlags>();
        if (options.Prompts is not null && settings.Get<DatasetFlags>().Dataset is not null)
            yield return "Prompts come from --prompts or are cut from --dataset; give one of the two.";
        string[] cutting =
        [
            nameof(DatasetFlags.TextColumn), nameof(DatasetFlags.LongerThan), nameof(DatasetFlags.LineBreaks),
            nameof(QueryFlags.QueryMin), nameof(QueryFlags.QueryMax), nameof(QueryFlags.EvalQueries),
        ];
        foreach (var name in cutting.Where(name => options.Prompts is not null && settings.IsGiven(name)))
            yield return settings.NameFlags(
                $"{name} is about texts to cut; prompts from --prompts are taken as they are.");
        if ((options.RewardModel ?? options.RewardLabel) is not null
            && settings.Get<PairSamplingConfig>().Select == PairSelection.Random)
            yield return "--reward-model and --reward-label belong to --select best-worst; two random answers need no reward.";
        foreach (var problem in PairsVerb.OutProblems(options.Out, options.Overwrite))
            yield return problem;
    }

    /// <summary>
    /// The prompts in an order drawn from the seed. Those that ppo with the same seed holds out for its evaluation are left out:
    /// the reward model must not have seen them.
    /// </summary>
    private static (string Source, IReadOnlyList<Query> Prompts) Prompts(
        VerbContext context, ITokenizer tokenizer, ChatTemplate? template)
    {
        var (options, seed) = (context.Settings.Get<PairSampleFlags>(), context.Settings.Get<PairSamplingConfig>().Seed);
        var (dataset, lengths) = (QueryFlags.WithLessonFilter(context.Settings), context.Settings.Get<QueryFlags>());
        if (options.Prompts is { } path)
        {
            var ready = QueryDataset.Load(path, tokenizer,
                new() { Split = dataset.Split, Limit = dataset.MaxTexts, ShuffleSeed = seed, Template = template });
            return ready.Count > 0 ? (path, ready) : throw new InvalidDataException($"{path} holds no prompt.");
        }
        string source = QueryFlags.Source(dataset);
        // Of what is left, this many: the held-out queries are the first of the same order, whatever its length.
        int? limit = dataset.MaxTexts is { } most ? (int)Math.Min(int.MaxValue, (long)most + lengths.EvalQueries) : null;
        var cut = lengths.Load(context, dataset with { MaxTexts = limit }, tokenizer, seed);
        if (cut.Count <= lengths.EvalQueries)
            throw new ConfigurationException([$"{source} gives {Numbers.Count(cut.Count, "prompt")}, no more than the "
                + $"{lengths.EvalQueries:N0} that are held out for ppo's evaluation; lower --eval-queries or name more data."]);
        return (source, [.. cut.Skip(lengths.EvalQueries)]);
    }

    private static string Selection(string? rewardFolder) =>
        rewardFolder is null ? "two at random" : $"the best and the worst by {rewardFolder}";
}
