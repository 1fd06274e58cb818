using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Rlhf.Generation;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;

namespace Rlhf.Studio.Playground;

/// <summary>What is asked of the two models.</summary>
/// <param name="Prompt">The beginning of a text; empty: from nothing.</param>
/// <param name="Models">The models.</param>
/// <param name="Sampling">How tokens are chosen.</param>
/// <param name="Seed">Both models draw the same random numbers, so that they differ where their distributions do.</param>
public sealed record Question(string Prompt, ModelChoice Models, GenerationConfig Sampling, long Seed);

/// <summary>Which model answers.</summary>
public enum Side
{
    /// <summary>The one that training began with.</summary>
    Base,

    /// <summary>The one that training made.</summary>
    Aligned,
}

/// <summary>Something that happens while the models answer.</summary>
public abstract record AnswerEvent;

/// <summary>What is waited for.</summary>
/// <param name="Text">One sentence.</param>
public sealed record Waiting(string Text) : AnswerEvent;

/// <summary>A token was chosen.</summary>
/// <param name="Side">By which model.</param>
/// <param name="Text">Its text; empty for a token that ends the text or is part of a character.</param>
/// <param name="LogRatio">ln of its probability under the aligned model over that under the base model.</param>
public sealed record TokenChosen(Side Side, string Text, double LogRatio) : AnswerEvent;

/// <summary>An answer is whole.</summary>
/// <param name="Side">Whose.</param>
/// <param name="Tokens">How many tokens it has.</param>
/// <param name="LogRatio">Sum over its tokens: how much likelier the aligned model finds it than the base model.</param>
/// <param name="Reward">Its reward, or null.</param>
/// <param name="Judge">The second scorer's score, or null.</param>
public sealed record Answered(Side Side, int Tokens, double LogRatio, float? Reward, float? Judge) : AnswerEvent;

/// <summary>Lets two models answer the same beginning, token by token in turns.</summary>
public sealed class SideBySide(ModelShelf shelf, StudioOptions options)
{
    /// <summary>Answers; the events come as they happen.</summary>
    /// <param name="question">What is asked.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <exception cref="ConfigurationException">A setting is impossible.</exception>
    /// <exception cref="InvalidDataException">A model cannot be read, or the two do not fit together.</exception>
    public async IAsyncEnumerable<AnswerEvent> Answer(
        Question question, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        ConfigurationException.ThrowIfAny([.. question.Sampling.Validate()]);
        var events = Channel.CreateUnbounded<AnswerEvent>(new() { SingleReader = true, SingleWriter = true });
        using var leaving = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var writing = WriteInTurn(question, events.Writer, leaving.Token);
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

    private async Task WriteInTurn(Question question, ChannelWriter<AnswerEvent> events, CancellationToken cancellation)
    {
        try
        {
            var taking = shelf.TakeAsync(cancellation);
            if (!taking.IsCompleted)
                events.TryWrite(new Waiting("Another answer is being written; this one is next."));
            using var turn = await taking;
            // libtorch keeps much per thread: one thread writes both answers.
            await Task.Run(() => WriteBoth(question, events, cancellation), CancellationToken.None);
            events.Complete();
        }
        catch (Exception problem)
        {
            events.Complete(problem);
        }
    }

    private void WriteBoth(Question question, ChannelWriter<AnswerEvent> events, CancellationToken cancellation)
    {
        string baseFolder = question.Models.Base ?? throw new InvalidDataException(
            "What this run began with is neither in the runs folder nor the shipped model. Name it: rlhf studio --base-model DIR");
        if (!shelf.Has(baseFolder) || !shelf.Has(question.Models.Aligned))
            events.TryWrite(new Waiting("Loading the models …"));
        var (before, after) = (shelf.Model(baseFolder), shelf.Model(question.Models.Aligned));
        if (before.Model.VocabSize != after.Model.VocabSize)
            throw new InvalidDataException(
                $"{question.Models.BaseTitle} has {before.Model.VocabSize:N0} tokens and {question.Models.Title} "
                + $"{after.Model.VocabSize:N0}: one did not come from the other. Name the right one: rlhf studio --base-model DIR");
        int[] query = Query(question.Prompt, after.Tokenizer, question.Sampling.MaxNewTokens, after.Model.MaxPositions);
        var random = new RandomStream(question.Seed, "playground");
        var sampling = question.Sampling;
        var answers = new[]
        {
            new OneAnswer(Side.Base, before.Tokenizer, before.Model.EosTokenIds,
                new TextGenerator(before.Model).StreamScored(query, sampling, random, after.Model)),
            new OneAnswer(Side.Aligned, after.Tokenizer, after.Model.EosTokenIds,
                new TextGenerator(after.Model).StreamScored(query, sampling, random, before.Model)),
        };
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
        foreach (var answer in answers)
        {
            cancellation.ThrowIfCancellationRequested();
            events.TryWrite(new Answered(answer.Side, answer.Tokens, answer.LogRatio,
                Score(options.RewardModel, question.Prompt, answer.Text), Score(options.Judge, question.Prompt, answer.Text)));
        }
    }

    /// <summary>Token ids of a beginning; one that leaves no room for the answer is refused.</summary>
    internal static int[] Query(string prompt, ITokenizer tokenizer, int length, int mostPositions)
    {
        int[] ids = tokenizer.OfPrompt(prompt, tokenizer.StartOfText() ?? 0);
        return ids.Length + length <= mostPositions ? ids : throw new InvalidDataException(
            $"The beginning has {Numbers.Count(ids.Length, "token")} and the answer may have {length}, but the model reads {mostPositions}. "
                + "Shorten one of them.");
    }

    private float? Score(string? folder, string prompt, string answer) =>
        folder is null || (prompt + answer).Trim().Length == 0 ? null : shelf.Reward(folder).Score([new Completion(prompt, answer)])[0];

    private sealed class OneAnswer(Side side, ITokenizer tokenizer, IReadOnlyList<int> ends, IEnumerable<ScoredToken> tokens) : IDisposable
    {
        private readonly IEnumerator<ScoredToken> tokens = tokens.GetEnumerator();
        private readonly List<int> ids = [];

        public Side Side => side;

        public string Text { get; private set; } = "";

        public int Tokens { get; private set; }

        public double LogRatio { get; private set; }

        public TokenChosen? Next()
        {
            if (!tokens.MoveNext())
                return null;
            var token = tokens.Current;
            double ratio = side == Side.Aligned ? token.LogRatio : -token.LogRatio;
            (Tokens, LogRatio) = (Tokens + 1, LogRatio + ratio);
            if (ends.Contains(token.Id))
                return new(side, "", ratio);
            ids.Add(token.Id);
            // A token may end within a character: then it waits for the rest.
            string whole = tokenizer.TextOfContinuation(ids).TrimEnd('\uFFFD');
            string added = whole.Length > Text.Length ? whole[Text.Length..] : "";
            Text += added;
            return new(side, added, ratio);
        }

        public void Dispose() => tokens.Dispose();
    }
}
