using System.Buffers.Binary;
using System.Text;

namespace Rlhf.Fuzz;

/// <summary>Makes an input from another by small and large damage. The same random numbers make the same inputs.</summary>
internal sealed class Mutator(Random random, IReadOnlyList<byte[]> tokens, int maxLength)
{
    private static readonly long[] Edges =
    [
        0, 1, -1, 2, 7, 8, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 511, 512, 1000, 1024, 4095, 4096, 32767, 32768,
        65535, 65536, 100_000_000, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 32, 1L << 53, long.MaxValue, long.MinValue,
        -128, -32768,
    ];

    private static readonly byte[][] Numbers =
    [
        .. new[]
        {
            "0", "1", "-1", "65536", "2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
            "18446744073709551615", "18446744073709551616", "1e308", "1e999", "-0", "0.1", "99999999999999999999999999", "null",
            "true",
        }.Select(Encoding.ASCII.GetBytes),
    ];

    /// <summary>A damaged copy; <paramref name="other"/> lends parts.</summary>
    public byte[] Mutate(byte[] input, byte[] other)
    {
        var bytes = new List<byte>(input);
        for (int count = 1 << random.Next(5); count > 0; count--)
            Change(bytes, other);
        if (bytes.Count > maxLength)
            bytes.RemoveRange(maxLength, bytes.Count - maxLength);
        return [.. bytes];
    }

    private void Change(List<byte> bytes, byte[] other)
    {
        int at = random.Next(bytes.Count + 1), left = bytes.Count - at;
        int length = left == 0 ? 0 : 1 + random.Next(Math.Min(left, random.Next(4) == 0 ? 256 : 8));
        switch (random.Next(16))
        {
            case 0 or 1 when left > 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
            case 2 when left > 0: bytes[at] = (byte)random.Next(256); break;
            case 3 when left > 0: bytes[at] += (byte)(random.Next(70) - 35); break;
            case 4: Overwrite(bytes, at, Edge()); break;
            case 5: bytes.RemoveRange(at, length); break;
            case 6: bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, length)); break;
            case 7: Overwrite(bytes, random.Next(bytes.Count + 1), bytes.GetRange(at, length)); break;
            case 8: bytes.Insert(at, (byte)random.Next(256)); break;
            case 9 or 10: bytes.InsertRange(at, Token()); break;
            case 11: Overwrite(bytes, at, Token()); break;
            case 12: ReplaceNumber(bytes, at); break;
            case 13: Splice(bytes, at, other); break;
            case 14 when random.Next(8) == 0: Repeat(bytes, at, length == 0 ? Token() : [.. bytes.GetRange(at, length)]); break;
            case 15 when random.Next(4) == 0: bytes.RemoveRange(at, left); break;
            default: bytes.InsertRange(at, Token()); break;
        }
    }

    private byte[] Token() => tokens.Count == 0 || random.Next(8) == 0
        ? Numbers[random.Next(Numbers.Length)] : tokens[random.Next(tokens.Count)];

    /// <summary>A number at which programs go wrong, in one, two, four or eight bytes of either order.</summary>
    private byte[] Edge()
    {
        var bytes = new byte[8];
        int width = 1 << random.Next(4);
        long value = Edges[random.Next(Edges.Length)];
        if (random.Next(2) == 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
            return bytes[..width];
        }
        BinaryPrimitives.WriteInt64BigEndian(bytes, value);
        return bytes[^width..];
    }

    private static void Overwrite(List<byte> bytes, int at, IReadOnlyList<byte> content)
    {
        for (int i = 0; i < content.Count && at + i < bytes.Count; i++)
            bytes[at + i] = content[i];
    }

    private void ReplaceNumber(List<byte> bytes, int at)
    {
        int start = bytes.FindIndex(at, b => b is >= (byte)'0' and <= (byte)'9');
        if (start < 0)
            return;
        int end = start;
        while (end < bytes.Count && bytes[end] is >= (byte)'0' and <= (byte)'9')
            end++;
        bytes.RemoveRange(start, end - start);
        bytes.InsertRange(start, Numbers[random.Next(Numbers.Length)]);
    }

    private void Splice(List<byte> bytes, int at, byte[] other)
    {
        if (other.Length == 0)
            return;
        int from = random.Next(other.Length), length = 1 + random.Next(other.Length - from);
        if (random.Next(2) == 0)
            bytes.RemoveRange(at, bytes.Count - at);
        bytes.InsertRange(Math.Min(at, bytes.Count), other.AsSpan(from, length).ToArray());
    }

    /// <summary>Nesting and lists that are longer than anyone means.</summary>
    private void Repeat(List<byte> bytes, int at, byte[] piece)
    {
        int times = Math.Min(1 << random.Next(2, 12), Math.Max(1, (maxLength - bytes.Count) / piece.Length));
        for (int i = 0; i < times; i++)
            bytes.InsertRange(at, piece);
    }
}
