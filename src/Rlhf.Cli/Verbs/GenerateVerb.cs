using System.CommandLine;
using System.ComponentModel;
using System.Text;
using System.Text.Json;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Cli.Verbs;

/// <summary>What to write.</summary>
internal sealed record GenerateFlags
{
    [Description("Model folder, or one of the Hub; default: the small review model that ships.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("File with one prompt per line.")]
    [ValueName("FILE")]
    [DataInput(IsFile = true)]
    public string? Prompts { get; init; }

    [Description("Responses per prompt.")]
    public int Samples { get; init; } = 1;

    [Description("Write JSON lines (prompt, response, text, tokens, ended) to a file instead of the screen.")]
    [ValueName("FILE")]
    public string? Save { get; init; }

    [Description("Prompts are what a user says: the model's chat template writes them, and the answer ends with the assistant's turn.")]
    public bool Chat { get; init; }

    [Description("The system message of --chat.")]
    [ValueName("TEXT")]
    public string? System { get; init; }

    [Description("Chat template for --chat: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    [Description("Seed of the sampling.")]
    public long Seed { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Samples < 1) yield return $"Samples is {Samples}; it must be at least 1.";
        if (!Chat && System is not null) yield return "System is for Chat.";
        if (!Chat && ChatTemplate is not null) yield return "ChatTemplate is for Chat.";
        if (Save is not null && Directory.Exists(Save))
            yield return $"Save is {Save}, which is a folder; name a file.";
        else if (Save is not null && !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(Save))))
            yield return $"Save is {Save}, whose folder is not there.";
    }
}

/// <summary><c>rlhf generate</c>: lets a model write.</summary>
internal static class GenerateVerb
{
    private const int RowsAtOnce = 256, MaximumPromptBytes = 16 << 20;

    private sealed record Sample(string Prompt, string Response, string Text, int Tokens, bool Ended);

