using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>
/// What the fused blocks share in one pass, as their scripts take it. Lives until it is disposed: the backward pass needs it, too.
/// </summary>
/// <remarks>N tokens, B rows, T positions of the longest, K heads of keys and values, R rotated numbers of a head.</remarks>
internal sealed class DecoderFusedPass : IDisposable
{
    private readonly (Tensor Cos, Tensor Sin)?[] turns;
    private readonly Dictionary<int, Tensor?> masks = [];
    private readonly PackedBatch? batch;
    private readonly int heads;
    private Tensor? pad, pack;

    /// <summary>Over whole rows, or a decoding step where there is no batch.</summary>
    public DecoderFusedPass(DecoderShape shape, DecoderPass pass, PackedBatch? batch)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        turns = [.. pass.Turns.Select(t => t is var (cos, sin) ? Widened(cos, sin, shape.Sizes.HeadSize) : ((Tensor, Tensor)?)null)];
        foreach (int? window in shape.Layers.Select(l => l.Window).Distinct())
            masks[window ?? 0] = pass.Mask(window) is { } seen
                ? zeros(seen.shape, float32, seen.device).masked_fill_(seen.logical_not(), double.NegativeInfinity).DetachFromDisposeScope() : null;
        (this.batch, heads) = (batch, shape.Sizes.KeyValueHeads);
        PacksAttention = batch is not null && PackedAttention.Supports(shape, batch);
    }

    /// <summary>B.</summary>
    public int Rows => Offsets.Length - 1;

    /// <summary>Start of each row, and N at the end.</summary>
    public int[] Offsets => batch?.Offsets ?? throw new InvalidOperationException("A decoding step has no rows of tokens.");

    /// <summary><see cref="PackedBatch.Branches"/>.</summary>
    public IReadOnlyList<int[]?>? Branches => batch?.Branches;

    /// <summary>Attention is <see cref="PackedAttention"/>, forward and backward.</summary>
    public bool PacksAttention { get; }

    /// <summary>Token and head of keys [B · K · T] of each padded place, as n · K + k.</summary>
    public Tensor Pad => pad ??= Padding().Pad;

    /// <summary>Padded place [N · K] of each token and head of keys.</summary>
    public Tensor Pack => pack ??= Padding().Pack;

    /// <summary>Cosines [N, 1, head size] and sines [N, 1, R / 2] of a layer's rotary settings; null where it has none.</summary>
    public (Tensor? Cos, Tensor? Sin) Turn(int? rope) => rope is { } index && turns[index] is var (cos, sin) ? (cos, sin) : (null, null);

    /// <summary>What is added to the scores of a layer with a window: 0, or minus infinity for what it must not see.</summary>
    public Tensor? Mask(int? window) => masks[window ?? 0];

    public void Dispose()
    {
        foreach (var turn in turns)
            if (turn is var (cos, sin))
            {
                cos.Dispose();
                sin.Dispose();
            }
        foreach (var mask in masks.Values)
            mask?.Dispose();
        pad?.Dispose();
        pack?.Dispose();
    }

    private (Tensor Pad, Tensor Pack) Padding()
    {
        var rows = batch!;
        int longest = rows.MaxLength;
        var padding = new long[(long)Rows * heads * longest];
        var packing = new long[(long)rows.TokenCount * heads];
        long at = 0;
        for (int b = 0; b < Rows; b++)
            for (int k = 0; k < heads; k++)
                for (int t = 0; t < longest; t++)
                {
                    // A row's padding is its last token.
                    bool isToken = t < rows.Length(b);
                    long token = rows.Offsets[b] + (isToken ? t : rows.Length(b) - 1);
                    if (isToken)
                        packing[token * heads + k] = at;
                    padding[at++] = token * heads + k;
                }
        return (pad, pack) = (tensor(padding, int64).DetachFromDisposeScope(), tensor(packing, int64).DetachFromDisposeScope());
    }

    private static (Tensor, Tensor) Widened(Tensor cos, Tensor sin, int headSize)
    {
        cos = cos.to(float32);
        long rest = headSize - 2 * cos.shape[2];
        return (cat([cos, cos, ones([cos.shape[0], 1, rest])], 2).DetachFromDisposeScope(), sin.to(float32, copy: true).DetachFromDisposeScope());
    }
}
