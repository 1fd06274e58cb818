using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Generation;

/// <summary>A sampled token and what two models give for it at its place.</summary>
/// <param name="Id">The token.</param>
/// <param name="Logprob">Natural logarithm of its probability under the model that chose it, before sampling settings.</param>
/// <param name="OtherLogprob">The same under the other model.</param>
public readonly record struct ScoredToken(int Id, float Logprob, float OtherLogprob)
{
    /// <summary>ln p/q: how much likelier the token is under the model that chose it. Its mean over samples is the KL divergence.</summary>
    public float LogRatio => Logprob - OtherLogprob;
}

/// <summary>Logprobs of one text's tokens under a model, one after another, through a key/value cache.</summary>
internal sealed class TokenScorer : IDisposable
{
    private readonly CausalLM model;
    private readonly KeyValueCache cache;
    private readonly int[] query;
    private int? last;

    /// <param name="model">The model.</param>
    /// <param name="query">What comes before the first token; not empty, within the model's vocabulary.</param>
    /// <param name="mostTokens">How many tokens there will be at most.</param>
    public TokenScorer(CausalLM model, int[] query, int mostTokens)
    {
        (this.model, this.query) = (model, query);
        cache = model.CreateCache(1, query.Length + mostTokens - 1);
    }

    /// <summary>The next token's logprob after all before it.</summary>
    public float Next(int token)
    {
        using var mode = model.InMode(training: false);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var logits = model.Logits(Hidden()).cpu().reshape(-1).data<float>().ToArray();
        last = token;
        return (float)new Categorical(logits, new double[Categorical.BlockCount(logits.Length)]).Logprob(token);
    }

    /// <inheritdoc/>
    public void Dispose() => cache.Dispose();

    /// <summary>Hidden state [1, D] of the text's end so far.</summary>
    private Tensor Hidden()
    {
        if (last is { } token)
            return model.Decode(tensor([(long)token], int64, model.Device), cache);
        using var prompt = PackedBatch.FromRows([query], model.Device);
        return model.Prefill(prompt, cache).narrow(0, query.Length - 1, 1);
    }
}
