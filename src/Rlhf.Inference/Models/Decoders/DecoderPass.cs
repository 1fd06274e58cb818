using static TorchSharp.torch;

namespace Rlhf.Models.Decoders;

/// <summary>
/// What all layers share in one pass: sines and cosines of the positions, and masks by window. Belongs to the dispose scope that it was
/// made in.
/// </summary>
/// <remarks>N tokens, R rotated numbers of a head, S keys.</remarks>
internal sealed class DecoderPass
{
    private readonly (Tensor Cos, Tensor Sin)?[] turns;
    private readonly Dictionary<int, Tensor?> masks;

    private DecoderPass(DecoderShape shape, Tensor positions, int length, ScalarType type, Func<int?, Tensor?> makeMask)
    {
        // Made here, as the blocks have scopes of their own.
        masks = shape.Layers.Select(l => l.Window).Distinct().ToDictionary(w => w ?? 0, makeMask);
        turns = new (Tensor, Tensor)?[shape.Ropes.Count];
        foreach (int used in shape.Layers.Select(l => l.Rope).OfType<int>().Distinct())
            turns[used] = Turn(shape.Ropes[used], positions, length, type);
    }

    /// <summary>Where a decoding step's keys go in the cache seen as [rows · maxLength, width]; null in a pass over whole rows.</summary>
    public Tensor? Slots { get; private init; }

    /// <summary>Rows of a decoding step.</summary>
    public int Rows { get; private init; }

    /// <summary>Keys that a decoding step looks at.</summary>
    public int Longest { get; private init; }

    /// <summary>A pass over whole rows.</summary>
    /// <param name="shape">The model.</param>
    /// <param name="batch">The rows.</param>
    /// <param name="type">Element type of activations.</param>
    /// <param name="capacity">Tokens that the rows may grow to, where keys are kept.</param>
    public static DecoderPass Over(DecoderShape shape, PackedBatch batch, ScalarType type, int capacity = 0)
    {
        int t = batch.MaxLength;
        // Rows are padded on the right, so that a mask of the order alone hides the padding from every token.
        return new DecoderPass(shape, batch.PositionIds, Math.Max(capacity, batch.MaxPosition + 1), type, window =>
        {
            bool slides = window is { } width && width < t;
            if (!slides && shape.AttentionCap is null)
                return null;
            var seen = ones([t, t], ScalarType.Bool, batch.Device).tril();
            return slides ? seen.logical_and(ones([t, t], ScalarType.Bool, batch.Device).triu(1 - window!.Value)) : seen;
        });
    }

    /// <summary>One token for each of a cache's rows, at positions [rows].</summary>
    public static DecoderPass Step(DecoderShape shape, KeyValueCache cache, long[] positions, int longest, ScalarType type, Device device)
    {
        int rows = positions.Length;
        var slots = tensor([.. positions.Select((p, b) => p + (long)b * cache.MaxLength)], int64, device);
        return new DecoderPass(shape, tensor(positions, int64, device), cache.MaxLength, type, Mask)
        {
            Slots = slots,
            Rows = rows,
            Longest = longest,
        };

        Tensor? Mask(int? window)
        {
            var seen = new bool[rows * longest];
            for (int b = 0; b < rows; b++)
            {
                int end = (int)positions[b] + 1, start = Math.Max(0, end - (window ?? end));
                seen.AsSpan(b * longest + start, end - start).Fill(true);
            }
            return Array.TrueForAll(seen, s => s) ? null : tensor(seen, [rows, 1, 1, longest], ScalarType.Bool, device);
        }
    }

    /// <summary>What a layer's tokens may see, as booleans; null: all before them in a pass, everything in a decoding step.</summary>
    public Tensor? Mask(int? window) => masks[window ?? 0];

    /// <summary>Cosines and sines [N, 1, R / 2] of each rotary setting; null where no layer uses it.</summary>
    public IReadOnlyList<(Tensor Cos, Tensor Sin)?> Turns => turns;

    /// <summary>Turns the first R numbers of each head [N, H, head size] by their token's angles.</summary>
    public Tensor Rotate(Tensor x, int? rope)
    {
        if (rope is not { } index || turns[index] is not var (cos, sin))
            return x;
        long half = cos.shape[^1], size = x.shape[^1];
        Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
        List<Tensor> parts = [first * cos - second * sin, second * cos + first * sin];
        if (2 * half < size)
            parts.Add(x.narrow(-1, 2 * half, size - 2 * half));
        return cat(parts, -1);
    }

    private static (Tensor Cos, Tensor Sin) Turn(RopeConfig rope, Tensor positions, int length, ScalarType type)
    {
        var frequencies = tensor(rope.Frequencies(length), device: positions.device);
        // [N, 1, R / 2]: the same for all heads.
        var angles = positions.to(float32).unsqueeze(1).mul(frequencies).unsqueeze(1);
        return (angles.cos().mul_(rope.AttentionFactor).to(type), angles.sin().mul_(rope.AttentionFactor).to(type));
    }
}
