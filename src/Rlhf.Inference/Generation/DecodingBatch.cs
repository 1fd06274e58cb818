using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Generation;

/// <summary>
/// Rows that are decoded together, one token of each per step. Rows join between two steps, once their prompts are read, and leave when they are
/// finished; the rows that stay are then at the front of the cache.
/// </summary>
/// <remarks>B rows that are not finished, V vocabulary, D width.</remarks>
internal sealed class DecodingBatch : IDisposable
{
    /// <summary>The head's output is made for this many bytes at a time.</summary>
    private const long LogitsBytes = 64 << 20;

    // A cache that has to grow does so by half at least, so that copying it costs little.
    private const double Growth = 1.5;

    private readonly CausalLM model;
    private readonly Func<Tensor, Tensor>? valueHead;
    private readonly List<ResponseRow> active = [];
    private KeyValueCache? cache;

    /// <param name="model">The model.</param>
    /// <param name="valueHead">Hidden states [B, D] to values [B] or [B, 1]; null when no values are wanted.</param>
    public DecodingBatch(CausalLM model, Func<Tensor, Tensor>? valueHead = null) => (this.model, this.valueHead) = (model, valueHead);

    /// <summary>Where rows fail alone, <see cref="ResponseRow.Failure"/> says why and they leave; otherwise the first failure is thrown.</summary>
    public bool FailsAlone { get; init; }

    /// <summary>Bytes that the cache should not take more of than it has to.</summary>
    public long CacheBytes { get; init; } = long.MaxValue;

    /// <summary>Rows that are not finished.</summary>
    public IReadOnlyList<ResponseRow> Rows => active;

    /// <summary>Reads the prompts of new rows and appends the first token to each.</summary>
    /// <param name="rows">The rows.</param>
    /// <param name="onToken">Called with each row and its new token.</param>
    public void Join(IReadOnlyList<ResponseRow> rows, Action<ResponseRow>? onToken = null)
    {
        // Rows that end first stand last, where leaving costs nothing.
        ResponseRow[] joining = [.. rows.OrderByDescending(r => r.CachedLength - r.QueryLength)];
        int first = active.Count;
        MakeRoom(first + joining.Length, joining.Max(r => r.CachedLength));
        using (model.InMode(training: false))
        using (no_grad())
        using (NewDisposeScope())
        {
            var hidden = Read(joining);
            active.AddRange(joining);
            AppendTokens(hidden, first);
        }
        Tell(onToken, first);
        RemoveFinished();
    }

    /// <summary>Appends one token to each unfinished row. False when no row is left.</summary>
    /// <param name="onToken">Called with each row and its new token.</param>
    public bool Step(Action<ResponseRow>? onToken = null)
    {
        if (active.Count == 0)
            return false;
        using (model.InMode(training: false))
        using (no_grad())
        using (NewDisposeScope())
            AppendTokens(model.Decode(tensor([.. active.Select(r => (long)r.LastToken)], int64, model.Device), cache!), 0);
        Tell(onToken, 0);
        RemoveFinished();
        return active.Count > 0;
    }

    /// <summary>Lets go of the rows that are finished, or of which nobody wants more.</summary>
    public void RemoveFinished()
    {
        for (int b = active.Count - 1; b >= 0; b--)
        {
            if (!active[b].IsFinished)
                continue;
            if (active[b].Failure is not null)
                cache!.Wipe(b);
            cache!.Remove(b);
            active[b] = active[^1];
            active.RemoveAt(active.Count - 1);
        }
    }

    /// <summary>Gives the memory of keys and values back; new rows get other memory.</summary>
    /// <exception cref="InvalidOperationException">There are rows that are not finished.</exception>
    public void Release()
    {
        if (active.Count > 0)
            throw new InvalidOperationException($"{active.Count} rows are not finished.");
        Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        cache?.Dispose();
        cache = null;
    }

