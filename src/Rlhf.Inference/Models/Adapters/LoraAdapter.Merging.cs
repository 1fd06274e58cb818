using Rlhf.Models.Layers;
using Rlhf.Runtime;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Adapters;

/// <summary>The adapter within the weights: in copies for a while, in the base for good, or in another model.</summary>
public sealed partial class LoraAdapter
{
    /// <summary>
    /// The model computes with merged copies of its weights until the result is disposed: as fast as without an adapter, for rollouts. The
    /// weights themselves are not touched. Nothing can be trained meanwhile. While the adapter is off, nothing changes; nor does it where the
    /// base is kept in fewer bytes (<see cref="ComputePlan.Base"/>), whose copies would round the updates away or take what was saved.
    /// </summary>
    public IDisposable Merged()
    {
        if (!IsActive || isOff || merged.Count > 0 || Model.Plan.Base != BaseStorage.Float32)
            return new Ending(() => { });
        UseMerged([.. layers.Select(l => (l.Linear, new LinearWeights(Frozen(l.Layer.Merged(l.Linear.Own.Weight, l.Linear.IsConv1D)), l.Linear.Own.Bias)))]);
        return new Ending(DropMerged);
    }

    /// <summary>
    /// Puts the adapter into the base's weights for good, and disposes it: a model without adapter is left. PEFT:
    /// <c>merge_and_unload</c>.
    /// </summary>
    /// <exception cref="NotSupportedException">The base is kept as int8.</exception>
    public void MergeIntoBase()
    {
        RequireWeights();
        Activate();
        DropMerged();
        using var noGrad = no_grad();
        // A tied output layer with weights of its own is tied no longer.
        if (Model is CausalLM { IsTied: true } tied && (tied.Head.Layer.Adapter is not null || tied.Head.Layer.Substitute is not null))
            SeparateHead(tied);
        foreach (var (linear, layer) in layers)
        {
            using var whole = layer.Merged(linear.Own.Weight, linear.IsConv1D);
            linear.Own.Weight.copy_(whole);
        }
        foreach (var (linear, weights) in substitutes)
        {
            linear.Own.Weight.copy_(weights.Weight);
            if (weights.Bias is not null)
                linear.Own.Bias!.copy_(weights.Bias);
        }
        foreach (var each in saved.Concat(biases))
            each.Keep();
        Dispose();
    }

    /// <summary>Copies the model with the adapter in it into another one of the same shape.</summary>
    /// <exception cref="NotSupportedException">The adapter has an output layer of its own, and the other model's is tied.</exception>
    internal void MergeInto(PretrainedModel copy)
    {
        RequireWeights();
        using var noGrad = no_grad();
        var pairs = Model.Linears.Zip(copy.Linears).ToDictionary(p => p.First, p => p.Second);
        if (copy is CausalLM { IsTied: true } && Model is CausalLM model && (model.Head.Layer.Adapter ?? (object?)model.Head.Layer.Substitute) is not null)
            throw new NotSupportedException("The adapter has an output layer of its own on a model whose output layer is its embedding; "
                + "merge it (rlhf merge) and train on the merged model.");
        foreach (var (linear, layer) in layers)
        {
            using var whole = layer.Merged(linear.Own.Weight, linear.IsConv1D);
            pairs[linear].Own.Weight.copy_(whole);
        }
        foreach (var (linear, weights) in substitutes)
        {
            pairs[linear].Own.Weight.copy_(weights.Weight);
            if (weights.Bias is not null)
                pairs[linear].Own.Bias!.copy_(weights.Bias);
        }
    }

    private void RequireWeights()
    {
        if (Model.Plan.Base == BaseStorage.Int8)
            throw new NotSupportedException("An adapter cannot be merged into weights that are kept as int8; load the base in float32.");
    }

    private void UseMerged(List<(Linear Linear, LinearWeights Weights)> weights)
    {
        merged = weights;
        foreach (var (linear, whole) in merged)
            (linear.Adapter, linear.Substitute) = (null, whole);
    }

    private void DropMerged()
    {
        if (merged.Count == 0)
            return;
        foreach (var (linear, layer) in layers)
            (linear.Adapter, linear.Substitute) = (layer, null);
        foreach (var (_, whole) in merged)
            whole.Weight.Dispose();
        merged = [];
    }

    private void SeparateHead(CausalLM tied)
    {
        var before = tied.Head.Layer;
        using var weight = before.Own.Weight.detach().clone();
        tied.UntieHead();
        var after = tied.Head.Layer;
        after.Own.Weight.copy_(weight);
        for (int i = 0; i < layers.Count; i++)
            if (layers[i].Linear == before)
                layers[i] = (after, layers[i].Layer);
        for (int i = 0; i < substitutes.Count; i++)
            if (substitutes[i].Linear == before)
                substitutes[i] = (after, substitutes[i].Weights);
        (before.Adapter, before.Substitute) = (null, null);
    }

    private static Parameter Frozen(Tensor values)
    {
        using (values)
            return (Parameter)new Parameter(values, requires_grad: false).DetachFromDisposeScope();
    }
}