    public static Command Create()
    {
        var prompts = new Argument<string[]>("prompt")
        {
            Arity = ArgumentArity.ZeroOrMore,
            Description = "Texts to continue; none: standard input, or a text from nothing.",
        };
        var command = new VerbCommand(
            "generate", "lets a model continue prompts.",
            [
                "rlhf generate \"This movie was\" --samples 3",
                "rlhf generate --model runs/my-chat --chat \"What is the capital of France?\"",
                "rlhf generate --model runs/my-sft --prompts beginnings.txt --temperature 0.7 --json",
            ],
            new SettingsBinder()
                .Add("Writing", new GenerateFlags(), o => o.Validate())
                .Add("Sampling", new GenerationConfig { MaxNewTokens = 40 }, c => c.Validate())
                .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private))
                .AddMemoryToRead()
                .Add("Compute", new ComputeFlags(), o => o.Validate()),
            context => Run(context, prompts));
        command.Add(prompts);
        return command;
    }

    private static int Run(VerbContext context, Argument<string[]> argument)
    {
        var options = context.Settings.Get<GenerateFlags>();
        var config = context.Settings.Get<GenerationConfig>();
        var screen = context.Screen;
        string folder = ModelFolders.ResolveOrShipped(context, "--model", options.Model, ModelFolders.ShippedPolicy);
        var prompts = Prompts(context.Command.GetValue(argument) ?? [], options.Prompts);
        var device = context.Settings.Get<ComputeFlags>().StartToRead(context.Settings.Get<MemoryFlags>(), $"Generating with {folder}", folder);
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        using var model = AutoModelForCausalLM.FromPretrained(folder, context.Settings.Get<MemoryFlags>().On(device));
        int end = LanguageModels.EndToken(folder, model, tokenizer);
        if (options.Chat)
        {
            Report(screen, options.Save, Answers(context, options, config, prompts,
                new ChatCompleter(new TextCompleter(model, tokenizer), ChatTemplates.Of(options.ChatTemplate, folder))), isChat: true);
            return ExitCode.Success;
        }
        int[][] encoded = Encode(prompts, tokenizer, end);
        RequireFit(prompts, encoded, config.MaxNewTokens, model.MaxPositions);
        var rows = prompts.SelectMany(p => Enumerable.Repeat(p, options.Samples)).ToArray();
        var queries = encoded.SelectMany(ids => Enumerable.Repeat(ids, options.Samples)).ToArray();
        var random = new RandomStream(options.Seed, "generate");
        var generator = new TextGenerator(model);
        var samples = new List<Sample>();
        void Write(ProgressDisplay? display)
        {
            foreach (var chunk in Enumerable.Range(0, rows.Length).Chunk(RowsAtOnce))
            {
                var result = generator.Generate([.. chunk.Select(r => queries[r])], config, null, random, chunk[0],
                    cancellation: context.Stop);
                for (int i = 0; i < chunk.Length; i++)
                {
                    string response = tokenizer.TextOfContinuation(result.Responses[i]);
                    string prompt = rows[chunk[i]];
                    samples.Add(new(prompt, response, prompt + response, result.Responses[i].Length, result.EndedByEos[i]));
                }
                display?.Report(samples.Count);
            }
        }
        if (rows.Length > RowsAtOnce)
            ProgressDisplay.Run(screen, "Writing", "text", rows.Length, display => { Write(display); return 0; });
        else
            Write(null);
        Report(screen, options.Save, samples);
        return ExitCode.Success;
    }

    /// <summary>Answers each prompt as the first message of a conversation.</summary>
    private static List<Sample> Answers(
        VerbContext context, GenerateFlags options, GenerationConfig config, string[] prompts, ChatCompleter chat)
    {
        ChatMessage[] system = options.System is { } text ? [new("system", text)] : [];
        ChatPrompt Prepare(string prompt, int number)
        {
            try
            {
                return chat.Prepare([.. system, new("user", prompt)], new() { Sampling = config, Seed = options.Seed },
                    context.Settings.IsGiven(nameof(GenerationConfig.MaxNewTokens)) ? config.MaxNewTokens : null);
            }
            catch (ChatTooLongException e)
            {
                throw new ConfigurationException([prompts.Length == 1 ? e.Message : $"Prompt {number}: {e.Message}"]);
            }
        }
        ChatPrompt[] asked = [.. prompts.Select((prompt, i) => Prepare(prompt, i + 1))];
        // One batch has one length: what all have room for.
        var how = asked.MinBy(a => a.Options.Sampling.MaxNewTokens)!.Options;
        int[] promptOf = [.. Enumerable.Range(0, prompts.Length * options.Samples).Select(r => r / options.Samples)];
        var samples = new List<Sample>();
        foreach (var chunk in promptOf.Index().Chunk(RowsAtOnce))
        {
            var written = chat.Completer.CompleteAllAsync([.. chunk.Select(row => asked[row.Item].Ids)],
                how with { Seed = unchecked(how.Seed + chunk[0].Index) }, context.Stop).GetAwaiter().GetResult();
            samples.AddRange(written.Zip(chunk, (answer, row) => new Sample(prompts[row.Item], answer.Text,
                chat.Completer.Tokenizer.Decode(asked[row.Item].Ids) + answer.Text, answer.CompletionTokens, answer.Finish == FinishReason.Stop)));
        }
        return samples;
    }

    internal static int[][] Encode(string[] prompts, ITokenizer tokenizer, int end) =>
        [.. prompts.Select(p => tokenizer.OfPrompt(p, otherwise: end))];

    /// <summary>Refuses prompts that leave the model too few positions, before anything is written.</summary>
    private static void RequireFit(string[] prompts, int[][] encoded, int newTokens, int positions)
    {
        int first = Array.FindIndex(encoded, ids => (long)ids.Length + newTokens > positions);
        if (first < 0)
            return;
        int others = encoded.Count(ids => (long)ids.Length + newTokens > positions) - 1;
        string which = prompts[first].Length == 0 ? "A text from nothing" : prompts.Length == 1 ? "The prompt"
            : $"Prompt {first + 1}, \"{SettingValue.Shorten(prompts[first])}\",";
        throw new ConfigurationException([$"{which} has {Numbers.Count(encoded[first].Length, "token")} and --max-new-tokens asks for "
            + $"{newTokens} more, but the model reads at most {positions}; shorten one of the two."
            + (others > 0 ? $" {Numbers.Count(others, "other prompt is", "other prompts are")} too long as well." : "")]);
    }

    private static string[] Prompts(string[] given, string? file)
    {
        if (given.Length > 0 && file is not null)
            throw new ConfigurationException(["Prompts are given both as arguments and with --prompts; use one of them."]);
        if (given.Length > 0)
            return given;
        if (file is null && !Console.IsInputRedirected)
            return [""];
        using var stream = file is null ? Console.OpenStandardInput() : RegularFile.OpenOrPiped(file);
        var bytes = new byte[MaximumPromptBytes + 1];
        int length = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        if (length > MaximumPromptBytes)
            throw new InvalidDataException($"The prompts are more than {MaximumPromptBytes >> 20} MiB; split them.");
        string text = Encoding.UTF8.GetString(bytes, 0, length).TrimStart('\uFEFF');
        string[] lines = [.. text.Split('\n').Select(l => l.TrimEnd('\r')).Where(l => l.Length > 0)];
        return lines.Length > 0 ? lines : file is null ? [""]
            : throw new ConfigurationException([$"--prompts {file} holds no prompt; write one on each line."]);
    }

    private static void Report(Screen screen, string? file, IReadOnlyList<Sample> samples, bool isChat = false)
    {
        if (file is not null)
        {
            var oneLine = new JsonSerializerOptions(Screen.JsonOptions) { WriteIndented = false };
            AtomicFile.WriteAllText(file, string.Concat(samples.Select(s => JsonSerializer.Serialize(s, oneLine) + "\n")));
            screen.Line($"{Numbers.Count(samples.Count, "text is", "texts are")} in {Screen.Safe(file)}.");
        }
        else if (screen.Json)
            screen.WriteJson(samples);
        else
            foreach (var sample in samples)
                screen.Line($"[grey]{Screen.Safe(sample.Prompt)}[/]{(isChat ? " " : "")}{Screen.Safe(sample.Response)}");
    }
}
