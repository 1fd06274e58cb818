using System.CommandLine;
using System.ComponentModel;
using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Rewards;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Tokenizers;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf best-of</c>: n answers, a reward, the best kept.</summary>
internal static class BestOfVerb
{
    public static Command Create() => new VerbCommand(
        "best-of", "answers each prompt several times and keeps the answer with the highest reward: a baseline, and data for fine-tuning.",
        [
            "rlhf best-of --model runs/my-sft --prompts sums.jsonl --reward number-match:answer --answers 16",
            "rlhf best-of --model runs/my-chat --prompts chats.jsonl --reward runs/my-reward --save best.jsonl",
            "rlhf best-of --model runs/my-sft --prompts sums.jsonl --reward number-match:answer --min-reward 1 --save right.jsonl",
        ],
        new SettingsBinder()
            .Add("Answers", new BestOfFlags(), o => o.Validate())
            .Add("Reward", new ScoringFlags(), o => o.Validate())
            .Add("Sampling", new GenerationConfig { MaxNewTokens = 64 }, c => c.Validate())
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private))
            .Add("Compute", new ComputeFlags(), o => o.Validate())
            .Check(s => s.Get<BestOfFlags>().Prompts is null ? ["--prompts is missing; name a file of prompts."] : []),
        Run);

    private static int Run(VerbContext context)
    {
        var (options, config, screen) = (context.Settings.Get<BestOfFlags>(), context.Settings.Get<GenerationConfig>(), context.Screen);
        string folder = ModelFolders.ResolveOrShipped(context, "--model", options.Model, ModelFolders.ShippedPolicy);
        var rewards = RewardSet.Find(context, shipped: null);
        var device = context.Settings.Get<ComputeFlags>().StartToRead($"Answering with {folder}", [folder, .. rewards.Folders]);
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        using var model = AutoModelForCausalLM.FromPretrained(folder, device);
        LanguageModels.EndToken(folder, model, tokenizer);
        var queries = new PromptFlags { ChatTemplate = options.ChatTemplate }.Whole(context, options.Prompts!,
            new DatasetFlags { Split = options.Split, MaxTexts = options.MaxPrompts }, tokenizer, folder, model.MaxPositions - config.MaxNewTokens, options.Seed);
        if (queries.Count == 0)
            throw new ConfigurationException([$"--prompts {options.Prompts} holds no prompt that can be answered."]);
        rewards.CheckColumns(queries, options.Prompts!);
        using var reward = rewards.Load(device);

        screen.Facts("Best of " + options.Answers,
        [
            ("model", ModelFolders.PlaceOf(folder)), ("reward", rewards.Names), ("prompts", $"{options.Prompts}: {queries.Count:N0}"),
            ("device", LanguageModels.DeviceName(device)),
        ]);
        var sampler = new BestOfN(model, tokenizer, reward) { Answers = options.Answers, Generation = config, BatchSize = options.BatchSize, Seed = options.Seed };
        List<RankedAnswers> all = [];
        ProgressDisplay.Run(screen, "Answering", "prompt", queries.Count, display =>
        {
            foreach (var ranked in sampler.Sample(queries, context.Stop))
            {
                all.Add(ranked);
                display.Report(all.Count, ("best", ProgressDisplay.Number(all.Average(r => (double)r.BestReward))));
            }
            return 0;
        });
        Report(context, options, all);
        return ExitCode.Success;
    }

    private static void Report(VerbContext context, BestOfFlags options, List<RankedAnswers> all)
    {
        var screen = context.Screen;
        RankedAnswers[] kept = [.. all.Where(r => options.MinReward is not { } least || r.BestReward >= least)];
        if (options.Save is { } file)
            AtomicFile.WriteAllText(file, string.Concat(kept.Select(r => Line(r) + "\n")));
        var single = SampleStatistics.Of([.. all.Select(r => r.MeanReward)], options.Seed);
        var best = SampleStatistics.Of([.. all.Select(r => (double)r.BestReward)], options.Seed);
        var gain = SampleStatistics.Of([.. all.Select(r => r.BestReward - r.MeanReward)], options.Seed);
        double withoutSignal = all.Average(r => r.Rewards.Max() == r.Rewards.Min() ? 1.0 : 0.0);
        if (screen.Json)
        {
            screen.WriteJson(new
            {
                Prompts = all.Count,
                options.Answers,
                RewardSingle = single.Mean,
                RewardBest = best.Mean,
                RewardBestCi95 = new[] { best.MeanCi95.Low, best.MeanCi95.High },
                Gain = gain.Mean,
                PromptsWithoutSignal = withoutSignal,
                Kept = kept.Length,
                options.Save,
            });
            return;
        }
        string Mean(SampleStatistics s) => $"{ProgressDisplay.Number(s.Mean)} ({ProgressDisplay.Number(s.MeanCi95.Low)} to {ProgressDisplay.Number(s.MeanCi95.High)})";
        screen.Facts("Done",
        [
            ("reward of a single answer, mean (95 % interval)", Mean(single)), ($"reward of the best of {options.Answers}", Mean(best)), ("gain", Mean(gain)),
            ("prompts whose answers all score the same", $"{withoutSignal:P0}"),
            .. options.Save is null ? Array.Empty<(string, string)>()
                : [("kept", $"{Numbers.Count(kept.Length, "answer")} in {options.Save}, for rlhf sft --format {(kept is [{ Query.Messages: not null }, ..] ? "conversations" : "completions")}")],
        ]);
    }

    /// <summary>A row for fine-tuning: the other columns stay.</summary>
    private static string Line(RankedAnswers ranked)
    {
        var line = new JsonObject();
        if (CompletionJson.Messages(ranked.Best) is { } messages)
        {
            messages.Add((JsonNode)new JsonObject { ["role"] = "assistant", ["content"] = ranked.Best.Response });
            line["messages"] = messages;
        }
        else
            (line["prompt"], line["completion"]) = (ranked.Query.Text, ranked.Best.Response);
        foreach (var (name, value) in ranked.Query.Fields)
            if (!line.ContainsKey(name))
                line[name] = value is JsonNode node ? node.DeepClone() : JsonSerializer.SerializeToNode(value);
        (line["reward"], line["mean_reward"]) = (ranked.BestReward, ranked.MeanReward);
        return line.ToJsonString(new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
    }
}
