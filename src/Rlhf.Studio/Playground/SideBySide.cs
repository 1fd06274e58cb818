using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Studio.Playground;

/// <summary>What is asked of the two models.</summary>
/// <param name="Prompt">The beginning of a text; empty: from nothing.</param>
/// <param name="Models">The models.</param>
/// <param name="Sampling">How tokens are chosen.</param>
/// <param name="Seed">Both models draw the same random numbers, so that they differ where their distributions do.</param>
public sealed record Question(string Prompt, ModelChoice Models, GenerationConfig Sampling, long Seed);

/// <summary>What the two models are to answer as assistants, each in its own chat template.</summary>
/// <param name="Base">The conversation with the base model, in which the user spoke last.</param>
/// <param name="Aligned">The conversation with the aligned model, in which the user spoke last.</param>
/// <param name="Models">The models.</param>
/// <param name="Sampling">How tokens are chosen. An answer has at most half of the positions that a model has, whatever length this asks for.</param>
/// <param name="Seed">Both models draw the same random numbers.</param>
public sealed record ChatQuestion(
    IReadOnlyList<ChatMessage> Base, IReadOnlyList<ChatMessage> Aligned, ModelChoice Models, GenerationConfig Sampling, long Seed);

/// <summary>Lets two models answer the same beginning or message, token by token in turns.</summary>
public sealed class SideBySide(ModelShelf shelf, StudioOptions options)
{
    private const string GiveTemplate = "Give one to models without: rlhf studio --chat-template chatml";

    /// <summary>Continues a text; the events come as they happen.</summary>
    /// <param name="question">What is asked.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <exception cref="ConfigurationException">A setting is impossible.</exception>
    /// <exception cref="InvalidDataException">A model cannot be read, or the two do not fit together.</exception>
    public IAsyncEnumerable<AnswerEvent> Answer(Question question, CancellationToken cancellation = default) =>
        Events(question.Models, question.Sampling, question.Seed, Begin(question), cancellation);

    /// <summary>Answers a message in two conversations; the events come as they happen.</summary>
    /// <param name="question">What is asked.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <exception cref="ConfigurationException">A setting is impossible.</exception>
    /// <exception cref="InvalidDataException">A model cannot be read, or has no chat template.</exception>
    /// <exception cref="ChatTemplateException">A template refuses the conversation.</exception>
    /// <exception cref="ChatTooLongException">The last message leaves no room for an answer.</exception>
    public IAsyncEnumerable<AnswerEvent> Answer(ChatQuestion question, CancellationToken cancellation = default) =>
        Events(question.Models, question.Sampling, question.Seed, BeginChat(question), cancellation);

    /// <summary>Why the models of a choice cannot chat, and what to do about it, in one or two sentences; null: they can.</summary>
    public string? WhyNoChat(ModelChoice models)
    {
        if (models.Base is null)
            return $"Chat needs the model that {models.Title} began with, which is not known here. Name it: rlhf studio --base-model DIR";
        try
        {
            string[] without = [.. new[] { (models.BaseTitle, Folder: models.Base), (models.Title, Folder: models.Aligned) }
                .Where(m => shelf.TemplateOf(m.Folder) is null).Select(m => m.Item1).Distinct()];
            return without.Length == 0 ? null
                : $"Chat needs models with a chat template, and {string.Join(" and ", without)} {(without.Length == 1 ? "has" : "have")} none. "
                    + GiveTemplate;
        }
        catch (Exception e) when (e is ChatTemplateException or InvalidDataException or IOException)
        {
            return $"No chat: {e.Message}";
        }
    }

    private async IAsyncEnumerable<AnswerEvent> Events(ModelChoice models, GenerationConfig sampling, long seed, Beginner begin,
        [EnumeratorCancellation] CancellationToken cancellation)
    {
        ConfigurationException.ThrowIfAny([.. sampling.Validate()]);
        var events = Channel.CreateUnbounded<AnswerEvent>(new() { SingleReader = true, SingleWriter = true });
        using var leaving = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var writing = WriteInTurn(models, new(seed, "playground"), begin, events.Writer, leaving.Token);
        try
        {
            await foreach (var happened in events.Reader.ReadAllAsync(cancellation))
                yield return happened;
        }
        finally
        {
            await leaving.CancelAsync();
            await writing;
        }
    }

