using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Generation;

/// <summary>
/// Rows that are decoded together: the prompts at once, then one token per step; rows that are finished leave the batch.
/// </summary>
/// <remarks>B rows that are not finished, V vocabulary, D width.</remarks>
internal sealed class DecodingBatch : IDisposable
{
    /// <summary>The head's output is made for this many bytes at a time.</summary>
    private const long LogitsBytes = 64 << 20;

    private readonly CausalLM model;
    private readonly Func<Tensor, Tensor>? valueHead;
    private readonly TokenChooser chooser;
    private readonly int[] endTokens;
    private readonly KeyValueCache cache;
    private readonly List<ResponseRow> active;
    private bool isPrefilled;

    public DecodingBatch(
        CausalLM model, Func<Tensor, Tensor>? valueHead, GenerationConfig config, int[] endTokens,
        IReadOnlyList<ResponseRow> rows)
    {
        (this.model, this.valueHead, this.endTokens) = (model, valueHead, endTokens);
        chooser = new TokenChooser(config, endTokens);
        // Rows that end first stand last, where leaving costs nothing.
        active = rows.OrderByDescending(r => r.CachedLength - r.QueryLength).ToList();
        cache = model.CreateCache(active.Count, active.Max(r => r.CachedLength));
    }

    /// <summary>Appends one token to each unfinished row. False when no row is left.</summary>
    /// <param name="onToken">Called with each row and its new token.</param>
    public bool Step(Action<ResponseRow>? onToken = null)
    {
        using (model.InMode(training: false))
        using (no_grad())
        using (NewDisposeScope())
            AppendTokens(NextHidden());
        if (onToken is not null)
            foreach (var row in active)
                onToken(row);
        RemoveFinished();
        return active.Count > 0;
    }

    /// <inheritdoc/>
    public void Dispose() => cache.Dispose();

    /// <summary>Hidden states [B, D] of each row's last token.</summary>
    private Tensor NextHidden()
    {
        if (isPrefilled)
            return model.Decode(tensor(active.Select(r => (long)r.LastToken).ToArray(), int64, model.Device), cache);
        isPrefilled = true;
        var (distinct, rows) = Distinct(active);
        using var prompts = PackedBatch.FromRows(distinct, model.Device);
        Tensor hidden;
        if (distinct.Length == active.Count)
            hidden = model.Prefill(prompts, cache);
        else
        {
            // Rows that answer the same prompt, such as a group's, read it once and take its keys and values over.
            using var shared = model.CreateCache(distinct.Length, cache.MaxLength);
            hidden = model.Prefill(prompts, shared);
            cache.CopyRows(shared, rows);
        }
        return hidden.index_select(0, tensor([.. rows.Select(row => prompts.Offsets[row + 1] - 1L)], int64, model.Device));
    }

    /// <summary>The different prompts in the order of their first rows, and which of them each row has.</summary>
    private static (int[][] Prompts, int[] Rows) Distinct(List<ResponseRow> rows)
    {
        List<int[]> prompts = [];
        var known = new Dictionary<string, int>();
        var of = new int[rows.Count];
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

    private void AppendTokens(Tensor hidden)
    {
        var values = valueHead?.Invoke(hidden).to(float32).cpu().reshape(active.Count).data<float>().ToArray();
        int chunk = (int)Math.Clamp(LogitsBytes / (sizeof(float) * (long)model.VocabSize), 1, active.Count);
        for (int start = 0; start < active.Count; start += chunk)
        {
            var rows = active.GetRange(start, Math.Min(chunk, active.Count - start));
            using var scope = NewDisposeScope();
            var logits = model.Logits(rows.Count == active.Count ? hidden : hidden.narrow(0, start, rows.Count));
            var (tokens, logprobs) = chooser.Choose(logits, rows);
            for (int i = 0; i < rows.Count; i++)
                rows[i].Append(tokens[i], logprobs[i], values?[start + i] ?? 0, endTokens.Contains(tokens[i]));
        }
    }

    private void RemoveFinished()
    {
        for (int b = active.Count - 1; b >= 0; b--)
        {
            if (!active[b].IsFinished)
                continue;
            cache.Remove(b);
            active[b] = active[^1];
            active.RemoveAt(active.Count - 1);
        }
    }
}
