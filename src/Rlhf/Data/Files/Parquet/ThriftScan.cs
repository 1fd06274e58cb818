namespace Rlhf.Data.Files.Parquet;

/// <summary>
/// Walks a structure of Thrift's compact protocol, in which parquet's footer and page headers are written, and refuses what no
/// honest file has: lengths beyond the data, known fields of another type, and unknown ones that are nested without end. The
/// parquet library follows unknown fields by recursion or into the middle of them, trusts the types of known ones and reads on
/// at the end of the data, so that a small hostile file would otherwise overflow the stack, which ends the process, or be read
/// for ever; and an honest file of a later version of the format would be misread.
/// </summary>
/// <remarks>
/// A reader of Thrift passes over the fields that it does not know. The library cannot, so their values are overwritten: each
/// becomes a run of bytes (Thrift's binary) of the same length under the same number, which the library does pass over. Nothing
/// moves, and so every other byte keeps its meaning.
/// </remarks>
internal ref struct ThriftScan
{
    // Thrift's own readers go no deeper.
    private const int MaxDepth = 64;

    private readonly Span<byte> data;
    private readonly Action<long, long> visit;
    private int position;
    private bool isChanged;

    private ThriftScan(Span<byte> data, Action<long, long> visit)
    {
        this.data = data;
        this.visit = visit;
    }

    /// <summary>
    /// Walks one structure, overwrites the unknown fields in it and returns its length in bytes.
    /// </summary>
    /// <param name="data">The structure, and what follows.</param>
    /// <param name="shape">What it should be.</param>
    /// <param name="visit">
    /// Gets each integer and boolean with its path: field numbers in base 64, list elements not counted (field 5 of the elements
    /// of field 2 is 2 * 64 + 5), and the end of each nested structure as field 0 of its path.
    /// </param>
    /// <param name="isChanged">There were unknown fields.</param>
    /// <exception cref="EndOfStreamException">The data end inside the structure.</exception>
    /// <exception cref="InvalidDataException">Not such a structure.</exception>
    public static int Structure(Span<byte> data, ThriftShape shape, Action<long, long> visit, out bool isChanged)
    {
        var scan = new ThriftScan(data, visit);
        scan.Fields(shape, 0, isNested: false);
        isChanged = scan.isChanged;
        return scan.position;
    }

    private void Fields(ThriftShape shape, long path, bool isNested)
    {
        long id = 0;
        for (int at = position; Byte() is not 0 and var header; at = position)
        {
            id = Number(header, id);
            int type = header & 15;
            if (!shape.Fields!.TryGetValue((int)id, out var field))
                PassOver(at, type);
            else if (field.Type != (type == ThriftShape.False ? ThriftShape.True : type))
                throw new InvalidDataException($"its field {id} has the Thrift type {type}, and parquet's has {field.Type}");
            else if (field.Type == ThriftShape.True) // its value is in the header
                visit(path * 64 + id, type == ThriftShape.True ? 1 : 0);
            else
                Value(field, path * 64 + id);
        }
        if (isNested)
            visit(path * 64, 0);
    }

    private long Number(byte header, long before) =>
        (header >> 4 is > 0 and int delta ? before + delta : Signed()) is >= 0 and <= short.MaxValue and var id
            ? id : throw new InvalidDataException("a field has an impossible number");

    private void Value(ThriftShape shape, long path)
    {
        switch (shape.Type)
        {
            case ThriftShape.Int8:
                Advance(1);
                break;
            case ThriftShape.Int16 or ThriftShape.Int32 or ThriftShape.Int64:
                long value = Signed();
                // The library drops the bits that are too many, and would take the number for another one.
                int bits = shape.Type == ThriftShape.Int16 ? 16 : shape.Type == ThriftShape.Int32 ? 32 : 64;
                if (value << (64 - bits) >> (64 - bits) != value)
                    throw new InvalidDataException("an integer is too large for its field");
                visit(path, value);
                break;
            case ThriftShape.Double:
                Advance(8);
                break;
            case ThriftShape.Binary:
                Advance(Unsigned());
                break;
            case ThriftShape.List:
                Elements(shape.Element!, path);
                break;
            case ThriftShape.Structure:
                Fields(shape, path, isNested: true);
                break;
        }
    }

    /// <summary>Passes over the value of an unknown field whose header begins at a place, and overwrites it.</summary>
    private void PassOver(int header, int type)
    {
        int value = position;
        if (type is ThriftShape.True or ThriftShape.False)
            return; // the library passes over these as well
        Skip(type, 0);
        data[header] = (byte)((data[header] & 0xf0) | ThriftShape.Binary);
        // The length, in as many bytes as it takes for it and the run to fill the place: a number may have leading zeros.
        int length = position - value - 1, bytes = 1;
        for (; length >> (7 * bytes) > 0; bytes++)
            length--;
        for (int i = 0; i < bytes; i++)
            data[value + i] = (byte)(((length >> (7 * i)) & 127) | (i < bytes - 1 ? 128 : 0));
        isChanged = true;
    }

    private void Skip(int type, int depth)
    {
        if (depth > MaxDepth)
            throw new InvalidDataException("an unknown field is nested too deeply");
        switch (type)
        {
            case ThriftShape.True or ThriftShape.False or ThriftShape.Int8: // of a list, or else it is in the field's header
                Advance(1);
                break;
            case ThriftShape.Int16 or ThriftShape.Int32 or ThriftShape.Int64:
                Unsigned();
                break;
            case ThriftShape.Double:
                Advance(8);
                break;
            case ThriftShape.Uuid:
                Advance(16);
                break;
            case ThriftShape.Binary:
                Advance(Unsigned());
                break;
            case ThriftShape.List or ThriftShape.Set:
                byte list = Byte();
                for (ulong left = Count(list); left > 0; left--)
                    Skip(list & 15, depth + 1);
                break;
            case ThriftShape.Map:
                ulong pairs = Unsigned();
                byte types = pairs > 0 ? Byte() : (byte)0;
                _ = Checked(pairs);
                for (; pairs > 0; pairs--)
                {
                    Skip(types >> 4, depth + 1);
                    Skip(types & 15, depth + 1);
                }
                break;
            case ThriftShape.Structure:
                long id = 0;
                while (Byte() is not 0 and var field)
                {
                    id = Number(field, id);
                    if ((field & 15) is not (ThriftShape.True or ThriftShape.False))
                        Skip(field & 15, depth + 1);
                }
                break;
            default:
                throw new InvalidDataException($"an unknown field has the type {type}, which Thrift does not have");
        }
    }

    /// <summary>Number of elements of a list with this header.</summary>
    private ulong Count(byte header)
    {
        ulong count = header >> 4 is 15 ? Unsigned() : (ulong)(header >> 4);
        _ = Checked(count); // each takes a byte at least
        return count;
    }

    private void Elements(ThriftShape element, long path)
    {
        byte header = Byte();
        ulong count = Count(header);
        if (count > 0 && (header & 15) != element.Type)
            throw new InvalidDataException(
                $"a list has elements of the Thrift type {header & 15}, and parquet's has {element.Type}");
        for (ulong i = 0; i < count; i++)
            Value(element, path);
    }

    private int Checked(ulong length) =>
        length <= (ulong)(data.Length - position) ? position : throw Ended();

    private static EndOfStreamException Ended() => new("it ends inside a structure");

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

    private ulong Unsigned() => VarInt.TryRead(data, ref position, out ulong value) ? value : throw Ended();

    private long Signed() => VarInt.ZigZag(Unsigned());
}
