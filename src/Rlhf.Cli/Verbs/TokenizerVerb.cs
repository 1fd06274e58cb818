using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Tokenizers;

namespace Rlhf.Cli.Verbs;

/// <summary>Kinds of tokenizers that can be trained.</summary>
internal enum TokenizerKind
{
    Bpe,
    Wordpiece,
    Llama3,
    Qwen2,
}

/// <summary>What tokenizer to train.</summary>
internal sealed record TokenizerFlags
{
    [Description("bpe for GPT-2 (byte-level), wordpiece for BERT and DistilBERT, "
        + "llama3 or qwen2 for chat models of these families, with their special tokens and a chat template.")]
    public TokenizerKind Kind { get; init; }

    [Description("Tokens in all, special ones included.")]
    public int VocabSize { get; init; } = 8000;

    [Description("How often a pair must occur to become a token.")]
    public int MinFrequency { get; init; } = 2;

    [Description("Longest input, in tokens, of the model that it is for; default: no limit, 512 for wordpiece.")]
    public int? ModelMaxLength { get; init; }

    [Description("Seed of the choice of texts.")]
    public long Seed { get; init; }

    public IEnumerable<string> Validate()
    {
        if (VocabSize is < 1 or > 1_000_000) yield return $"VocabSize is {VocabSize}; it must be from 1 to 1000000.";
        if (MinFrequency < 1) yield return $"MinFrequency is {MinFrequency}; it must be at least 1.";
        if (ModelMaxLength < 1) yield return $"ModelMaxLength is {ModelMaxLength}; it must be at least 1, or left out.";
    }
}

/// <summary><c>rlhf tokenizer train</c>: a vocabulary learnt from texts.</summary>
internal static class TokenizerVerb
{
    public static Command Create()
    {
        var command = new Command("tokenizer", "makes tokenizers.");
        command.Add(new VerbCommand(
            "train", "learns a vocabulary from texts and writes files that transformers opens.",
            [
                "rlhf tokenizer train --dataset reviews.parquet --vocab-size 8000 --output my-tokenizer",
                "rlhf tokenizer train --kind wordpiece --dataset reviews.csv --output my-wordpiece",
                "rlhf tokenizer train --kind llama3 --dataset reviews.parquet --vocab-size 16000 --output my-llama-tokenizer",
            ],
            new SettingsBinder()
                .Add("Tokenizer", new TokenizerFlags(), o => o.Validate())
                .Add("Texts", new DatasetFlags(), o => o.Validate(), hide: nameof(DatasetFlags.LabelColumn))
                .Add("Output", new OutputFlags())
                .Check(DatasetFlags.Needed),
            Run));
        return command;
    }

    private static int Run(VerbContext context)
    {
        var options = context.Settings.Get<TokenizerFlags>();
        var data = context.Settings.Get<DatasetFlags>();
        string folder = context.Settings.Get<OutputFlags>().Required("tokenizer");

        var watch = Stopwatch.StartNew();
        var texts = data.Load(context, options.Seed).Select(r => r.Text).ToArray();
        context.Screen.Line($"Learning {options.VocabSize:N0} tokens from {texts.Length:N0} texts …");
        var tokenizer = Train(options, texts, context.Stop);
        tokenizer.SavePretrained(folder);
        Report(context.Screen, folder, tokenizer, texts, watch.Elapsed);
        return ExitCode.Success;
    }

    private static ITokenizer Train(TokenizerFlags options, string[] texts, CancellationToken stop)
    {
        int limit = options.ModelMaxLength ?? (options.Kind == TokenizerKind.Wordpiece ? 512 : int.MaxValue);
        return options.Kind switch
        {
            TokenizerKind.Wordpiece => WordPieceTrainer.Train(
                texts, options.VocabSize, minFrequency: options.MinFrequency, modelMaxLength: limit, cancellationToken: stop),
            TokenizerKind.Llama3 => ChatTokenizerTrainer.Train(
                texts, ChatTokenizerKind.Llama3, options.VocabSize, options.MinFrequency, limit, stop),
            TokenizerKind.Qwen2 => ChatTokenizerTrainer.Train(
                texts, ChatTokenizerKind.Qwen2, options.VocabSize, options.MinFrequency, limit, stop),
            _ => ByteLevelBpeTrainer.Train(
                texts, options.VocabSize, minFrequency: options.MinFrequency, modelMaxLength: limit, cancellationToken: stop),
        };
    }

    private static void Report(Screen screen, string folder, ITokenizer tokenizer, string[] texts, TimeSpan elapsed)
    {
        var sample = texts.Take(200).ToArray();
        int tokens = Math.Max(1, sample.Sum(t => tokenizer.OfContinuation(t).Length));
        double charactersPerToken = sample.Sum(t => (double)t.Length) / tokens;
        if (screen.Json)
            screen.WriteJson(new
            {
                TokenizerDir = folder,
                tokenizer.VocabSize,
                CharactersPerToken = charactersPerToken,
                Texts = texts.Length,
                Seconds = elapsed.TotalSeconds,
            });
        else
            screen.Facts(folder,
            [
                ("tokens", $"{tokenizer.VocabSize:N0}"), ("characters per token", ProgressDisplay.Number(charactersPerToken)),
                ("time", ProgressDisplay.Time(elapsed)),
            ]);
    }
}
