using System.Buffers.Binary;
using System.Text;

namespace Rlhf.Weights.PyTorch;

/// <summary>The bytes of a pickle, with the limits that keep a hostile one small.</summary>
/// <param name="stream">Where the pickle lies; reading starts at its position.</param>
/// <param name="path">File for messages.</param>
/// <param name="limit">Most bytes that may be read.</param>
internal sealed class PickleInput(Stream stream, string path, long limit)
{
    /// <summary>A state dict takes about 30 operations per tensor.</summary>
    private const long MostOperations = 10_000_000;

    private const int LongestLine = 1 << 16;
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    private readonly byte[] scratch = new byte[8];
    private long spent;

    /// <summary>Bytes read so far.</summary>
    public long Position { get; private set; }

    public InvalidDataException Refuse(string what) => Untrusted.Refuse(path, $"pickle, byte {Position}: {what}");

    /// <summary>Counts operations, or values that one operation copies, against the limit.</summary>
    public void Spend(int operations)
    {
        if ((spent += operations) > MostOperations)
            throw Refuse($"the pickle has more than {MostOperations} operations.");
    }

    public byte Byte()
    {
        Take(1);
        var value = stream.ReadByte();
        return value >= 0 ? (byte)value : throw Refuse("the file ends inside the pickle.");
    }

    public ushort UInt16() => BinaryPrimitives.ReadUInt16LittleEndian(Fixed(2));

    public int Int32() => BinaryPrimitives.ReadInt32LittleEndian(Fixed(4));

    public uint UInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Fixed(4));

    public ulong UInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Fixed(8));

    public double Double() => BinaryPrimitives.ReadDoubleBigEndian(Fixed(8));

    public byte[] Bytes(ulong count)
    {
        Take(count);
        // The stream's own end bounds the allocation, whatever length the pickle claims.
        if (count > (ulong)(stream.Length - stream.Position))
            throw Refuse($"{count} bytes are announced, more than the file has.");
        var bytes = new byte[count];
        stream.ReadExactly(bytes);
        return bytes;
    }

    public string Utf8(ulong count)
    {
        try
        {
            return StrictUtf8.GetString(Bytes(count));
        }
        catch (DecoderFallbackException)
        {
            throw Refuse("text is not valid UTF-8.");
        }
    }

    /// <summary>Text up to a line feed, which is dropped.</summary>
    public string Line()
    {
        var line = new StringBuilder();
        for (var c = Byte(); c != '\n'; c = Byte())
        {
            if (c >= 0x80 || line.Length == LongestLine)
                throw Refuse("a line is not short ASCII text.");
            line.Append((char)c);
        }
        return line.ToString();
    }

    private ReadOnlySpan<byte> Fixed(int count)
    {
        Take((ulong)count);
        if (stream.ReadAtLeast(scratch.AsSpan(0, count), count, throwOnEndOfStream: false) < count)
            throw Refuse("the file ends inside the pickle.");
        return scratch.AsSpan(0, count);
    }

    private void Take(ulong count)
    {
        if (count > (ulong)(limit - Position))
            throw Refuse($"the pickle is longer than {limit} bytes.");
        Position += (long)count;
    }
}
