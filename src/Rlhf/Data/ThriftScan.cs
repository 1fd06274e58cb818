namespace Rlhf.Data;

/// <summary>
/// Walks a structure of Thrift's compact protocol, in which parquet's footer and page headers are written, and refuses what no
/// honest file has: lengths beyond the data, fields that parquet does not have, and fields of another type. The parquet library
/// follows unknown fields by recursion, trusts the types of known ones and reads on at the end of the data, so that a small
/// hostile file would otherwise overflow the stack, which ends the process, or be read for ever.
/// </summary>
internal ref struct ThriftScan
{
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
    /// <exception cref="InvalidDataException">Not such a structure.</exception>
    public static int Structure(ReadOnlySpan<byte> data, ThriftShape shape, Action<long, long> visit)
    {
        var scan = new ThriftScan(data, visit);
        scan.Fields(shape, 0, isNested: false);
        return scan.position;
    }

    private void Fields(ThriftShape shape, long path, bool isNested)
    {
        long id = 0;
        for (byte header = Byte(); header != 0; header = Byte())
        {
            id = header >> 4 is > 0 and int delta ? id + delta : ZigZag();
            if (id is < 0 or > short.MaxValue || !shape.Fields!.TryGetValue((int)id, out var field))
                throw new InvalidDataException($"it has a field {id} that parquet does not have");
            int type = header & 15;
            if (field.Type != (type == ThriftShape.False ? ThriftShape.True : type))
                throw new InvalidDataException($"its field {id} has the Thrift type {type}, and parquet's has {field.Type}");
            Value(field, path * 64 + id);
        }
        if (isNested)
            visit(path * 64, 0);
    }

    private void Value(ThriftShape shape, long path)
    {
        switch (shape.Type)
        {
            case ThriftShape.True: // it is in the field's header
                break;
            case ThriftShape.Int8:
                Advance(1);
                break;
            case ThriftShape.Int16 or ThriftShape.Int32 or ThriftShape.Int64:
                visit(path, ZigZag());
                break;
            case ThriftShape.Binary:
                Advance(VarInt());
                break;
            case ThriftShape.List:
                Elements(shape.Element!, path);
                break;
            case ThriftShape.Structure:
                Fields(shape, path, isNested: true);
                break;
        }
    }

    private void Elements(ThriftShape element, long path)
    {
        byte header = Byte();
        ulong count = header >> 4 is 15 ? VarInt() : (ulong)(header >> 4);
        if (count > 0 && (header & 15) != element.Type)
            throw new InvalidDataException(
                $"a list has elements of the Thrift type {header & 15}, and parquet's has {element.Type}");
        _ = Checked(count); // each takes a byte at least
        for (ulong i = 0; i < count; i++)
            Value(element, path);
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
