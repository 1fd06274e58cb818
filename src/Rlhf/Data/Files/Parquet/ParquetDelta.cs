using System.Numerics;
using Parquet.Meta;

namespace Rlhf.Data.Files.Parquet;

/// <summary>
/// Looks at the values of a page in one of the DELTA encodings before the parquet library decodes them. They begin with numbers
/// by which the library allocates (a block's size), and lengths by which a page of a few bytes becomes texts without end: a
/// million of them may begin as the one before.
/// </summary>
internal ref struct ParquetDelta
{
    // Writers make blocks of 128 to 2,048 values.
    private const int MaxBlock = 1 << 16;

    private readonly ReadOnlySpan<byte> data;
    private int position;

    private ParquetDelta(ReadOnlySpan<byte> data) => this.data = data;

    /// <summary>Checks a page of this many values and says how many bytes of text it makes beyond its own.</summary>
    /// <exception cref="InvalidDataException">The library must not decode it.</exception>
    public static long Check(ReadOnlySpan<byte> data, Encoding encoding, int values)
    {
        var scan = new ParquetDelta(data);
        if (data.IsEmpty && values == 0)
            return 0;
        if (encoding is Encoding.DELTA_BYTE_ARRAY)
            return scan.Texts(values);
        scan.Begin(values); // what follows is taken from the page as far as it goes
        return 0;
    }

    /// <summary>Number of values that definition levels (runs and packed bits, one bit each) say are there.</summary>
    /// <exception cref="InvalidDataException">The levels end before the values.</exception>
    public static int Present(ReadOnlySpan<byte> levels, int values)
    {
        var scan = new ParquetDelta(levels);
        int present = 0;
        for (int level = 0, count; level < values; level += count)
        {
            ulong header = scan.Unsigned(), run = header >> 1;
            if (header > int.MaxValue)
                throw new InvalidDataException("a run of definition levels is too long");
            bool isPacked = (header & 1) == 1;
            count = (int)Math.Min(isPacked ? run * 8 : run, (ulong)(values - level));
            if (!isPacked)
                present += run > 0 && scan.Byte() == 1 ? count : 0;
            for (int i = 0; isPacked && i < count; i += 8)
                present += BitOperations.PopCount(scan.Byte() & ((1u << Math.Min(8, count - i)) - 1));
        }
        return present;
    }

    /// <summary>Texts, each of which begins with as much of the one before as the first numbers say.</summary>
    private long Texts(int values)
    {
        var shared = Numbers(values);
        var own = Numbers(values);
        long bytes = 0, before = 0, beforeAscii = 0;
        for (int i = 0; i < values; i++)
        {
            if (shared[i] < 0 || shared[i] > before || own[i] < 0 || own[i] > data.Length - position)
                throw new InvalidDataException("a text is longer than its page");
            // The library counts characters where the format counts bytes.
            if (shared[i] > beforeAscii)
                throw new InvalidDataException("its texts share beginnings other than ASCII in the encoding DELTA_BYTE_ARRAY, "
                    + "which is not read; write it in another encoding");
            int ascii = data.Slice(position, own[i]).IndexOfAnyExceptInRange((byte)0, (byte)127);
            beforeAscii = shared[i] + (ascii < 0 ? own[i] : ascii);
            before = shared[i] + own[i];
            bytes += shared[i];
            position += own[i];
        }
        return bytes;
    }

    /// <summary>The numbers of a DELTA_BINARY_PACKED sequence.</summary>
    private int[] Numbers(int count)
    {
        var (miniblocks, perMiniblock, value) = Begin(count);
        var numbers = new int[count];
        int made = 0;
        if (count > 0)
            numbers[made++] = (int)value;
        while (made < count)
        {
            long least = Signed();
            var widths = Take(miniblocks);
            for (int miniblock = 0; miniblock < miniblocks && made < count; miniblock++)
            {
                int width = widths[miniblock];
                if (width > 32)
                    throw new InvalidDataException($"its lengths have {width} bits each");
                var packed = Take(perMiniblock / 8 * width);
                for (int i = 0; i < perMiniblock && made < count; i++)
                    numbers[made++] = (int)(value += least + Bits(packed, i * width, width));
            }
        }
        return numbers;
    }

    /// <summary>The head of a DELTA_BINARY_PACKED sequence; the format's own rules for a block's size are kept.</summary>
    private (int Miniblocks, int PerMiniblock, long First) Begin(int count)
    {
        ulong block = Unsigned(), miniblocks = Unsigned(), values = Unsigned();
        if (block is 0 or > MaxBlock || block % 128 != 0 || miniblocks == 0 || block % miniblocks != 0
            || block / miniblocks % 32 != 0)
            throw new InvalidDataException($"its values stand in blocks of {block:N0} in {miniblocks:N0} parts");
        if (values != (ulong)count)
            throw new InvalidDataException($"it holds {values:N0} values where its page has {count:N0}");
        return ((int)miniblocks, (int)(block / miniblocks), Signed());
    }

    private static long Bits(ReadOnlySpan<byte> packed, int from, int width)
    {
        long bits = 0;
        for (int i = 0; i < width; i++)
            bits |= (long)((packed[(from + i) / 8] >> ((from + i) % 8)) & 1) << i;
        return bits;
    }

    private ReadOnlySpan<byte> Take(int length)
    {
        if (length > data.Length - position)
            throw Ended();
        position += length;
        return data.Slice(position - length, length);
    }

    private static InvalidDataException Ended() => new("a page ends within its values");

    private byte Byte() => Take(1)[0];

    private ulong Unsigned() => VarInt.TryRead(data, ref position, out ulong value) ? value : throw Ended();

    private long Signed() => VarInt.ZigZag(Unsigned());
}
