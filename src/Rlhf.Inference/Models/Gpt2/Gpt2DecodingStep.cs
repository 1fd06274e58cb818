using static TorchSharp.torch;

namespace Rlhf.Models.Gpt2;

/// <summary>What all layers share in one decoding step.</summary>
internal sealed class Gpt2DecodingStep
{
    public Gpt2DecodingStep(KeyValueCache cache, int rows, int longest, long[] positions, Device device)
    {
        (Rows, Longest) = (rows, longest);
        for (int b = 0; b < rows; b++)
            positions[b] += (long)b * cache.MaxLength;
        Slots = tensor(positions, int64, device);
        for (int b = 0; b < rows; b++)
            positions[b] -= (long)b * cache.MaxLength;
        if (positions.All(p => p == longest - 1))
            return;
        var mask = new float[rows * longest];
        for (int b = 0; b < rows; b++)
            mask.AsSpan(b * longest + (int)positions[b] + 1, longest - (int)positions[b] - 1).Fill(float.NegativeInfinity);
        Mask = tensor(mask, [rows, 1, 1, longest], cache.Keys[0].dtype, device);
    }

    public int Rows { get; }

    public int Longest { get; }

    /// <summary>Where each row's new key goes in the cache seen as [rows · maxLength, D].</summary>
    public Tensor Slots { get; }

    /// <summary>
    /// Additive mask [rows, 1, 1, longest] that hides what lies behind each row's end; null when all rows are equally long.
    /// </summary>
    public Tensor? Mask { get; }
}