    private async Task WriteInTurn(
        ModelChoice models, RandomStream random, Beginner begin, ChannelWriter<AnswerEvent> events, CancellationToken cancellation)
    {
        try
        {
            var taking = shelf.TakeAsync(cancellation);
            if (!taking.IsCompleted)
                events.TryWrite(new Waiting("Another answer is being written; this one is next."));
            using var turn = await taking;
            // libtorch keeps much per thread: one thread writes both answers.
            await Task.Run(() => WriteBoth(models, random, begin, events, cancellation), CancellationToken.None);
            events.Complete();
        }
        catch (Exception problem)
        {
            events.Complete(problem);
        }
    }

    private void WriteBoth(
        ModelChoice models, RandomStream random, Beginner begin, ChannelWriter<AnswerEvent> events, CancellationToken cancellation)
    {
        string baseFolder = models.Base ?? throw new InvalidDataException(
            "What this run began with is neither in the runs folder nor the shipped model. Name it: rlhf studio --base-model DIR");
        if (!shelf.Has(baseFolder) || !shelf.Has(models.Aligned))
            events.TryWrite(new Waiting("Loading the models …"));
        var (before, loanOfBefore) = shelf.Lend(baseFolder);
        using var first = loanOfBefore;
        var (after, loanOfAfter) = shelf.Lend(models.Aligned);
        using var second = loanOfAfter;
        bool isScored = before.Model.VocabSize == after.Model.VocabSize;
        var beginnings = begin(models, before, after, events);
        OneAnswer[] answers =
        [
            new(Side.Base, before, beginnings[0], random, isScored ? after.Model : null),
            new(Side.Aligned, after, beginnings[1], random, isScored ? before.Model : null),
        ];
        try
        {
            for (bool more = true; more;)
            {
                more = false;
                foreach (var answer in answers)
                {
                    cancellation.ThrowIfCancellationRequested();
                    if (answer.Next() is { } token)
                        more = events.TryWrite(token);
                }
            }
        }
        finally
        {
            foreach (var answer in answers)
                answer.Dispose();
        }
        foreach (var (answer, beginning) in answers.Zip(beginnings))
        {
            cancellation.ThrowIfCancellationRequested();
            var completion = beginning.Completion with { Response = answer.Text };
            events.TryWrite(new Answered(answer.Side, answer.Tokens, answer.LogRatio,
                Score(options.RewardModel, completion), Score(options.Judge, completion)));
        }
    }

    /// <summary>What each of the two models continues, the base model first.</summary>
    private delegate Beginning[] Beginner(ModelChoice models, LoadedModel before, LoadedModel after, ChannelWriter<AnswerEvent> events);

    /// <param name="Ids">Token ids.</param>
    /// <param name="Options">How tokens are chosen, and what ends the answer besides the model's end tokens.</param>
    /// <param name="Completion">What a reward scores, without the answer.</param>
    private sealed record Beginning(int[] Ids, CompletionOptions Options, Completion Completion);

    private static Beginner Begin(Question question) => (models, before, after, _) =>
    {
        if (before.Model.VocabSize != after.Model.VocabSize)
            throw new InvalidDataException(
                $"{models.BaseTitle} has {before.Model.VocabSize:N0} tokens and {models.Title} "
                + $"{after.Model.VocabSize:N0}: one did not come from the other. Name the right one: rlhf studio --base-model DIR");
        Beginning both = new(Query(question.Prompt, after.Tokenizer, question.Sampling.MaxNewTokens, after.Model.MaxPositions),
            new() { Sampling = question.Sampling }, new(question.Prompt, ""));
        return [both, both];
    };