    /// <summary>A cache of at least so many rows of so many tokens, with what the rows hold so far.</summary>
    private void MakeRoom(int rows, int length)
    {
        if (active.Count == 0)
        {
            bool fits = cache is not null && cache.Lengths.Length >= rows
                && (cache.MaxLength == length || length < cache.MaxLength && cache.MaxLength <= model.UniformLength);
            if (fits)
                return;
            cache?.Dispose();
            cache = model.CreateCache(rows, length);
            return;
        }
        if (cache!.Lengths.Length >= rows && cache.MaxLength >= length)
            return;
        // A text must not be read otherwise from some token on.
        int longest = cache.MaxLength <= model.UniformLength ? Math.Min(model.UniformLength, model.MaxPositions) : Math.Max(cache.MaxLength, length);
        int moreRows = Grown(cache.Lengths.Length, rows, int.MaxValue), moreTokens = Grown(cache.MaxLength, length, longest);
        if ((double)moreRows * moreTokens * model.Shape.CacheBytesPerToken(model.Head.Layer.Weight.ElementSize) > CacheBytes)
            (moreRows, moreTokens) = (Math.Max(cache.Lengths.Length, rows), Math.Max(cache.MaxLength, length));
        var grown = model.CreateCache(moreRows, moreTokens);
        try
        {
            grown.Restart(0);
            grown.Append(cache, [.. Enumerable.Range(0, active.Count)]);
        }
        catch
        {
            grown.Dispose();
            throw;
        }
        cache.Dispose();
        cache = grown;

        static int Grown(int now, int needed, int most) => needed <= now ? now : Math.Max(needed, (int)Math.Min(now * Growth, most));
    }

    /// <summary>Reads prompts; hidden states [rows, D] of each row's last token.</summary>
    private Tensor Read(ResponseRow[] joining)
    {
        var (distinct, rows) = Distinct(joining);
        using var prompts = PackedBatch.FromRows(distinct, model.Device);
        Tensor hidden;
        if (active.Count == 0 && distinct.Length == joining.Length)
        {
            cache!.Restart(joining.Length);
            hidden = model.Prefill(prompts, cache);
        }
        else
        {
            // Rows that answer the same prompt, such as a group's, read it once and take its keys and values over. What a text is read like may
            // depend on how long the cache is.
            using var read = model.CreateCache(distinct.Length,
                cache!.MaxLength <= model.UniformLength ? distinct.Max(p => p.Length) : cache.MaxLength);
            hidden = model.Prefill(prompts, read);
            cache.Restart(active.Count);
            cache.Append(read, rows);
        }
        return hidden.index_select(0, tensor([.. rows.Select(row => prompts.Offsets[row + 1] - 1L)], int64, model.Device));
    }

    /// <summary>The different prompts in the order of their first rows, and which of them each row has.</summary>
    private static (int[][] Prompts, int[] Rows) Distinct(ResponseRow[] rows)
    {
        List<int[]> prompts = [];
        var known = new Dictionary<string, int>();
        var of = new int[rows.Length];
        for (int b = 0; b < of.Length; b++)
        {
            string key = string.Join(' ', rows[b].Query);
            if (!known.TryGetValue(key, out of[b]))
            {
                known.Add(key, of[b] = prompts.Count);
                prompts.Add(rows[b].Query);
            }
        }
        return ([.. prompts], of);
    }

    /// <summary>Chooses the next token of the rows from a number on.</summary>
    /// <param name="hidden">Hidden states of these rows [B - first, D].</param>
    /// <param name="first">The first of them.</param>
    private void AppendTokens(Tensor hidden, int first)
    {
        int count = active.Count - first;
        var values = valueHead?.Invoke(hidden).to(float32).cpu().reshape(count).data<float>().ToArray();
        int chunk = (int)Math.Clamp(LogitsBytes / (sizeof(float) * (long)model.VocabSize), 1, count);
        for (int start = 0; start < count; start += chunk)
        {
            var rows = active.GetRange(first + start, Math.Min(chunk, count - start));
            using var scope = NewDisposeScope();
            var logits = model.Logits(rows.Count == count ? hidden : hidden.narrow(0, start, rows.Count));
            var choices = TokenChooser.Choose(logits, rows);
            for (int i = 0; i < rows.Count; i++)
                if (choices[i].Failure(rows[i]) is not { } failure)
                    rows[i].Append(choices[i].Token, choices[i].Logprob, values?[start + i] ?? 0);
                else if (FailsAlone)
                    rows[i].Fail(failure);
                else
                    throw failure;
        }
    }

    private void Tell(Action<ResponseRow>? onToken, int first)
    {
        for (int b = first; onToken is not null && b < active.Count; b++)
            onToken(active[b]);
    }
}
