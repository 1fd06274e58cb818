using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using TorchSharp;

namespace Rlhf.Generation;

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

    /// <summary>The model's tokenizer.</summary>
    public ITokenizer Tokenizer => tokenizer;

    /// <summary>Longest prompt and completion together, in tokens.</summary>
    public int MaxTokens => model.MaxPositions;

    /// <summary>Loads a model folder; the completer then owns the model.</summary>
    /// <exception cref="FileNotFoundException">config.json, the weights or the tokenizer are not there.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or the model is none that writes.</exception>
    public static TextCompleter FromPretrained(string folder, torch.Device? device = null)
    {
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        TokenizerOf.RequireFit(folder, tokenizer, ModelShape.Of(folder).VocabSize);
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
    public Task<TextCompletion> CompleteAsync(
        string prompt, CompletionOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new();
        return WholeAsync(Query(prompt, options), options, cancellation);
    }

    /// <summary>Continues token ids as they are.</summary>
    /// <inheritdoc cref="StreamAsync(int[], CompletionOptions?, CancellationToken)"/>
    public Task<TextCompletion> CompleteAsync(
        int[] prompt, CompletionOptions? options = null, CancellationToken cancellation = default)
    {
        options ??= new();
        ConfigurationException.ThrowIfAny([.. options.Sampling.Validate()]);
        CheckIds(prompt, options.Sampling.MaxNewTokens);
        return WholeAsync(prompt, options, cancellation);
    }

    /// <summary>Continues several prompts together, in one batch.</summary>
    /// <param name="prompts">Token ids of each prompt; see <see cref="Encode"/>.</param>
    /// <param name="options">How; prompt i is sampled with the seed + i, and its text is that of <see cref="CompleteAsync(int[], CompletionOptions?, CancellationToken)"/> with this seed.</param>
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
        var pending = new PendingText(options.Stop);
        string?[] stopped = new string?[prompts.Count];
        var rows = GeneratorFor(options).GenerateRows(prompts, options.Sampling,
            row => new RandomStream(unchecked(options.Seed + row), "complete").Fork(0),
            row =>
            {
                if (options.Stop.Count > 0 && TextOf(row) is var text && pending.StopIn(text) is >= 0 and var at)
                    (stopped[row.Index], row.IsEnough) = (text[..at], true);
            }, cancellation);
        return [.. rows.Select(row => new TextCompletion(stopped[row.Index] ?? TextOf(row), row.QueryLength, row.ResponseLength,
            row.EndedByEos || stopped[row.Index] is not null ? FinishReason.Stop : FinishReason.Length)
        {
            TokenIds = row.Response,
            Logprobs = row.LogprobsFrom(0),
        })];
    }

    private TextGenerator GeneratorFor(CompletionOptions options) =>
        new(model) { StopTokenIds = options.StopTokenIds, TopLogprobs = options.TopLogprobs };

    /// <summary>The response so far, without the token that ended it.</summary>
    private string TextOf(ResponseRow row)
    {
        var response = row.Text[row.QueryLength..];
        return tokenizer.TextOfContinuation((row.EndedByEos ? response[..^1] : response).ToArray());
    }

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

    private async Task<TextCompletion> WholeAsync(int[] query, CompletionOptions options, CancellationToken cancellation)
    {
        var text = new System.Text.StringBuilder();
        List<int> ids = [];
        List<TokenLogprobs>? logprobs = options.TopLogprobs is null ? null : [];
        var finish = FinishReason.Length;
        await foreach (var piece in Pieces(query, options, cancellation).ConfigureAwait(false))
        {
            text.Append(piece.Text);
            ids.AddRange(piece.TokenIds);
            logprobs?.AddRange(piece.Logprobs ?? []);
            finish = piece.Finish ?? finish;
        }
        return new(text.ToString(), query.Length, ids.Count, finish) { TokenIds = ids, Logprobs = logprobs };
    }

    private void Write(int[] query, CompletionOptions options, ChannelWriter<CompletionPiece> pieces, CancellationToken cancellation)
    {
        try
        {
            var pending = new PendingText(options.Stop);
            int sent = 0;
            foreach (var row in GeneratorFor(options).StreamRow(query, options.Sampling, new RandomStream(options.Seed, "complete")))
            {
                cancellation.ThrowIfCancellationRequested();
                string certain = pending.Add(TextOf(row), isWhole: row.IsFinished, out bool stopped);
                FinishReason? finish = row.EndedByEos || stopped ? FinishReason.Stop : row.IsFinished ? FinishReason.Length : null;
                if (certain.Length > 0 || finish is not null)
                {
                    pieces.TryWrite(new(certain, row.Response[sent..], finish) { Logprobs = row.LogprobsFrom(sent) });
                    sent = row.ResponseLength;
                }
                if (finish is not null)
                    break;
            }
            pieces.Complete();
        }
        catch (Exception error)
        {
            pieces.Complete(error);
        }
    }
}
