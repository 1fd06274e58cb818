using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using TorchSharp;

namespace Rlhf.Generation;

/// <summary>Why a completion ended.</summary>
public enum FinishReason
{
    /// <summary>The model chose its end token, or a stop text came up.</summary>
    Stop,

    /// <summary>It has as many tokens as were asked for.</summary>
    Length,
}

/// <summary>How a text is to be continued.</summary>
public sealed record CompletionOptions
{
    /// <summary>How tokens are chosen, and how many at most.</summary>
    public GenerationConfig Sampling { get; init; } = new() { MaxNewTokens = 40 };

    /// <summary>Texts at which the completion ends; they are no part of it.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>Seed of the sampling: the same seed and prompt give the same text.</summary>
    public long Seed { get; init; }
}

/// <summary>A piece of a completion that is being written.</summary>
/// <param name="Text">What was added; whole characters.</param>
/// <param name="TokenIds">The tokens that were chosen since the piece before, the end token included.</param>
/// <param name="Finish">Why it ended, on the last piece; null before.</param>
public sealed record CompletionPiece(string Text, IReadOnlyList<int> TokenIds, FinishReason? Finish);

/// <summary>A whole completion.</summary>
/// <param name="Text">The text that follows the prompt.</param>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="CompletionTokens">Tokens that were chosen, the end token included.</param>
/// <param name="Finish">Why it ended.</param>
public sealed record TextCompletion(string Text, int PromptTokens, int CompletionTokens, FinishReason Finish)
{
    /// <summary>The tokens that were chosen, the end token included.</summary>
    public IReadOnlyList<int> TokenIds { get; init; } = [];
}

/// <summary>
/// Continues texts with a language model, piece by piece or whole. May be used by several callers at once; the model writes for one after
/// the other.
/// </summary>
public sealed class TextCompleter : IDisposable
{
    private readonly CausalLM model;
    private readonly ITokenizer tokenizer;
    private readonly bool ownsModel;
    private readonly SemaphoreSlim turn = new(1);

    /// <summary>A completer for a model, which stays the caller's.</summary>
    public TextCompleter(CausalLM model, ITokenizer tokenizer)
        : this(model, tokenizer, ownsModel: false)
    {
    }

    private TextCompleter(CausalLM model, ITokenizer tokenizer, bool ownsModel) =>
        (this.model, this.tokenizer, this.ownsModel) = (model, tokenizer, ownsModel);

    /// <summary>Longest prompt and completion together, in tokens.</summary>
    public int MaxTokens => model.MaxPositions;

    /// <summary>Loads a model folder; the completer then owns the model.</summary>
    /// <exception cref="FileNotFoundException">config.json, the weights or the tokenizer are not there.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or the model is none that writes.</exception>
    public static TextCompleter FromPretrained(string folder, torch.Device? device = null)
    {
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        return new(AutoModelForCausalLM.FromPretrained(folder, device), tokenizer, ownsModel: true);
    }

    /// <summary>Token ids of a prompt; of an empty one, the token that begins a text.</summary>
    /// <exception cref="ArgumentException">Prompt and completion do not fit the model.</exception>
    public int[] Encode(string prompt, int maxNewTokens)
    {
        int[] ids = tokenizer.OfPrompt(prompt, tokenizer.StartOfText(model.EosTokenId) ?? 0);
        CheckIds(ids, maxNewTokens);
        return ids;
    }

    /// <summary>Continues a text; each piece comes as soon as it is certain.</summary>
    /// <param name="prompt">The text to continue.</param>
    /// <param name="options">How; null: pure sampling of up to 40 tokens.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <exception cref="ArgumentException">Prompt and completion do not fit the model.</exception>
    /// <exception cref="ConfigurationException">A sampling setting is impossible.</exception>
    public IAsyncEnumerable<CompletionPiece> StreamAsync(
        string prompt, CompletionOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new();
        return Pieces(Query(prompt, options), options, cancellation);
    }

    /// <summary>Continues token ids as they are.</summary>
    /// <param name="prompt">The token ids to continue.</param>
    /// <param name="options">How; null: pure sampling of up to 40 tokens.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <exception cref="ArgumentException">There is no token, one is not in the vocabulary, or prompt and completion do not fit the model.</exception>
    /// <exception cref="ConfigurationException">A sampling setting is impossible.</exception>
    public IAsyncEnumerable<CompletionPiece> StreamAsync(
        int[] prompt, CompletionOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new();
        ConfigurationException.ThrowIfAny([.. options.Sampling.Validate()]);
        CheckIds(prompt, options.Sampling.MaxNewTokens);
        return Pieces(prompt, options, cancellation);
    }

