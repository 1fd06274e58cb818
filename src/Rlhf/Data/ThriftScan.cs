namespace Rlhf.Data;

/// <summary>
/// Walks a structure of Thrift's compact protocol, in which parquet's footer and page headers are written, and refuses what no
/// honest file has: deep nesting, and lengths beyond the data. The parquet library follows nesting by recursion, so that a
/// small hostile file would otherwise overflow the stack and end the process.
/// </summary>
internal ref struct ThriftScan
{
    private const int MaxDepth = 32;

    private readonly ReadOnlySpan<byte> data;
    private readonly Action<long, long> visit;
    private int position;

    private ThriftScan(ReadOnlySpan<byte> data, Action<long, long> visit)
    {
        this.data = data;
        this.visit = visit;
    }

    /// <summary>
    /// Walks one structure and returns its length in bytes. <paramref name="visit"/> gets each integer with its path: field
    /// numbers in base 64, list elements not counted (field 5 of the elements of field 2 is 2 * 64 + 5), and the end of each
    /// nested structure as field 0 of its path.
    /// </summary>
    /// <exception cref="EndOfStreamException">The data end inside the structure.</exception>
    /// <exception cref="InvalidDataException">Not a structure, or nested too deeply.</exception>
    public static int Structure(ReadOnlySpan<byte> data, Action<long, long> visit)
    {
        var scan = new ThriftScan(data, visit);
        scan.Fields(0, 0);
        return scan.position;
    }

    private void Fields(long path, int depth)
    {
        if (depth > MaxDepth)
            throw new InvalidDataException("structures are nested too deeply");
        for (long id = 0; ;)
        {
            byte header = Byte();
            if (header == 0)
                break;
            id = header >> 4 is > 0 and int delta ? id + delta : ZigZag();
            Value(header & 15, path * 64 + Math.Clamp(id, 0, 63), depth, inList: false);
        }
        if (depth > 0)
            visit(path * 64, 0);
    }

    private void Value(int type, long path, int depth, bool inList)
    {
        switch (type)
        {
            case 1 or 2: // a boolean field is in its header; in a list it takes a byte
                Advance(inList ? 1ul : 0);
                break;
            case 3:
                Advance(1);
                break;
            case 4 or 5 or 6:
                visit(path, ZigZag());
                break;
            case 7:
                Advance(8);
                break;
            case 8:
                Advance(VarInt());
                break;
            case 9 or 10:
                byte header = Byte();
                ulong count = header >> 4 is 15 ? VarInt() : (ulong)(header >> 4);
                Elements(count, header & 15, path, depth);
                break;
            case 12:
                Fields(path, depth + 1);
                break;
            default:
                throw new InvalidDataException($"parquet has no Thrift type {type}");
        }
    }

    private void Elements(ulong count, int type, long path, int depth)
    {
        if (depth >= MaxDepth)
            throw new InvalidDataException("lists are nested too deeply");
        _ = Checked(count); // each takes a byte at least
        for (ulong i = 0; i < count; i++)
            Value(type, path, depth + 1, inList: true);
    }

    private int Checked(ulong length) =>
        length <= (ulong)(data.Length - position) ? position : throw new EndOfStreamException("it ends inside a structure");

    private void Advance(ulong length)
    {
        _ = Checked(length);
        position += (int)length;
    }

    private byte Byte()
    {
        byte value = data[Checked(1)];
        position++;
        return value;
    }

    private ulong VarInt()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte b = Byte();
            value |= (ulong)(b & 127) << shift;
            if (b < 128)
                return value;
        }
        throw new InvalidDataException("an integer is too long");
    }

    private long ZigZag()
    {
        ulong value = VarInt();
        return (long)(value >> 1) ^ -(long)(value & 1);
    }
}
