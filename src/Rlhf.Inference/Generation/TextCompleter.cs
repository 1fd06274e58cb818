using System.Runtime.CompilerServices;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using TorchSharp;

namespace Rlhf.Generation;

/// <summary>
/// Continues texts with a language model, piece by piece or whole. May be used by several callers at once: the model writes all their texts in one
/// batch, which a text joins when it is asked for and leaves when it is whole or its caller does.
/// </summary>
/// <remarks>
/// A text depends on its prompt, its options and their seed, not on the texts beside it. (Products over another number of rows may round
/// differently; that changes a token only where two are within about 1e-6 of each other.)
/// </remarks>
public sealed class TextCompleter : IDisposable
{
    private readonly CausalLM model;
    private readonly ITokenizer tokenizer;
    private readonly bool ownsModel;
    private readonly DecodingEngine engine;

    /// <summary>A completer for a model, which stays the caller's.</summary>
    /// <param name="model">The model. It has to outlive the completer.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="batching">How many texts are written at once; null: the defaults.</param>
    /// <exception cref="ConfigurationException">The batching options are impossible.</exception>
    public TextCompleter(CausalLM model, ITokenizer tokenizer, BatchingOptions? batching = null)
        : this(model, tokenizer, ownsModel: false, batching, null)
    {
    }

    internal TextCompleter(CausalLM model, ITokenizer tokenizer, bool ownsModel, BatchingOptions? batching, IDecodingWatch? watch)
    {
        (this.model, this.tokenizer, this.ownsModel) = (model, tokenizer, ownsModel);
        engine = new(model, batching ?? new(), watch);
    }

    /// <summary>The model's tokenizer.</summary>
    public ITokenizer Tokenizer => tokenizer;

    /// <summary>Longest prompt and completion together, in tokens.</summary>
    public int MaxTokens => model.MaxPositions;

    /// <summary>Most texts that can be asked for together: those that are written and those that wait.</summary>
    public long MostTexts => engine.MostRows;

    /// <summary>Texts that are being written.</summary>
    public int Running => engine.Running;

    /// <summary>Texts that wait until they are written.</summary>
    public int Waiting => engine.Waiting;

    /// <summary>Loads a model folder; the completer then owns the model.</summary>
    /// <param name="folder">The model folder.</param>
    /// <param name="device">Where to compute; null: the CPU.</param>
    /// <param name="batching">How many texts are written at once; null: the defaults.</param>
    /// <exception cref="FileNotFoundException">config.json, the weights or the tokenizer are not there.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or the model is none that writes.</exception>
    /// <exception cref="ConfigurationException">The batching options are impossible.</exception>
    public static TextCompleter FromPretrained(string folder, torch.Device? device = null, BatchingOptions? batching = null) =>
        Load(folder, device, batching, null);

    internal static TextCompleter Load(string folder, torch.Device? device, BatchingOptions? batching, IDecodingWatch? watch)
    {
        ConfigurationException.ThrowIfAny([.. (batching ?? new()).Validate()]);
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        TokenizerOf.RequireFit(folder, tokenizer, ModelShape.Of(folder).VocabSize);
        return new(AutoModelForCausalLM.FromPretrained(folder, device), tokenizer, ownsModel: true, batching, watch);
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
    /// <exception cref="TooManyWaitingException">More texts are asked for than may wait.</exception>
    public async Task<IReadOnlyList<TextCompletion>> CompleteAllAsync(
        IReadOnlyList<int[]> prompts, CompletionOptions options, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return await Task.WhenAll(Start(prompts, options).Select(text => WholeAsync(text, cancellation))).ConfigureAwait(false);
    }

    /// <summary>Queues texts, all or none; they are written whether or not anybody reads them yet.</summary>
    /// <param name="prompts">Token ids of each prompt.</param>
    /// <param name="options">How; prompt i is sampled with the seed + i.</param>
    /// <exception cref="ArgumentException">A prompt is empty, holds a token that the model does not know, or does not fit.</exception>
    /// <exception cref="ConfigurationException">A sampling setting is impossible.</exception>
    /// <exception cref="TooManyWaitingException">More texts are asked for than may wait.</exception>
    internal IReadOnlyList<RunningCompletion> Start(IReadOnlyList<int[]> prompts, CompletionOptions options)
    {
        var generator = new TextGenerator(model) { StopTokenIds = options.StopTokenIds, TopLogprobs = options.TopLogprobs };
        var rows = generator.Rows(prompts, options.Sampling, row => new RandomStream(unchecked(options.Seed + row), "complete").Fork(0));
        return [.. engine.Add(rows).Select(ticket => new RunningCompletion(ticket, tokenizer, options))];
    }

    private static async Task<TextCompletion> WholeAsync(RunningCompletion text, CancellationToken cancellation)
    {
        await using (text.ConfigureAwait(false))
            return await text.WholeAsync(cancellation).ConfigureAwait(false);
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
        var scores = new IReadOnlyList<TokenLogprobs>[rows.Count];
        for (int r = 0; r < scores.Length; r++)
        {
            cancellation.ThrowIfCancellationRequested();
            int[] row = rows[r];
            scores[r] = await engine.RunAsync(() => TokenLogprobs.Of(model, row, Math.Min(top, model.VocabSize))).ConfigureAwait(false);
        }
        return scores;
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
            throw new ArgumentOutOfRangeException(nameof(ids), $"The prompt has {ids.Count} token{(ids.Count == 1 ? "" : "s")} and {maxNewTokens} more are asked for, "
                + $"but the model reads at most {model.MaxPositions}; shorten one of them.");
    }

    /// <inheritdoc/>
    /// <remarks>Texts that are still being written fail with <see cref="ObjectDisposedException"/>.</remarks>
    public void Dispose()
    {
        engine.Dispose();
        if (ownsModel)
            model.Dispose();
    }

    private int[] Query(string prompt, CompletionOptions options)
    {
        ConfigurationException.ThrowIfAny([.. options.Sampling.Validate()]);
        return Encode(prompt, options.Sampling.MaxNewTokens);
    }

    private async IAsyncEnumerable<CompletionPiece> Pieces(
        int[] query, CompletionOptions options, [EnumeratorCancellation] CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var text = Start([query], options)[0];
        await using (text.ConfigureAwait(false))
            await foreach (var piece in text.PiecesAsync(joins: false, cancellation).ConfigureAwait(false))
                yield return piece;
    }

    private async Task<TextCompletion> WholeAsync(int[] query, CompletionOptions options, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        return await WholeAsync(Start([query], options)[0], cancellation).ConfigureAwait(false);
    }
}
