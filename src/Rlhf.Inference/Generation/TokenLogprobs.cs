using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Generation;

/// <summary>A token of a text and what a model gives for it and for the likeliest tokens in its place.</summary>
/// <param name="Id">The token.</param>
/// <param name="Logprob">Natural logarithm of its probability, given all tokens before it.</param>
/// <param name="Top">The likeliest tokens with theirs, likeliest first; as many as were asked for.</param>
public sealed record TokenLogprobs(int Id, float Logprob, IReadOnlyList<(int Id, float Logprob)> Top)
{
    /// <summary>Positions whose logits [c, V] are made at a time.</summary>
    private const int Chunk = 256;

    /// <summary>The tokens of a row but the first.</summary>
    internal static IReadOnlyList<TokenLogprobs> Of(CausalLM model, int[] row, int top)
    {
        using var mode = model.InMode(training: false);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var batch = PackedBatch.FromRows([row], model.Device);
        var hidden = model.Forward(batch);
        var tokens = new TokenLogprobs[row.Length - 1];
        for (int start = 0; start < tokens.Length; start += Chunk)
        {
            using var inner = NewDisposeScope();
            int count = Math.Min(Chunk, tokens.Length - start);
            var logprobs = model.Logits(hidden.narrow(0, start, count)).to(float32).log_softmax(-1);
            var ids = tensor([.. row.AsSpan(start + 1, count).ToArray().Select(id => (long)id)], int64, model.Device);
            float[] own = logprobs.gather(1, ids.unsqueeze(1)).cpu().reshape(-1).data<float>().ToArray();
            float[] best = [];
            long[] bestIds = [];
            if (top > 0)
            {
                var (values, indices) = logprobs.topk(top, -1);
                (best, bestIds) = (values.cpu().reshape(-1).data<float>().ToArray(), indices.cpu().reshape(-1).data<long>().ToArray());
            }
            for (int i = 0; i < count; i++)
                tokens[start + i] = new(row[start + i + 1], own[i],
                    [.. Enumerable.Range(i * top, top).Select(at => ((int)bestIds[at], best[at]))]);
        }
        return tokens;
    }
}
