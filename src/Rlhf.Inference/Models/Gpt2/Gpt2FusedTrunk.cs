using Rlhf.Runtime.Operators;
using static TorchSharp.torch;

namespace Rlhf.Models.Gpt2;

/// <summary>
/// All blocks as one node of autograd's graph. The backward pass adds to the <c>grad</c> of the blocks' parameters itself and lets go of a
/// block's tensors as soon as it is through with them; or it computes a block again from its input, which is then all that is kept.
/// </summary>
internal sealed class Gpt2FusedTrunk : autograd.SingleTensorFunction<Gpt2FusedTrunk>
{
    public override string Name => "Gpt2Trunk";

    /// <summary>[N, D] to [N, D].</summary>
    /// <param name="x">Embeddings.</param>
    /// <param name="blocks">The blocks, from the bottom up.</param>
    /// <param name="batch">The rows.</param>
    /// <param name="recomputes">Keep each block's input alone.</param>
    public static Tensor Apply(Tensor x, Gpt2Block[] blocks, PackedBatch batch, bool recomputes)
    {
        // Frozen blocks at the bottom, of which nothing needs a gradient.
        int frozen = x.requires_grad ? 0 : Array.FindIndex(blocks, b => b.Parameters.Any(p => p.requires_grad));
        if (frozen < 0 || !is_grad_enabled())
            return Run(x, blocks, batch);
        using (no_grad())
            x = Run(x, blocks[..frozen], batch);
        return apply(x.requires_grad ? x : x.detach().requires_grad_(true), blocks[frozen..], batch, recomputes);
    }

    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, blocks, batch, recomputes) = ((Tensor)vars[0], (Gpt2Block[])vars[1], (PackedBatch)vars[2], (bool)vars[3]);
        var kept = new Tensor[blocks.Length][];
        for (int i = 0; i < blocks.Length; i++)
        {
            var input = x;
            (x, kept[i]) = Gpt2FusedBlock.ForwardToTrain(blocks[i], input, batch);
            if (recomputes)
                kept[i] = InputAlone(kept[i], input);
            // They belong to the graph, which may outlive the scope that it was made in.
            foreach (var tensor in kept[i])
                tensor.DetachFromDisposeScope();
            if (i > 0)
                input.Dispose();
        }
        ctx.save_data(nameof(blocks), blocks);
        ctx.save_data(nameof(batch), batch);
        ctx.save_data(nameof(recomputes), recomputes);
        ctx.save_data(nameof(kept), kept);
        return x;
    }

    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        var kept = (Tensor[][])ctx.get_data("kept");
        try
        {
            return BackwardPass.Guard(() => grad_output.shape, grad_output, inputs: 4,
                () => Gradient((Gpt2Block[])ctx.get_data("blocks"), (PackedBatch)ctx.get_data("batch"), kept,
                    (bool)ctx.get_data("recomputes"), grad_output));
        }
        finally
        {
            foreach (var tensor in kept.SelectMany(block => block))
                tensor.Dispose(); // those of a pass that failed
        }
    }

    private static Tensor Gradient(Gpt2Block[] blocks, PackedBatch batch, Tensor[][] kept, bool recomputes, Tensor grad_output)
    {
        using var noGrad = no_grad();
        var gradient = grad_output;
        for (int i = blocks.Length - 1; i >= 0; i--)
        {
            using var scope = NewDisposeScope();
            var known = recomputes ? Gpt2FusedBlock.ForwardToTrain(blocks[i], kept[i][0], batch).Kept : kept[i];
            var (input, parameters) = Gpt2FusedBlock.Backward(blocks[i], gradient, known, batch);
            var own = blocks[i].Parameters;
            for (int p = 0; p < parameters.Length; p++)
                if (own[p] is { requires_grad: true } parameter)
                    parameter.grad = parameter.grad is { } sum ? sum.add_(parameters[p]) : parameters[p];
            if (i < blocks.Length - 1)
                gradient.Dispose();
            foreach (var tensor in kept[i].Concat(known))
                tensor.Dispose();
            gradient = input.MoveToOuterDisposeScope();
        }
        return gradient;
    }

    /// <summary>In place of what the backward pass needs. (The pass without anything kept takes GELU within a product, which rounds differently.)</summary>
    private static Tensor[] InputAlone(Tensor[] kept, Tensor input)
    {
        Tensor[] alone = [input.alias()];
        foreach (var tensor in kept)
            tensor.Dispose();
        return alone;
    }

    private static Tensor Run(Tensor x, Gpt2Block[] blocks, PackedBatch batch)
    {
        foreach (var block in blocks)
        {
            using var scope = NewDisposeScope();
            x = Gpt2FusedBlock.Forward(block, x, batch, null).MoveToOuterDisposeScope();
        }
        return x;
    }
}
