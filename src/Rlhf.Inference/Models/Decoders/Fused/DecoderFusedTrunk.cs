using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>
/// All blocks as one node of autograd's graph. The backward pass adds to the <c>grad</c> of the blocks' weights itself and lets go of a
/// block's tensors as soon as it is through with them; or it computes a block again from its input, which is then all that is kept.
/// </summary>
internal sealed class DecoderFusedTrunk : autograd.SingleTensorFunction<DecoderFusedTrunk>
{
    public override string Name => "DecoderTrunk";

    /// <summary>[N, D] to [N, D], float32.</summary>
    /// <param name="x">Embeddings, float32.</param>
    /// <param name="blocks">The blocks, from the bottom up.</param>
    /// <param name="pass">What they share; this method sees to its end.</param>
    /// <param name="recomputes">Keep each block's input alone.</param>
    public static Tensor Apply(Tensor x, DecoderBlock[] blocks, DecoderFusedPass pass, bool recomputes)
    {
        // Frozen blocks at the bottom, of which nothing needs a gradient.
        int frozen = !is_grad_enabled() ? -1 : x.requires_grad ? 0 : Array.FindIndex(blocks, b => b.Weights().AnyTrained);
        if (frozen < 0)
            using (pass)
                return Run(x, blocks, pass, null);
        using (no_grad())
            x = Run(x, blocks[..frozen], pass, null);
        return apply(x.requires_grad ? x : x.detach().requires_grad_(true), blocks[frozen..], pass, recomputes);
    }

    /// <summary>Without gradient: [N, D] to [N, D], with the keys and values of every row in a cache.</summary>
    public static Tensor Run(Tensor x, DecoderBlock[] blocks, DecoderFusedPass pass, KeyValueCache? cache)
    {
        for (int i = 0; i < blocks.Length; i++)
        {
            using var scope = NewDisposeScope();
            var before = x;
            x = DecoderFusedBlock.Forward(blocks[i], x, pass, cache is null ? null : (cache.Keys[i], cache.Values[i])).MoveToOuterDisposeScope();
            if (i > 0)
                before.Dispose();
        }
        return x;
    }

    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, blocks, pass, recomputes) = ((Tensor)vars[0], (DecoderBlock[])vars[1], (DecoderFusedPass)vars[2], (bool)vars[3]);
        var kept = new Tensor[blocks.Length][];
        for (int i = 0; i < blocks.Length; i++)
        {
            var input = x;
            if (recomputes)
                (x, kept[i]) = (DecoderFusedBlock.Forward(blocks[i], input, pass, null), [input.alias()]);
            else
                (x, kept[i]) = DecoderFusedBlock.ForwardToTrain(blocks[i], input, pass);
            // They belong to the graph, which may outlive the scope that it was made in.
            foreach (var tensor in kept[i])
                tensor.DetachFromDisposeScope();
            if (i > 0)
                input.Dispose();
        }
        ctx.save_data(nameof(blocks), blocks);
        ctx.save_data(nameof(pass), pass);
        ctx.save_data(nameof(recomputes), recomputes);
        ctx.save_data(nameof(kept), kept);
        return x;
    }

    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        var kept = (Tensor[][])ctx.get_data("kept");
        using var pass = (DecoderFusedPass)ctx.get_data("pass");
        try
        {
            return BackwardPass.Guard(() => grad_output.shape, grad_output, inputs: 4,
                () => Gradient((DecoderBlock[])ctx.get_data("blocks"), pass, kept, (bool)ctx.get_data("recomputes"), grad_output));
        }
        finally
        {
            foreach (var tensor in kept.SelectMany(block => block))
                tensor.Dispose(); // those of a pass that failed
        }
    }

    private static Tensor Gradient(DecoderBlock[] blocks, DecoderFusedPass pass, Tensor[][] kept, bool recomputes, Tensor grad_output)
    {
        using var noGrad = no_grad();
        var gradient = grad_output;
        for (int i = blocks.Length - 1; i >= 0; i--)
        {
            using var scope = NewDisposeScope();
            var known = recomputes ? DecoderFusedBlock.ForwardToTrain(blocks[i], kept[i][0], pass).Kept : kept[i];
            var (input, weights) = DecoderFusedBlock.Backward(blocks[i], gradient, known, pass);
            foreach (var (weight, own) in weights)
                weight.grad = weight.grad is { } sum ? sum.add_(own) : own;
            if (i < blocks.Length - 1)
                gradient.Dispose();
            foreach (var tensor in kept[i].Concat(known))
                tensor.Dispose();
            gradient = input.MoveToOuterDisposeScope();
        }
        return gradient;
    }
}
