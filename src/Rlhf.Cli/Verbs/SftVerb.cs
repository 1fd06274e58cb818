using System.CommandLine;
using System.Globalization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Reports;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Tokenizers;
using Rlhf.Training.Loop;
using Rlhf.Training.Memory;
using Rlhf.Training.Sft;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf sft</c>: stage 1, a language model learns texts or completions.</summary>
internal static class SftVerb
{
    public static Command Create() => new VerbCommand(
        "sft", "fine-tunes a language model on texts, or on completions of prompts.",
        [
            "rlhf sft --model my-gpt2 --dataset imdb.parquet --batch-size 16 --learning-rate 5e-4 --output runs/my-sft",
            "rlhf sft --model gpt2 --dataset dialogues.jsonl --format completions",
            "rlhf sft --model my-gpt2 --dataset imdb.parquet --lora --lora-target-modules all-linear --learning-rate 1e-3",
            "rlhf sft --model HuggingFaceTB/SmolLM2-135M --dataset chats.jsonl --format conversations --chat-template chatml",
        ],
        new SettingsBinder()
            .Add("Model", new SftFlags(), o => o.Validate())
            .Add("Data", new DatasetFlags(), o => o.Validate(), hide: nameof(DatasetFlags.LabelColumn))
            .Add("Evaluation", new HeldOutFlags(), o => o.Validate())
            .Add("Training", new SftConfig(), c => c.Validate())
            .AddLora()
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
        // Recorded, so that a resumed or repeated run does not ask the columns again.
        options = options with { Format = SftData.FormatOf(context, options, data) };
        var device = context.Settings.Get<ComputeFlags>().Start();
        var (compute, size, plan) = (context.Settings.Get<ComputeFlags>(), LoraFlags.Shaped(context, ModelShape.Of(source)), context.Settings.Get<MemoryFlags>().On(device));
        string task = $"Fine-tuning {source}";
        compute.CheckMemory(LoraFlags.Sized(context, MemoryPlan.ForTraining(task, size, config.BatchSize, null, plan, predictsTokens: true), source, losesByToken: true), device);
        var tokenizer = AutoTokenizer.FromPretrained(source);
        using var model = AutoModelForCausalLM.FromPretrained(source, plan);
        LoraFlags.Attach(context, model, source, config.Seed);
        int length = config.LengthFor(model.MaxPositions);
        int end = LanguageModels.EndToken(source, model, tokenizer);

        var texts = SftData.Load(context, options, source, data, context.Settings.Get<HeldOutFlags>(), config, tokenizer, end, length);
        int[] longest = [.. texts.Train.Select(e => e.Ids.Length).OrderDescending().Take(config.BatchSize).DefaultIfEmpty(1)];
        compute.CheckMemory(LoraFlags.Sized(context, MemoryPlan.ForTraining(task, size, config.BatchSize, longest, plan, predictsTokens: true), source, losesByToken: true), device);
        long perStep = Math.Min(config.ExamplesPerStep, texts.Train.Count), steps = config.TotalSteps(texts.Train.Count);
        using var folder = RunFolder.Open(context);
        folder.WriteConfig(context, new Dictionary<string, object?> { [nameof(SftFlags.Format)] = options.Format });
        if (folder.SayIfFinished(screen))
            return ExitCode.Success;
        screen.Facts("Supervised fine-tuning",
        [
            ("model", $"{ModelFolders.PlaceOf(source)}, {LoraFlags.Describe(model)}"),
            (options.Format == TextFormat.Text ? "texts" : options.Format.ToString()!.ToLowerInvariant(), $"{texts.Texts:N0} to train on, {texts.HeldOutTexts:N0} held out"),
            ("tokens", $"{texts.Tokens:N0} in {Numbers.Count(texts.Train.Count, "sequence")}"),
            ("plan", $"{Numbers.Count(steps, "step")} of {Numbers.Count(perStep, "sequence")}, up to {perStep * length:N0} tokens each"),
            .. folder.Facts(context, device),
        ]);

        using var trainer = new SftTrainer(model, config);
        var template = options.Format == TextFormat.Conversations ? ChatTemplates.Of(options.ChatTemplate, source) : null;
        var saved = new SavedModel((path, type) => model.SavePretrained(path, type), tokenizer, template);
        var session = new CommandSession(context, folder, source, trainer, saved.Save, new Dictionary<string, string>
        {
            ["--model"] = Fingerprint.OfModel(source),
            ["--dataset"] = Fingerprint.OfExamples(texts.Train),
            [Fingerprint.HeldOut] = Fingerprint.OfExamples(texts.HeldOut),
        });
        var last = session.TrainOnExamples("Training", steps, report => trainer.Train(texts.Train, texts.HeldOut, report, context.Stop),
            state => [("perplexity", ProgressDisplay.Number(Math.Exp(state.Loss), 1))],
            evaluation => ("held-out perplexity", ProgressDisplay.Number(evaluation.Perplexity, 1)),
            evaluation => [new("eval/perplexity", evaluation.Perplexity)]);
        saved.Save(folder.Model, options.Storage);
        Finish(context, folder, source, config, last, model);
        session.Finish(last.Step >= steps);
        return HubFlags.Push(context, folder.Model);
    }

    private static void Finish(VerbContext context, RunFolder folder, string source, SftConfig config, TrainProgress last, CausalLM model)
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
        results.AddRange(LoraFlags.Results(model));
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
