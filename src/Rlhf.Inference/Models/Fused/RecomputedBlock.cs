using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Models.Fused;

/// <summary>
/// A block composed of libtorch's operators of which its input alone is kept: the backward pass computes it again. The numbers are the same
/// bit for bit, dropout included.
/// </summary>
internal sealed class RecomputedBlock : autograd.SingleTensorFunction<RecomputedBlock>
{
    public override string Name => "RecomputedBlock";

    /// <summary>[N, D] to [N, D].</summary>
    /// <param name="x">The block's input.</param>
    /// <param name="block">The block; called again in the backward pass.</param>
    /// <param name="isTrained">Does anything of the block itself need a gradient?</param>
    /// <param name="drops">Does the block draw random numbers?</param>
    /// <exception cref="NotSupportedException">It does, on another device than the CPU, where they cannot be drawn again.</exception>
    public static Tensor Apply(Tensor x, Func<Tensor, Tensor> block, bool isTrained, bool drops)
    {
        if (!is_grad_enabled() || !x.requires_grad && !isTrained)
            return block(x);
        if (drops && x.device_type != DeviceType.CPU)
            throw new NotSupportedException("Activations cannot be recomputed on a GPU while dropout is on, as its random numbers cannot be drawn again; "
                + "set dropout to 0, or keep the activations.");
        return apply(x.requires_grad ? x : x.detach().requires_grad_(true), block, drops);
    }

    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, block, drops) = ((Tensor)vars[0], (Func<Tensor, Tensor>)vars[1], (bool)vars[2]);
        ctx.save_for_backward([x]);
        ctx.save_data(nameof(block), block);
        ctx.save_data("random", drops ? new RandomState(Current()) : RandomState.None);
        using var noGrad = no_grad();
        return block(x);
    }

    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        var x = ctx.get_saved_variables()[0];
        return BackwardPass.Guard(() => x.shape, grad_output, inputs: 3,
            () => Gradient(x, (Func<Tensor, Tensor>)ctx.get_data("block"), (RandomState)ctx.get_data("random"), grad_output));
    }

    private static Tensor Gradient(Tensor x, Func<Tensor, Tensor> block, RandomState random, Tensor grad_output)
    {
        using var scope = NewDisposeScope();
        var input = x.detach().requires_grad_(true);
        using (enable_grad())
        {
            var y = Again(input, block, random);
            y.backward([grad_output]);
        }
        return input.grad!.MoveToOuterDisposeScope();
    }

    /// <summary>The block with the random numbers of before; those that follow stay what they would have been.</summary>
    private static Tensor Again(Tensor input, Func<Tensor, Tensor> block, RandomState random)
    {
        if (random.State is not { } state)
            return block(input);
        var generator = Generator.Default;
        var now = generator.get_state();
        generator.set_state(state);
        try
        {
            return block(input);
        }
        finally
        {
            generator.set_state(now);
            state.Dispose();
        }
    }

    private static Tensor Current() => Generator.Default.get_state().DetachFromDisposeScope();

    /// <summary>Where libtorch's random numbers stood; it belongs to the graph, and null is of no use.</summary>
    private sealed record RandomState(Tensor? State)
    {
        public static RandomState None { get; } = new((Tensor?)null);
    }
}
