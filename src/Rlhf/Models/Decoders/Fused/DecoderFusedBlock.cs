using Rlhf.Models.Fused;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>
/// A block's forward and backward pass on the CPU, each one call into libtorch, with the backward pass written out
/// (<see cref="DecoderScript"/>). The numbers are those of <see cref="DecoderBlock"/> but for rounding.
/// </summary>
/// <remarks>N packed tokens, D width.</remarks>
internal static class DecoderFusedBlock
{
    /// <summary>Can a model compute this way? What this says no to is composed of libtorch's operators.</summary>
    /// <param name="shape">The model.</param>
    /// <param name="blocks">Its blocks.</param>
    /// <param name="training">Dropout is on.</param>
    public static bool Supports(DecoderShape shape, IReadOnlyList<DecoderBlock> blocks, bool training)
    {
        var weight = blocks[0].Linears[0].Weight;
        return FusedBlocks.Enabled && weight.device_type == DeviceType.CPU && weight.dtype is ScalarType.Float32 or ScalarType.BFloat16
            && shape.Activation is "silu" or "swish" or "gelu" or "gelu_new" or "gelu_pytorch_tanh"
            && shape.AttentionCap is null && !(training && (shape.AttentionDropout > 0 || shape.ResidualDropout > 0))
            && (weight.dtype == ScalarType.Float32 || blocks.All(b => b.Linears.All(l => !l.Weight.requires_grad)))
            && blocks.All(b => b.Linears.All(l => l.Adapter is null || l.Adapter.Magnitude is null && !(training && l.Adapter.Dropout > 0)));
    }

    /// <summary>The block's output [N, D], and what its backward pass needs.</summary>
    public static (Tensor Output, Tensor[] Kept) ForwardToTrain(DecoderBlock block, Tensor x, DecoderFusedPass pass)
    {
        var results = Forward(block, x, pass, keep: true, null);
        return (results[0], results[1..]);
    }

    /// <summary>The block's output [N, D]; keeps keys and values of every row in a cache's layer.</summary>
    public static Tensor Forward(DecoderBlock block, Tensor x, DecoderFusedPass pass, (Tensor Keys, Tensor Values)? cache) =>
        Forward(block, x, pass, keep: false, cache)[0];

    /// <summary>Gradients of the block's input [N, D] and of what is trained of its weights, from that of its output [N, D].</summary>
    public static (Tensor Input, IReadOnlyList<(Tensor Weight, Tensor Gradient)> Weights) Backward(
        DecoderBlock block, Tensor outputGradient, Tensor[] kept, DecoderFusedPass pass)
    {
        var weights = block.Weights();
        var script = DecoderScript.For(block.Shape, block.ShapeKey, weights);
        var tensors = weights.Tensors;
        var (cos, sin) = pass.Turn(block.Settings.Rope);
        var results = script.Invoke("backward", outputGradient, kept, tensors, cos, sin, pass.Pad, pass.Pack, pass.Rows,
            pass.Mask(block.Settings.Window));
        return (results[0], [.. script.Gradients.Select((index, i) => (tensors[index], results[i + 1]))]);
    }

    /// <summary>One token for each row: [rows, D] to [rows, D].</summary>
    public static Tensor Decode(DecoderBlock block, Tensor x, DecoderPass step, DecoderFusedPass pass, Tensor keys, Tensor values)
    {
        var weights = block.Weights();
        var (cos, sin) = pass.Turn(block.Settings.Rope);
        return DecoderScript.For(block.Shape, block.ShapeKey, weights).Invoke("decode", x, weights.Tensors, cos, sin, keys, values, step.Slots,
            pass.Mask(block.Settings.Window), step.Longest)[0];
    }

    private static Tensor[] Forward(DecoderBlock block, Tensor x, DecoderFusedPass pass, bool keep, (Tensor Keys, Tensor Values)? cache)
    {
        var weights = block.Weights();
        var (cos, sin) = pass.Turn(block.Settings.Rope);
        return DecoderScript.For(block.Shape, block.ShapeKey, weights).Invoke("forward", x, weights.Tensors, cos, sin, pass.Pad, pass.Pack,
            pass.Rows, pass.Mask(block.Settings.Window), keep, cache?.Keys, cache?.Values);
    }
}
