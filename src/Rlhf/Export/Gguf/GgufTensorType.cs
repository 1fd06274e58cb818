using System.Runtime.InteropServices;

namespace Rlhf.Export.Gguf;

/// <summary>Element types of GGUF tensors, with the numbers that files have for them.</summary>
internal enum GgufTensorType
{
    F32 = 0,
    F16 = 1,

    /// <summary>Blocks of 32: a float16 step and 4 bits each, around 0.</summary>
    Q4_0 = 2,

    /// <summary>Blocks of 32: a float16 step and minimum, and 4 bits each.</summary>
    Q4_1 = 3,

    /// <summary>Blocks of 32: a float16 step and 8 bits each.</summary>
    Q8_0 = 8,

    BF16 = 30,
}

/// <summary>How numbers become the bytes of a type: llama.cpp's reference rounding.</summary>
/// <seealso href="https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c"/>
internal static class GgufTensorTypes
{
    /// <summary>Numbers in a block of the quantized types.</summary>
    public const int Block = 32;

    /// <summary>Bytes of as many numbers; a multiple of <see cref="Block"/> for quantized types.</summary>
    public static long Bytes(this GgufTensorType type, long count) => type switch
    {
        GgufTensorType.F32 => 4 * count,
        GgufTensorType.F16 or GgufTensorType.BF16 => 2 * count,
        _ => count / Block * type.BlockBytes(),
    };

    /// <summary>Are numbers stored in blocks that share a step?</summary>
    public static bool IsQuantized(this GgufTensorType type) => type.BlockBytes() > 0;

    private static int BlockBytes(this GgufTensorType type) => type switch
    {
        GgufTensorType.Q8_0 => 2 + Block,
        GgufTensorType.Q4_0 => 2 + Block / 2,
        GgufTensorType.Q4_1 => 4 + Block / 2,
        _ => 0,
    };

    /// <summary>Writes numbers as a type has them.</summary>
    /// <param name="type">The type.</param>
    /// <param name="values">The numbers.</param>
    /// <param name="bytes">Where they go: as many as <see cref="Bytes"/> says.</param>
    /// <exception cref="OverflowException">A finite number is too large for the type.</exception>
    public static void Encode(this GgufTensorType type, ReadOnlySpan<float> values, Span<byte> bytes)
    {
        switch (type)
        {
            case GgufTensorType.F32:
                MemoryMarshal.AsBytes(values).CopyTo(bytes);
                return;
            case GgufTensorType.F16:
                var halves = MemoryMarshal.Cast<byte, Half>(bytes);
                for (int i = 0; i < values.Length; i++)
                    halves[i] = ToHalf(values[i]);
                return;
            case GgufTensorType.BF16:
                var shorts = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (int i = 0; i < values.Length; i++)
                    shorts[i] = ToBFloat16(values[i]);
                return;
        }
        int size = type.BlockBytes();
        for (int b = 0; b < values.Length / Block; b++)
        {
            var from = values.Slice(b * Block, Block);
            var to = bytes.Slice(b * size, size);
            if (type == GgufTensorType.Q8_0)
                Q8_0(from, to);
            else if (type == GgufTensorType.Q4_0)
                Q4_0(from, to);
            else
                Q4_1(from, to);
        }
    }

    private static Half ToHalf(float value)
    {
        var half = (Half)value;
        return !Half.IsInfinity(half) || float.IsInfinity(value) ? half
            : throw new OverflowException("has values beyond 65504, which 16 bits of this kind cannot hold; choose bf16 or f32");
    }

    /// <summary>To the nearest, ties to even.</summary>
    private static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)(bits >> 16 | 64) : (ushort)(bits + (0x7FFF + (bits >> 16 & 1)) >> 16);
    }

    private static void Q8_0(ReadOnlySpan<float> values, Span<byte> block)
    {
        float largest = 0;
        foreach (float value in values)
            largest = Math.Max(largest, Math.Abs(value));
        float step = largest / 127, inverse = step > 0 ? 1 / step : 0;
        MemoryMarshal.Write(block, ToHalf(step));
        for (int i = 0; i < Block; i++)
            block[2 + i] = (byte)(sbyte)MathF.Round(values[i] * inverse, MidpointRounding.AwayFromZero);
    }

    private static void Q4_0(ReadOnlySpan<float> values, Span<byte> block)
    {
        float furthest = 0;
        foreach (float value in values)
            if (Math.Abs(value) > Math.Abs(furthest))
                furthest = value;
        float step = furthest / -8, inverse = step != 0 ? 1 / step : 0;
        MemoryMarshal.Write(block, ToHalf(step));
        for (int i = 0; i < Block / 2; i++)
            block[2 + i] = (byte)(Level(values[i]) | Level(values[i + Block / 2]) << 4);

        int Level(float value) => Math.Min(15, (int)(value * inverse + 8.5f));
    }

    private static void Q4_1(ReadOnlySpan<float> values, Span<byte> block)
    {
        float least = float.MaxValue, most = float.MinValue;
        foreach (float value in values)
            (least, most) = (Math.Min(least, value), Math.Max(most, value));
        float step = (most - least) / 15, inverse = step > 0 ? 1 / step : 0;
        MemoryMarshal.Write(block, ToHalf(step));
        MemoryMarshal.Write(block[2..], ToHalf(least));
        for (int i = 0; i < Block / 2; i++)
            block[4 + i] = (byte)(Level(values[i]) | Level(values[i + Block / 2]) << 4);

        int Level(float value) => Math.Min(15, (int)((value - least) * inverse + 0.5f));
    }
}
