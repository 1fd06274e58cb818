using Rlhf.Models.Fused;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>
/// A block's forward and backward pass on the CPU, each a few calls into libtorch, with the backward pass written out
/// (<see cref="DecoderScript"/>, <see cref="PackedAttention"/>). The numbers are those of <see cref="DecoderBlock"/> but for rounding.
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
        return FusedBlocks.Enabled && weight.device_type == DeviceType.CPU && weight.dtype is ScalarType.Float32 or ScalarType.BFloat16 or ScalarType.Int8
            && shape.HasFusedBlocks && !(training && (shape.AttentionDropout > 0 || shape.ResidualDropout > 0))
            && (weight.dtype == ScalarType.Float32 || blocks.All(b => b.Linears.All(l => !l.Weight.requires_grad || l.Weight.dtype == ScalarType.Float32)))
            && blocks.All(b => b.Linears.All(l => l.Adapter is null || l.Adapter.Magnitude is null && !(training && l.Adapter.Dropout > 0)));
    }

    /// <summary>The block's output [N, D], and what its backward pass needs.</summary>
    public static (Tensor Output, Tensor[] Kept) ForwardToTrain(DecoderBlock block, Tensor x, DecoderFusedPass pass) =>
        Forward(block, x, pass, keep: true, null);

    /// <summary>The block's output [N, D]; keeps keys and values of every row in a cache's layer.</summary>
    public static Tensor Forward(DecoderBlock block, Tensor x, DecoderFusedPass pass, (Tensor Keys, Tensor Values)? cache) =>
        Forward(block, x, pass, keep: false, cache).Output;

    /// <summary>Gradients of the block's input [N, D] and of what is trained of its weights, from that of its output [N, D].</summary>
    public static (Tensor Input, IReadOnlyList<(Tensor Weight, Tensor Gradient)> Weights) Backward(
        DecoderBlock block, Tensor outputGradient, Tensor[] kept, DecoderFusedPass pass)
    {
        var weights = block.Weights();
        var script = DecoderScript.For(block.Shape, block.ShapeKey, weights);
        var tensors = weights.Tensors;
        var (cos, sin) = pass.Turn(block.Settings.Rope);
        bool packed = pass.PacksAttention, norms = block.Shape.QueryKeyNorm != QueryKeyNorm.None;
        int at = norms ? 2 : 1, end = at + (packed ? 3 : 5);
        var (x, raw, attended) = (kept[0], norms ? kept[1] : null, kept[at..end]);
        var o = packed ? attended[1] : script.Invoke("merged", attended, pass.Pack)[0];
        var finished = script.Invoke("finish_backward", outputGradient, x, o, kept[end..], tensors);
        var dqkv = packed ? PackedAttention.Backward(block.Shape, pass, block.Settings, finished[0], attended[0], o, attended[2])
            : script.Invoke("attend_backward", finished[0], attended, cos, sin, pass.Pack, pass.Rows, pass.Mask(block.Settings.Window))[0];
        var projected = script.Invoke("project_backward", dqkv, finished[1], x, raw, tensors);
        Tensor[] gradients = [.. finished[2..], .. projected[1..]];
        return (projected[0], [.. script.Gradients.Select((index, i) => (tensors[index], gradients[i]))]);
    }

    /// <summary>One token for each row: [rows, D] to [rows, D].</summary>
    public static Tensor Decode(DecoderBlock block, Tensor x, DecoderPass step, DecoderFusedPass pass, Tensor keys, Tensor values)
    {
        var weights = block.Weights();
        var (cos, sin) = pass.Turn(block.Settings.Rope);
        return DecoderScript.For(block.Shape, block.ShapeKey, weights).Invoke("decode", x, weights.Tensors, cos, sin, keys, values, step.Slots,
            pass.Mask(block.Settings.Window), step.Longest)[0];
    }

    private static (Tensor Output, Tensor[] Kept) Forward(
        DecoderBlock block, Tensor x, DecoderFusedPass pass, bool keep, (Tensor Keys, Tensor Values)? cache)
    {
        using var scope = NewDisposeScope();
        var weights = block.Weights();
        var (script, tensors) = (DecoderScript.For(block.Shape, block.ShapeKey, weights), weights.Tensors);
        var projected = script.Invoke("project", x, tensors);
        Tensor[] attended;
        Tensor o;
        if (pass.PacksAttention && cache is not { Keys.dtype: not ScalarType.Float32 })
        {
            (o, var logSums) = PackedAttention.Forward(block.Shape, pass, block.Settings, projected[0], cache);
            attended = [projected[0], o, logSums];
        }
        else
        {
            var (cos, sin) = pass.Turn(block.Settings.Rope);
            attended = script.Invoke("attend", projected[0], cos, sin, pass.Pad, pass.Pack, pass.Rows, pass.Mask(block.Settings.Window),
                cache?.Keys, cache?.Values);
            (o, attended) = (attended[0], attended[1..]);
        }
        var results = script.Invoke("finish", x, o, tensors, keep);
        Tensor[] kept = keep ? [x.alias(), .. projected[1..], .. attended, .. results[1..]] : [];
        foreach (var tensor in kept)
            tensor.MoveToOuterDisposeScope();
        return (results[0].MoveToOuterDisposeScope(), kept);
    }
}
