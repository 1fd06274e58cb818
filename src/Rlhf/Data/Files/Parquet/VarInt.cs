namespace Rlhf.Data.Files.Parquet;

/// <summary>Integers in 7 bits a byte, the lowest first, as Thrift and parquet's encodings write them.</summary>
internal static class VarInt
{
    /// <summary>Reads one and goes past it; false where the data end within it.</summary>
    /// <param name="data">The data.</param>
    /// <param name="position">Where it begins, then where it ends.</param>
    /// <param name="value">Its value.</param>
    /// <exception cref="InvalidDataException">It has more than 64 bits.</exception>
    public static bool TryRead(ReadOnlySpan<byte> data, ref int position, out ulong value)
    {
        value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            if (position >= data.Length)
                return false;
            byte b = data[position++];
            value |= (ulong)(b & 127) << shift;
            if (b < 128)
                return true;
        }
        throw new InvalidDataException("an integer is too long");
    }

    /// <summary>The signed number that such an integer stands for: 0, -1, 1, -2 and so on.</summary>
    public static long ZigZag(ulong value) => (long)(value >> 1) ^ -(long)(value & 1);
}
