using Rlhf.Models;
using Rlhf.Runtime;
using static TorchSharp.torch;

namespace Rlhf.Generation;

/// <summary>Samples responses from a causal language model, many rows at a time, through a key/value cache.</summary>
/// <remarks>
/// Each row draws from a random stream of its own, so that its response depends on the seed, the row's number and its query
/// alone, and not on the rows that it is batched with. (A matrix product over another number of rows may round differently; that
/// changes a token only where a random number falls into a gap of about 1e-7.)
/// The model computes without dropout and without gradients, whatever <see cref="PretrainedModel.Training"/> says.
/// </remarks>
public sealed class TextGenerator
{
    private readonly CausalLM model;
    private readonly Func<Tensor, Tensor>? valueHead;

    /// <summary>A generator for a model, which stays the caller's.</summary>
    /// <param name="model">The policy.</param>
    /// <param name="valueHead">Hidden states [B, D] to values [B] or [B, 1]; null when no values are wanted.</param>
    public TextGenerator(CausalLM model, Func<Tensor, Tensor>? valueHead = null)
    {
        this.model = model;
        this.valueHead = valueHead;
    }

    /// <summary>A generator that also returns the value head's estimates.</summary>
    /// <param name="model">Policy and critic; it stays the caller's.</param>
    public TextGenerator(CausalLMWithValueHead model) : this(model.PretrainedModel, model.Values)
    {
    }

    /// <summary>
    /// Bytes that keys and values of rows decoded together may take; more rows are decoded in turns. 2 GiB by default.
    /// </summary>
    public long CacheBytes { get; init; } = 2L << 30;

    /// <summary>Tokens that end a response besides the end token; none by default.</summary>
    public IReadOnlyList<int> StopTokenIds { get; init; } = [];

    /// <summary>How many of the likeliest tokens rows keep for each token; null: no logprobs beyond the tokens' own.</summary>
    internal int? TopLogprobs { get; init; }

