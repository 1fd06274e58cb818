using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tracking;
using Rlhf.Training.Loop;
using Rlhf.Training.Memory;
using Rlhf.Training.Optimization;
using Rlhf.Training.Sft;
using TorchSharp;

namespace Rlhf.Cli.Verbs;

/// <summary>What a row of data is.</summary>
internal enum TextFormat
{
    Text,
    Completions,
    Conversations,
}

/// <summary>What to fine-tune, and what to hold out.</summary>
internal sealed record SftFlags
{
    [Description("Model to start from, with its tokenizer: a folder (rlhf init makes one) or one of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Model { get; init; }

    [Description("What a row of data is: a whole text, a prompt and its completion, or a conversation (messages, prompt and completion, "
        + "conversations, or instruction and output).")]
    public TextFormat Format { get; init; }

    [Description("Column of the prompt, for completions; default: prompt.")]
    [ValueName("NAME")]
    public string? PromptColumn { get; init; }

    [Description("Column of the completion; default: completion.")]
    [ValueName("NAME")]
    public string? CompletionColumn { get; init; }

    [Description("Chat template for conversations: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    public string? ChatTemplate { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Model is null) yield return $"Model {ModelFolders.Missing}";
        if (Format != TextFormat.Conversations && ChatTemplate is not null)
            yield return "ChatTemplate is for Format conversations.";
        if (Format != TextFormat.Completions && (PromptColumn ?? CompletionColumn) is not null)
            yield return "PromptColumn and CompletionColumn are read with Format completions only.";
    }
}

/// <summary><c>rlhf sft</c>: stage 1, a language model learns texts or completions.</summary>
internal static class SftVerb
{
    public static Command Create() => new VerbCommand(
        "sft", "fine-tunes a language model on texts, or on completions of prompts.",
        [
            "rlhf sft --model my-gpt2 --dataset imdb.parquet --batch-size 16 --learning-rate 5e-4 --output runs/my-sft",
            "rlhf sft --model gpt2 --dataset dialogues.jsonl --format completions",
            "rlhf sft --model HuggingFaceTB/SmolLM2-135M --dataset chats.jsonl --format conversations --chat-template chatml",
        ],
        new SettingsBinder()
            .Add("Model", new SftFlags(), o => o.Validate())
            .Add("Data", new DatasetFlags(), o => o.Validate(), hide: nameof(DatasetFlags.LabelColumn))
            .Add("Evaluation", new HeldOutFlags(), o => o.Validate())
            .Add("Training", new SftConfig(), c => c.Validate())
            .AddTraining()
            .Check(DatasetFlags.Needed),
        Run,
        defaultConfig: command => RunFolder.ConfigOf("sft", command));

    private static int Run(VerbContext context)
    {
        var options = context.Settings.Get<SftFlags>();
        var data = context.Settings.Get<DatasetFlags>();
        var config = context.Settings.Get<SftConfig>();
        var screen = context.Screen;
        HubFlags.CheckPush(context);
        string source = ModelFolders.Resolve(context, "--model", options.Model);
        var device = context.Settings.Get<ComputeFlags>().Start();
        var (compute, size) = (context.Settings.Get<ComputeFlags>(), ModelShape.Of(source));
        string task = $"Fine-tuning {source}";
        compute.CheckMemory(MemoryPlan.ForTraining(task, size, config.BatchSize, null, device, predictsTokens: true), device);
        var tokenizer = AutoTokenizer.FromPretrained(source);
        using var model = AutoModelForCausalLM.FromPretrained(source, device);
        int length = config.LengthFor(model.MaxPositions);
        int end = LanguageModels.EndToken(source, model, tokenizer);

        var texts = SftData.Load(context, options, source, data, context.Settings.Get<HeldOutFlags>(), config, tokenizer, end, length);
        int[] longest = [.. texts.Train.Select(e => e.Ids.Length).OrderDescending().Take(config.BatchSize).DefaultIfEmpty(1)];
        compute.CheckMemory(MemoryPlan.ForTraining(task, size, config.BatchSize, longest, device, predictsTokens: true), device);
        long perStep = Math.Min(config.ExamplesPerStep, texts.Train.Count), steps = config.TotalSteps(texts.Train.Count);
        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context);
        if (folder.SayIfFinished(screen))
            return ExitCode.Success;
        screen.Facts("Supervised fine-tuning",
        [
            ("model", $"{ModelFolders.PlaceOf(source)}, {model.Parameters.ElementCount:N0} parameters, all trained"),
            ("texts", $"{texts.Texts:N0} to train on, {texts.HeldOutTexts:N0} held out"),
            ("tokens", $"{texts.Tokens:N0} in {Numbers.Count(texts.Train.Count, "sequence")}"),
            ("plan", $"{Numbers.Count(steps, "step")} of {Numbers.Count(perStep, "sequence")}, up to {perStep * length:N0} tokens each"),
            .. context.SettingsFacts(),
            ("device", LanguageModels.DeviceName(device)),
            ("output", folder.Path),
        ]);

        using var trainer = new SftTrainer(model, config);
        var template = options.Format == TextFormat.Conversations ? ChatTemplates.Of(options.ChatTemplate, source) : null;
        void SaveAs(string path, torch.ScalarType? storage)
        {
            model.SavePretrained(path, storage);
            tokenizer.SavePretrained(path);
            template?.Save(path);
        }
        var session = new CommandSession(context, folder, source, trainer, path => SaveAs(path, null), new Dictionary<string, string>
        {
            ["--model"] = Fingerprint.OfModel(source),
            ["--dataset"] = Fingerprint.OfExamples(texts.Train),
            [Fingerprint.HeldOut] = Fingerprint.OfExamples(texts.HeldOut),
        });
        var last = session.Train("Training", steps, (display, sinks) =>
            trainer.Train(texts.Train, texts.HeldOut, state =>
            {
                TrainingReport.Log(context, sinks, state.Step, state.Warning);
                Report(display, sinks, state);
                TrainingReport.Warn(context, state.Warning);
                session.AfterStep(state.BadStepsInARow == 0, -state.Evaluation?.Loss);
            }, context.Stop));
        SaveAs(folder.Model, options.Storage.ToScalarType());
        Finish(context, folder, source, config, last);
        session.Finish(last.Step >= steps);
        return HubFlags.Push(context, folder.Model);
    }

    private static void Report(ProgressDisplay display, IMetricSink sinks, TrainProgress state)
    {
        var scalars = new Dictionary<string, double>(state.Scalars());
        if (state.Evaluation is { } evaluation)
            scalars["eval/perplexity"] = evaluation.Perplexity;
        sinks.Write(new MetricRecord(state.Step, DateTimeOffset.UtcNow, scalars));
        List<(string, string)> shown =
        [
            ("loss", ProgressDisplay.Number(state.Loss, 3)), ("perplexity", ProgressDisplay.Number(Math.Exp(state.Loss), 1)),
            ("tokens/s", ProgressDisplay.Number(state.TokensPerSecond, 0)),
        ];
        if (state.Evaluation?.Perplexity is { } perplexity)
            shown.Add(("held-out perplexity", ProgressDisplay.Number(perplexity, 1)));
        display.Report(state.Step, [.. shown]);
    }

    private static void Finish(VerbContext context, RunFolder folder, string source, SftConfig config, TrainProgress last)
    {
        var summary = new
        {
            Steps = last.Step,
            Seconds = last.Elapsed.TotalSeconds,
            last.Tokens,
            last.Loss,
            EvalLoss = last.Evaluation?.Loss,
            EvalPerplexity = last.Evaluation?.Perplexity,
            ModelDir = folder.Model,
        };
        List<KeyValuePair<string, string>> results =
        [
            new("steps", last.Step.ToString("N0", CultureInfo.InvariantCulture)),
            new("tokens", last.Tokens.ToString("N0", CultureInfo.InvariantCulture)),
            new("training loss of the last step (nats per token)", ProgressDisplay.Number(last.Loss, 4)),
        ];
        if (last.Evaluation?.Perplexity is { } perplexity)
            results.Add(new("perplexity on held-out text", ProgressDisplay.Number(perplexity, 2)));
        var card = new ModelCard(ModelFolders.NameOf(source) + ", fine-tuned",
            "A causal language model after supervised fine-tuning with Rlhf (rlhf sft).")
        {
            PipelineTag = "text-generation",
            Tags = ["sft", "rlhf"],
            BaseModel = ModelFolders.BaseModelOf(source),
            Results = results,
        };
        TrainingReport.Write(context, folder, summary, card, config.LearningRate, config.BatchSize, config.Seed, last.Elapsed);
    }
}
