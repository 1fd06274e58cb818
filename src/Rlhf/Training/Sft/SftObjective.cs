using Rlhf.Models;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Loop;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.Sft;

/// <summary>Next-token cross entropy of a causal language model: the mean of -ln p(token | tokens before it).</summary>
/// <param name="model">The model; it stays the caller's.</param>
public sealed class SftObjective(CausalLM model) : IObjective<SftExample>
{
    /// <inheritdoc/>
    public string Name => "sft";

    /// <inheritdoc/>
    public IReadOnlyList<KeyValuePair<string, Parameter>> Trained => model.TrainedParameters;

    /// <inheritdoc/>
    public string ModelFile => model.TrainedFile;

    /// <summary>Tokens that the loss counts.</summary>
    public double Weight(SftExample example) => example.LossTokens;

    /// <inheritdoc/>
    public int Length(SftExample example) => example.Ids.Length;

    /// <inheritdoc/>
    public void Check(IReadOnlyList<SftExample> examples)
    {
        if (examples.FirstOrDefault(e => e.Ids.Length > model.MaxPositions || e.LossTokens == 0) is { } bad)
            throw new ArgumentException(bad.LossTokens == 0
                ? "A sequence has no token that the loss counts; leave such sequences out."
                : $"A sequence has {bad.Ids.Length} tokens, but the model reads at most {model.MaxPositions}; lower MaxLength.");
    }

    /// <inheritdoc/>
    public Part ForwardBackward(IReadOnlyList<SftExample> minibatch, double share)
    {
        using var scope = NewDisposeScope();
        using var mode = model.InMode(training: true);
        using var rows = Rows(minibatch);
        var hidden = rows.Hidden(model.Forward(rows.Batch));
        var pass = model.Head.ForwardBackward(hidden, rows.Targets, (long _, Tensor logprobs) => full_like(logprobs, -share));
        BackwardPass.Run(() => hidden.backward([pass.HiddenGradient]));
        return new(-pass.Logprobs.sum().cpu().ToDouble(), rows.Batch.TokenCount);
    }

    /// <inheritdoc/>
    public Part Evaluate(IReadOnlyList<SftExample> minibatch)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var mode = model.InMode(training: false);
        using var rows = Rows(minibatch);
        var hidden = rows.Hidden(model.Forward(rows.Batch));
        return new(-model.Head.Logprobs(hidden, rows.Targets).sum().cpu().ToDouble(), rows.Batch.TokenCount);
    }

    private ScoredRows Rows(IReadOnlyList<SftExample> minibatch) => ScoredRows.Of([.. minibatch.Select(e => e.ToRow())], model.Device);
}
