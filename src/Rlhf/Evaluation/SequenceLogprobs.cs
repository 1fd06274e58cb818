using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Evaluation;

/// <summary>Logprobs of given tokens under a language model, without gradient and without dropout.</summary>
internal static class SequenceLogprobs
{
    // Tokens computed together: enough for fast matrix products, little memory.
    private const int TokensPerBatch = 4096;

    /// <summary>For each row, ln p(token t | tokens before t) for t = starts[row] .. end.</summary>
    /// <param name="model">The model; its <see cref="PretrainedModel.Training"/> is false on return as before.</param>
    /// <param name="rows">Token ids; at most the model's limit each.</param>
    /// <param name="starts">First token of each row that is wanted, at least 1: nothing predicts a row's first token.</param>
    /// <param name="cancellation">Stops between two batches.</param>
    public static float[][] Of(
        CausalLM model, IReadOnlyList<int[]> rows, IReadOnlyList<int> starts, CancellationToken cancellation = default)
    {
        using var noGrad = no_grad();
        var logprobs = new float[rows.Count][];
        using var mode = model.InMode(training: false);
        foreach (var batch in Batches(rows, starts, logprobs))
        {
            cancellation.ThrowIfCancellationRequested();
            var part = Of(model, [.. batch.Select(b => TokenRow.From(rows[b], starts[b]))]);
            for (int i = 0; i < batch.Length; i++)
                logprobs[batch[i]] = part[i];
        }
        return logprobs;
    }

    private static float[][] Of(CausalLM model, TokenRow[] rows)
    {
        using var scope = NewDisposeScope();
        using var scored = ScoredRows.Of(rows, model.Device);
        return scored.PerRow(model.Head.Logprobs(scored.Hidden(model.Forward(scored.Batch)), scored.Targets));
    }

    /// <summary>Row numbers in groups of like length; rows of which nothing is wanted get their empty result at once.</summary>
    private static IEnumerable<int[]> Batches(IReadOnlyList<int[]> rows, IReadOnlyList<int> starts, float[][] logprobs)
    {
        List<int> batch = [];
        int tokens = 0;
        foreach (int b in Enumerable.Range(0, rows.Count).OrderBy(b => rows[b].Length))
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(starts[b], 1, nameof(starts));
            if (rows[b].Length <= starts[b])
            {
                logprobs[b] = [];
                continue;
            }
            if (batch.Count > 0 && tokens + rows[b].Length > TokensPerBatch)
            {
                yield return [.. batch];
                batch.Clear();
                tokens = 0;
            }
            batch.Add(b);
            tokens += rows[b].Length;
        }
        if (batch.Count > 0)
            yield return [.. batch];
    }
}