    private static Beginner BeginChat(ChatQuestion question) => (models, before, after, events) =>
    {
        return [Of(Side.Base, before, models.BaseTitle, question.Base), Of(Side.Aligned, after, models.Title, question.Aligned)];

        Beginning Of(Side side, LoadedModel loaded, string title, IReadOnlyList<ChatMessage> messages)
        {
            var template = loaded.Template
                ?? throw new InvalidDataException($"{title} has no chat template. {GiveTemplate}");
            using var chat = new ChatCompleter(new(loaded.Model, loaded.Tokenizer), template) { LongHistory = LongHistory.DropOldest };
            int most = Math.Min(question.Sampling.MaxNewTokens, Math.Max(1, loaded.Model.MaxPositions / 2));
            var prompt = chat.Prepare(messages, new() { Sampling = question.Sampling }, most);
            if (messages.Count > prompt.Messages.Count)
                events.TryWrite(new Forgotten(side, messages.Count - prompt.Messages.Count));
            return new(prompt.Ids, prompt.Options, new(loaded.Tokenizer.TextOfPrompt(prompt.Ids), "") { Messages = prompt.Messages });
        }
    };

    /// <summary>Token ids of a beginning; one that leaves no room for the answer is refused.</summary>
    internal static int[] Query(string prompt, ITokenizer tokenizer, int length, int mostPositions)
    {
        int[] ids = tokenizer.OfPrompt(prompt, tokenizer.StartOfText() ?? 0);
        return ids.Length + length <= mostPositions ? ids : throw new InvalidDataException(
            $"The beginning has {Numbers.Count(ids.Length, "token")} and the answer may have {length}, but the model reads {mostPositions}. "
                + "Shorten one of them.");
    }

    private float? Score(string? folder, Completion completion) =>
        folder is null || completion.Text.Trim().Length == 0 ? null : shelf.Reward(folder).Score([completion])[0];

    private sealed class OneAnswer : IDisposable
    {
        private readonly Side side;
        private readonly GrowingText written;
        private readonly HashSet<int> ends;
        private readonly int most;
        private readonly PendingText pending;
        private readonly IEnumerator<(int Id, double? LogRatio)> tokens;
        private string whole = "";
        private bool isOver;

        public OneAnswer(Side side, LoadedModel loaded, Beginning beginning, RandomStream random, CausalLM? other)
        {
            (this.side, written, most) = (side, new(loaded.Tokenizer), beginning.Options.Sampling.MaxNewTokens);
            ends = [.. loaded.Model.EosTokenIds, .. beginning.Options.StopTokenIds];
            pending = new(beginning.Options.Stop);
            LogRatio = other is null ? null : 0;
            var generator = new TextGenerator(loaded.Model) { StopTokenIds = beginning.Options.StopTokenIds };
            double sign = side == Side.Aligned ? 1 : -1;
            tokens = (other is null
                ? generator.Stream(beginning.Ids, beginning.Options.Sampling, random).Select(id => (id, (double?)null))
                : generator.StreamScored(beginning.Ids, beginning.Options.Sampling, random, other).Select(t => (t.Id, (double?)(sign * t.LogRatio))))
                .GetEnumerator();
        }

        public Side Side => side;

        public string Text { get; private set; } = "";

        public int Tokens { get; private set; }

        public double? LogRatio { get; private set; }

        public TokenChosen? Next()
        {
            if (isOver || !tokens.MoveNext())
                return null;
            var (id, ratio) = tokens.Current;
            (Tokens, LogRatio) = (Tokens + 1, LogRatio + ratio);
            bool isEnd = ends.Contains(id);
            if (!isEnd)
                whole = written.Add(id);
            // A token may end within a character, or begin a text that ends the answer: then it waits for the rest.
            string added = pending.Add(whole, isWhole: isEnd || Tokens == most, out isOver);
            Text += added;
            return new(side, added, ratio);
        }

        public void Dispose() => tokens.Dispose();
    }
}