    /// <summary>Continues every query.</summary>
    /// <param name="queries">Token ids of each row, without padding; no row may be empty.</param>
    /// <param name="config">How tokens are chosen.</param>
    /// <param name="maxNewTokens">Most response tokens of each row; null takes the configuration's for all.</param>
    /// <param name="random">
    /// Row r draws from <c>random.Fork(firstRow + r)</c>, one number per sampled token. The stream's position is neither used
    /// nor moved: give each call a stream or rows of its own. Greedy decoding draws nothing.
    /// </param>
    /// <param name="firstRow">Number of the first query, where a larger batch is generated in several calls.</param>
    /// <param name="onToken">Called with row and token id as soon as a token is chosen.</param>
    /// <param name="cancellation">Stops between two tokens.</param>
    /// <returns>Responses without their queries; an empty result for no queries.</returns>
    /// <exception cref="ConfigurationException">Settings are impossible.</exception>
    /// <exception cref="ArgumentException">A query is empty, too long, or holds an id that the model does not know.</exception>
    /// <exception cref="NonFiniteLogitsException">The logits hold NaN or infinity; the message names row and token.</exception>
    /// <exception cref="InvalidOperationException">The settings forbid every token at some point.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public GenerationResult Generate(
        IReadOnlyList<int[]> queries, GenerationConfig config, IReadOnlyList<int>? maxNewTokens, RandomStream random,
        long firstRow = 0, Action<int, int>? onToken = null, CancellationToken cancellation = default)
    {
        var rows = MakeRows(queries, config, maxNewTokens, r => random.Fork(firstRow + r));
        Decode(rows, onToken is null ? null : row => onToken(row.Index, row.LastToken), cancellation);
        return new GenerationResult(
            [.. rows.Select(r => r.Response)], [.. rows.Select(r => r.Logprobs)],
            valueHead is null ? null : [.. rows.Select(r => r.Values)], [.. rows.Select(r => r.EndedByEos)], config.IsUnwarped);
    }

    /// <summary>Rows of queries that may be decoded, for a batch of the caller's.</summary>
    internal ResponseRow[] Rows(IReadOnlyList<int[]> queries, GenerationConfig config, Func<int, RandomStream> randomOfRow) =>
        MakeRows(queries, config, null, randomOfRow);

    private void Decode(ResponseRow[] rows, Action<ResponseRow>? onToken, CancellationToken cancellation)
    {
        foreach (var together in Split(rows))
        {
            using var batch = new DecodingBatch(model, valueHead);
            cancellation.ThrowIfCancellationRequested();
            batch.Join(together, onToken);
            do
                cancellation.ThrowIfCancellationRequested();
            while (batch.Step(onToken));
        }
    }

    /// <summary>Continues one query and hands out each token as soon as it is chosen, the end token included.</summary>
    /// <inheritdoc cref="Generate" path="/exception"/>
    /// <param name="query">Token ids; at least one.</param>
    /// <param name="config">How tokens are chosen, and how many at most.</param>
    /// <param name="random">The tokens are those of row 0 of <see cref="Generate"/> with the same stream.</param>
    public IEnumerable<int> Stream(int[] query, GenerationConfig config, RandomStream random) =>
        StreamRow(query, config, random).Select(row => row.LastToken);

    /// <summary>As <see cref="Stream"/>, and tells of each token what this model and another give for it.</summary>
    /// <inheritdoc cref="Generate" path="/exception"/>
    /// <param name="query">Token ids; at least one.</param>
    /// <param name="config">How tokens are chosen, and how many at most.</param>
    /// <param name="random">The tokens are those of <see cref="Stream"/> with the same stream.</param>
    /// <param name="other">A model of the same vocabulary; it stays the caller's.</param>
    public IEnumerable<ScoredToken> StreamScored(int[] query, GenerationConfig config, RandomStream random, CausalLM other)
    {
        if (other.VocabSize != model.VocabSize)
            throw new ArgumentException($"The models' vocabularies differ: {model.VocabSize:N0} and {other.VocabSize:N0} tokens.",
                nameof(other));
        new TextGenerator(other).MakeRows([query], config, null, r => random.Fork(r)); // checks that it fits this model, too
        var rows = StreamRow(query, config, random);
        return Tokens();

        IEnumerable<ScoredToken> Tokens()
        {
            using var scorer = new TokenScorer(other, query, config.MaxNewTokens);
            foreach (var row in rows)
                yield return new(row.LastToken, row.LastLogprob, scorer.Next(row.LastToken));
        }
    }

    /// <summary>The row of a query after each token that is appended to it.</summary>
    private IEnumerable<ResponseRow> StreamRow(int[] query, GenerationConfig config, RandomStream random)
    {
        MakeRows([query], config, null, r => random.Fork(r));
        return Rows();

        IEnumerable<ResponseRow> Rows()
        {
            var row = MakeRows([query], config, null, r => random.Fork(r))[0];
            using var batch = new DecodingBatch(model);
            batch.Join([row]);
            yield return row;
            while (!row.IsFinished)
            {
                batch.Step();
                yield return row;
            }
        }
    }

    private int[] EndTokens(GenerationConfig config)
    {
        var unknown = StopTokenIds.Append(config.EosTokenId ?? -1).Where(id => id >= model.VocabSize)
            .Select(id => $"Token {id} is to end responses, but the model's vocabulary has {model.VocabSize} tokens.");
        ConfigurationException.ThrowIfAny([.. config.Validate(), .. unknown]);
        // A model's own end token may lie outside its vocabulary, where a small model kept GPT-2's: then nothing ends early.
        int[] ends = [.. StopTokenIds, .. config.EosTokenId is { } end ? [end] : model.EosTokenIds];
        return [.. ends.Where(id => id >= 0)];
    }

    private ResponseRow[] MakeRows(
        IReadOnlyList<int[]> queries, GenerationConfig config, IReadOnlyList<int>? maxNewTokens, Func<int, RandomStream> randomOfRow)
    {
        if (maxNewTokens is not null && maxNewTokens.Count != queries.Count)
            throw new ArgumentException(
                $"There are {queries.Count} queries but {maxNewTokens.Count} response lengths.", nameof(maxNewTokens));
        var chooser = new TokenChooser(config, EndTokens(config));
        var rows = new ResponseRow[queries.Count];
        for (int r = 0; r < rows.Length; r++)
        {
            int length = maxNewTokens?[r] ?? config.MaxNewTokens;
            CheckRow(r, queries[r], length);
            rows[r] = new ResponseRow(r, queries[r], length, randomOfRow(r), chooser) { TopLogprobs = TopLogprobs };
        }
        return rows;
    }

    private void CheckRow(int r, int[] query, int maxNewTokens)
    {
        if (query.Length == 0)
            throw new ArgumentException(
                $"Query {r} is empty; a query needs at least one token. Begin with the begin-of-sequence token.", "queries");
        if (maxNewTokens < 1)
            throw new ArgumentException(
                $"Query {r} asks for {maxNewTokens} response tokens; ask for at least 1.", nameof(maxNewTokens));
        if ((long)query.Length + maxNewTokens > model.MaxPositions)
            throw new ArgumentException(
                $"Query {r} has {query.Length} token{(query.Length == 1 ? "" : "s")} and asks for {maxNewTokens} more, but the model has " +
                $"{model.MaxPositions} positions. Shorten the query or the response.", "queries");
        foreach (int id in query)
            if ((uint)id >= (uint)model.VocabSize)
                throw new ArgumentException(
                    $"Query {r} holds token id {id}, which is outside the model's vocabulary of {model.VocabSize}. " +
                    "Does the tokenizer belong to this model?", "queries");
    }

    /// <summary>Rows of like length together, as many as the cache may hold.</summary>
    private IEnumerable<ResponseRow[]> Split(ResponseRow[] rows)
    {
        long tokenBytes = model.Shape.CacheBytesPerToken(model.Head.Layer.Weight.ElementSize);
        var together = new List<ResponseRow>();
        foreach (var row in rows.OrderByDescending(r => r.CachedLength))
        {
            // The first row is the longest, so it sets the cache's length.
            if (together.Count > 0 && (together.Count + 1) * (long)together[0].CachedLength * tokenBytes > CacheBytes)
            {
                yield return [.. together];
                together.Clear();
            }
            together.Add(row);
        }
        if (together.Count > 0)
            yield return [.. together];
    }
}