    /// <summary>Continues a text.</summary>
    /// <inheritdoc cref="StreamAsync(string, CompletionOptions?, CancellationToken)"/>
    public async Task<TextCompletion> CompleteAsync(
        string prompt, CompletionOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new();
        int[] query = Query(prompt, options);
        var text = new System.Text.StringBuilder();
        int tokens = 0;
        var finish = FinishReason.Length;
        await foreach (var piece in Pieces(query, options, cancellation).ConfigureAwait(false))
        {
            text.Append(piece.Text);
            tokens += piece.TokenIds.Count;
            finish = piece.Finish ?? finish;
        }
        return new(text.ToString(), query.Length, tokens, finish);
    }

    /// <summary>Continues several prompts together, in one batch.</summary>
    /// <param name="prompts">Token ids of each prompt; see <see cref="Encode"/>.</param>
    /// <param name="options">How; prompt i is sampled with the seed + i, and its text is that of <see cref="CompleteAsync"/> with this seed.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <exception cref="ArgumentException">A prompt is empty, holds a token that the model does not know, or does not fit.</exception>
    /// <exception cref="ConfigurationException">A sampling setting is impossible.</exception>
    public async Task<IReadOnlyList<TextCompletion>> CompleteAllAsync(
        IReadOnlyList<int[]> prompts, CompletionOptions options, CancellationToken cancellation = default)
    {
        await turn.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            // libtorch keeps much per thread, so one thread writes all.
            return await Task.Run(() => WriteAll(prompts, options, cancellation), cancellation).ConfigureAwait(false);
        }
        finally
        {
            turn.Release();
        }
    }

    private TextCompletion[] WriteAll(IReadOnlyList<int[]> prompts, CompletionOptions options, CancellationToken cancellation)
    {
        IReadOnlyList<int> ends = EndTokens(options);
        string?[] stopped = new string?[prompts.Count];
        string Text(ReadOnlySpan<int> response) =>
            tokenizer.TextOfContinuation([.. response.Length > 0 && ends.Contains(response[^1]) ? response[..^1] : response]);
        var rows = new TextGenerator(model).GenerateRows(prompts, options.Sampling,
            row => new RandomStream(unchecked(options.Seed + row), "complete").Fork(0),
            row =>
            {
                if (options.Stop.Count == 0)
                    return;
                string text = Text(row.Text[row.QueryLength..]);
                int at = options.Stop.Where(stop => stop.Length > 0).Select(stop => text.IndexOf(stop, StringComparison.Ordinal))
                    .Where(found => found >= 0).DefaultIfEmpty(-1).Min();
                if (at >= 0)
                    (stopped[row.Index], row.IsEnough) = (text[..at], true);
            }, cancellation);
        return [.. rows.Select(row => new TextCompletion(stopped[row.Index] ?? Text(row.Response), row.QueryLength, row.ResponseLength,
            row.EndedByEos || stopped[row.Index] is not null ? FinishReason.Stop : FinishReason.Length) { TokenIds = row.Response })];
    }

    private IReadOnlyList<int> EndTokens(CompletionOptions options) =>
        options.Sampling.EosTokenId is { } end ? [end] : model.EosTokenIds;

    /// <summary>What the model gives for each token of texts, and for the likeliest ones in its place.</summary>
    /// <param name="rows">Token ids of each text.</param>
    /// <param name="top">How many of the likeliest tokens to name; 0: none.</param>
    /// <param name="cancellation">Stops between two texts.</param>
    /// <returns>For each row its tokens but the first, which nothing precedes.</returns>
    /// <exception cref="ArgumentException">A row is empty, holds a token that the model does not know, or is too long.</exception>
    public async Task<IReadOnlyList<IReadOnlyList<TokenLogprobs>>> ScoreAsync(
        IReadOnlyList<int[]> rows, int top, CancellationToken cancellation = default)
    {
        foreach (int[] row in rows)
            CheckIds(row, 0);
        await turn.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            return await Task.Run(() => (IReadOnlyList<IReadOnlyList<TokenLogprobs>>)[.. rows.Select(row =>
            {
                cancellation.ThrowIfCancellationRequested();
                return TokenLogprobs.Of(model, row, Math.Min(top, model.VocabSize));
            })], cancellation).ConfigureAwait(false);
        }
        finally
        {
            turn.Release();
        }
    }

    /// <summary>Refuses token ids that cannot be a prompt of this model.</summary>
    /// <exception cref="ArgumentException">There are none, one is not in the vocabulary, or they do not fit.</exception>
    public void CheckIds(IReadOnlyList<int> ids, int maxNewTokens)
    {
        if (ids.Count == 0)
            throw new ArgumentException("The prompt has no token; give at least one.", nameof(ids));
        if (ids.Where(id => (uint)id >= (uint)model.VocabSize).Take(1).ToArray() is [var unknown])
            throw new ArgumentException($"The prompt has the token id {unknown}, and the model's vocabulary has {model.VocabSize} tokens.", nameof(ids));
        if ((long)ids.Count + maxNewTokens > model.MaxPositions)
            throw new ArgumentException($"The prompt has {ids.Count} token{(ids.Count == 1 ? "" : "s")} and {maxNewTokens} more are asked for, "
                + $"but the model reads at most {model.MaxPositions}; shorten one of them.", nameof(ids));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (ownsModel)
            model.Dispose();
        turn.Dispose();
    }

    private int[] Query(string prompt, CompletionOptions options)
    {
        ConfigurationException.ThrowIfAny([.. options.Sampling.Validate()]);
        return Encode(prompt, options.Sampling.MaxNewTokens);
    }

    private async IAsyncEnumerable<CompletionPiece> Pieces(
        int[] query, CompletionOptions options, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await turn.WaitAsync(cancellation).ConfigureAwait(false);
        using var left = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var pieces = Channel.CreateUnbounded<CompletionPiece>();
        // libtorch keeps much per thread, so one thread writes the whole text.
        var writing = Task.Run(() => Write(query, options, pieces.Writer, left.Token), CancellationToken.None);
        try
        {
            await foreach (var piece in pieces.Reader.ReadAllAsync(cancellation).ConfigureAwait(false))
                yield return piece;
        }
        finally
        {
            await left.CancelAsync().ConfigureAwait(false);
            await writing.ConfigureAwait(false);
            turn.Release();
        }
    }

    private void Write(int[] query, CompletionOptions options, ChannelWriter<CompletionPiece> pieces, CancellationToken cancellation)
    {
        try
        {
            var pending = new PendingText(options.Stop);
            IReadOnlyList<int> ends = EndTokens(options);
            List<int> ids = [], sinceLast = [];
            foreach (int id in new TextGenerator(model).Stream(query, options.Sampling, new RandomStream(options.Seed, "complete")))
            {
                cancellation.ThrowIfCancellationRequested();
                sinceLast.Add(id);
                bool ended = ends.Contains(id);
                if (!ended)
                    ids.Add(id);
                string certain = pending.Add(tokenizer.TextOfContinuation(ids), isWhole: ended, out bool stopped);
                if (ended || stopped)
                {
                    pieces.TryWrite(new(certain, [.. sinceLast], FinishReason.Stop));
                    pieces.Complete();
                    return;
                }
                if (certain.Length > 0)
                {
                    pieces.TryWrite(new(certain, [.. sinceLast], null));
                    sinceLast.Clear();
                }
            }
            string rest = pending.Add(tokenizer.TextOfContinuation(ids), isWhole: true, out bool atStop);
            pieces.TryWrite(new(rest, [.. sinceLast], atStop ? FinishReason.Stop : FinishReason.Length));
            pieces.Complete();
        }
        catch (Exception error)
        {
            pieces.Complete(error);
        }
    }

    /// <summary>Text that grows at its end: what of it is certain, as no later token can change it or complete a stop text in it.</summary>
    internal sealed class PendingText(IReadOnlyList<string> stops)
    {
        private readonly string[] stops = [.. stops.Where(s => s.Length > 0)];
        private int given;

        /// <param name="text">The whole text so far.</param>
        /// <param name="isWhole">Nothing will follow.</param>
        /// <param name="stopped">A stop text was found; nothing counts from there.</param>
        /// <returns>What became certain since the last call.</returns>
        public string Add(string text, bool isWhole, out bool stopped)
        {
            int stop = stops.Select(s => text.IndexOf(s, StringComparison.Ordinal)).Where(at => at >= 0).DefaultIfEmpty(-1).Min();
            stopped = stop >= 0;
            int certain = stopped ? stop : isWhole ? text.Length : text.Length - Uncertain(text);
            string added = certain > given ? text[given..certain] : "";
            given = Math.Max(given, certain);
            return added;
        }

        /// <summary>Characters at the end that may be part of a character or of a stop text whose rest has not come yet.</summary>
        private int Uncertain(string text)
        {
            int broken = text.Length - text.TrimEnd('\uFFFD').Length;
            int begun = stops.Select(s => Enumerable.Range(1, Math.Min(s.Length - 1, text.Length))
                .LastOrDefault(n => s.StartsWith(text[^n..], StringComparison.Ordinal))).DefaultIfEmpty(0).Max();
            return Math.Max(broken, begun);
        }
    }
}
