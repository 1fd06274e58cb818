using System.CommandLine;
using System.ComponentModel;
using System.Text;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Tokenizers;

namespace Rlhf.Cli.Verbs;

/// <summary>With whom to talk, and how.</summary>
internal sealed record ChatFlags
{
    [Description("Model folder, a run's folder, or a model of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("Chat template: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    [Description("The system message.")]
    [ValueName("TEXT")]
    public string? System { get; init; }

    [Description("Seed of the sampling.")]
    public long Seed { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Model is null) yield return $"Model {ModelFolders.Missing}";
    }
}

/// <summary><c>rlhf chat</c>: a conversation with a model in the terminal, or with messages from a pipe, one on each line.</summary>
internal static class ChatVerb
{
    private const string Hint = "/help lists what can be typed; Ctrl-C stops an answer, and Ctrl-D ends the conversation.";

    private static readonly (string Words, string Meaning)[] Typed =
    [
        ("/system TEXT", "Sets the system message and begins again; without TEXT there is none."),
        ("/reset", "Forgets what was said; the system message stays."),
        ("/help", "Lists these."),
        ("/quit", "Ends the conversation; so do /exit, /bye and Ctrl-D."),
        ("Ctrl-C", "Stops an answer, of which the conversation keeps what was written; at the prompt, ends the conversation."),
        ("//TEXT", "A message that begins with a slash."),
    ];

    public static Command Create() => new VerbCommand(
        "chat", "lets you talk with a chat model in the terminal.",
        [
            "rlhf chat --model runs/my-chat",
            "rlhf chat --model HuggingFaceTB/SmolLM2-135M-Instruct --system \"Be brief.\" --temperature 0.7",
            "rlhf chat --model runs/my-chat --chat-template chatml --json",
        ],
        new SettingsBinder()
            .Add("Chat", new ChatFlags(), o => o.Validate())
            .Add("Sampling", new GenerationConfig(), c => c.Validate())
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private))
            .AddMemoryToRead()
            .Add("Compute", new ComputeFlags(), o => o.Validate()),
        Run)
    { Typed = Typed };

    private static int Run(VerbContext context)
    {
        var flags = context.Settings.Get<ChatFlags>();
        string folder = ModelFolders.Resolve(context, "--model", flags.Model);
        var template = ChatTemplates.Of(flags.ChatTemplate, folder);
        var device = context.Settings.Get<ComputeFlags>().StartToRead(context.Settings.Get<MemoryFlags>(), $"Chatting with {folder}", folder);
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        using var model = AutoModelForCausalLM.FromPretrained(folder, context.Settings.Get<MemoryFlags>().On(device));
        LanguageModels.EndToken(folder, model, tokenizer);
        using var chat = new ChatCompleter(new TextCompleter(model, tokenizer), template) { LongHistory = LongHistory.DropOldest };
        var conversation = new Conversation(context, chat, flags);
        if (!Console.IsInputRedirected)
            context.Screen.Line($"[bold]{Screen.Safe(ModelFolders.PlaceOf(folder))}[/] [grey]{Screen.Safe(Hint)}[/]");
        using var lines = Console.IsInputRedirected
            ? new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false)) : Console.In;
        conversation.RunAsync(lines, isTerminal: !Console.IsInputRedirected).GetAwaiter().GetResult();
        if (context.Screen.Json)
            context.Screen.WriteJson(new { Messages = conversation.Messages.Select(m => new { m.Role, Content = m.Text }) });
        return ExitCode.Success;
    }

    /// <summary>Messages back and forth.</summary>
    private sealed class Conversation
    {
        private readonly VerbContext context;
        private readonly ChatCompleter chat;
        private readonly CompletionOptions options;
        private readonly int? most;
        private readonly TextWriter writer;
        private string? system;
        private IReadOnlyList<Tokenizers.Chat.ChatMessage> messages = [];
        private CancellationTokenSource? answering;
        private long answeredAt = -Late;
        private int turns;

        /// <summary>Ctrl-C within so many milliseconds after an answer was meant for the answer.</summary>
        private const long Late = 1000;

        public Conversation(VerbContext context, ChatCompleter chat, ChatFlags flags)
        {
            (this.context, this.chat, system) = (context, chat, flags.System);
            var sampling = context.Settings.Get<GenerationConfig>();
            most = context.Settings.IsGiven(nameof(GenerationConfig.MaxNewTokens)) ? sampling.MaxNewTokens : null;
            options = new() { Sampling = sampling, Seed = flags.Seed };
            writer = context.Screen.People?.Profile.Out.Writer ?? TextWriter.Null;
            Reset();
        }

        public IReadOnlyList<Tokenizers.Chat.ChatMessage> Messages => messages;

        /// <summary>Takes lines until they end, or /quit.</summary>
        /// <exception cref="Exception">From a pipe, whatever an answer fails with; a terminal shows it and continues.</exception>
        public async Task RunAsync(TextReader lines, bool isTerminal)
        {
            if (isTerminal)
                context.TakeInterrupts(Interrupted);
            while (!context.Stop.IsCancellationRequested)
            {
                if (isTerminal)
                    writer.Write("> ");
                if (lines.ReadLine() is not { } line)
                    break;
                if (line.Trim().Length == 0)
                    continue;
                if (line is ['/', not '/', ..])
                {
                    if (!Obey(line.Trim()))
                        break;
                    continue;
                }
                try
                {
                    await AnswerAsync(line.StartsWith("//", StringComparison.Ordinal) ? line[1..] : line);
                }
                catch (Exception e) when (isTerminal && e is (ArgumentException or Tokenizers.Chat.ChatTemplateException))
                {
                    context.Screen.Line($"[yellow]{Screen.Safe(e.Message)}[/]");
                }
            }
            context.Stop.ThrowIfCancellationRequested();
        }

        /// <summary>Ctrl-C stops an answer; at the prompt, it ends the conversation.</summary>
        private bool Interrupted()
        {
            if (answering is { } answer)
                answer.Cancel();
            else if (Environment.TickCount64 - answeredAt < Late)
                writer.Write("\nThe answer had ended; Ctrl-C once more ends the conversation.\n> ");
            else
            {
                writer.WriteLine();
                Environment.Exit(ExitCode.Interrupted);
            }
            return true;
        }

        /// <summary>Follows a command; false: it ends the conversation.</summary>
        private bool Obey(string line)
        {
            var (command, rest) = line.IndexOf(' ') is > 0 and var space ? (line[..space], line[space..].Trim()) : (line, "");
            switch (command)
            {
                case "/quit" or "/exit" or "/bye":
                    return false;
                case "/reset":
                    Reset();
                    context.Screen.Line("[grey]The conversation begins again.[/]");
                    break;
                case "/system":
                    system = rest.Length > 0 ? rest : null;
                    Reset();
                    context.Screen.Line($"[grey]The conversation begins again with {(system is null ? "no" : "another")} system message.[/]");
                    break;
                case "/help" or "/?":
                    foreach (var (words, meaning) in Typed)
                        context.Screen.Line($"  {Screen.Safe(words),-14}[grey]{Screen.Safe(meaning)}[/]");
                    break;
                default:
                    context.Screen.Line($"[grey]{Screen.Safe(command)} is no command; /help lists what can be typed. A message that begins with / is written with two.[/]");
                    break;
            }
            return true;
        }

        private void Reset() => (messages, turns) = (system is null ? [] : [new("system", system)], 0);

        private async Task AnswerAsync(string said)
        {
            var prompt = chat.Prepare([.. messages, new("user", said)], options with { Seed = unchecked(options.Seed + turns) }, most);
            int dropped = messages.Count + 1 - prompt.Messages.Count;
            if (dropped > 0)
                context.Screen.Line($"[grey]The conversation is longer than the model reads: its {dropped} oldest messages are left out.[/]");
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.Stop);
            answering = stop;
            var answer = new StringBuilder();
            try
            {
                await foreach (var piece in chat.Completer.StreamAsync(prompt.Ids, prompt.Options, stop.Token))
                {
                    answer.Append(piece.Text);
                    writer.Write(string.Join('\n', piece.Text.Split('\n').Select(Screen.Clean)));
                    writer.Flush();
                }
            }
            catch (OperationCanceledException) when (!context.Stop.IsCancellationRequested)
            {
                writer.Write(" [stopped]");
            }
            finally
            {
                answering = null;
                answeredAt = Environment.TickCount64;
                writer.WriteLine();
            }
            messages = [.. prompt.Messages, new("assistant", answer.ToString())];
            turns++;
        }
    }
}
