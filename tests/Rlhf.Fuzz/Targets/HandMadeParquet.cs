using System.Text;

namespace Rlhf.Fuzz;

/// <summary>Parquet files of one column of text, written field by field, so that each byte of theirs can be wrong.</summary>
internal sealed record HandMadeParquet(int Encoding, byte[] Page, int Values)
{
    /// <summary>CompressionCodec of parquet.thrift.</summary>
    public int Codec { get; init; }

    /// <summary>The page is compressed with the codec.</summary>
    public int? Uncompressed { get; init; }

    /// <summary>The first bytes of the page are definition levels of that many bytes (version 2), or of their own length.</summary>
    public bool IsNullable { get; init; }

    /// <summary>The page has the second version's header, with so many missing values.</summary>
    public (int Nulls, int LevelBytes)? Version2 { get; init; }

    /// <summary>Values of the column, if not those of its page.</summary>
    public long? Rows { get; init; }

    /// <summary>A dictionary page before the other, and how many values its header claims.</summary>
    public (byte[] Page, int Values)? Dictionary { get; init; }

    /// <summary>Further fields of the page header, of the file's metadata and of the column's, after the last known ones.</summary>
    public byte[] Further { get; init; } = [];

    public byte[] Bytes()
    {
        var file = new List<byte>("PAR1"u8.ToArray());
        int? dictionary = null;
        if (Dictionary is var (entries, count))
        {
            dictionary = file.Count;
            file.AddRange([.. Fields((1, 5, Int(2)), (2, 5, Int(entries.Length)), (3, 5, Int(entries.Length)),
                (7, 12, Fields((1, 5, Int(count)), (2, 5, Int(0))))), .. entries]);
        }
        int at = file.Count;
        int uncompressed = Uncompressed ?? Page.Length;
        byte[] head = Version2 is var (nulls, levels)
            ? Fields((1, 5, Int(3)), (2, 5, Int(uncompressed)), (3, 5, Int(Page.Length)), (8, 12, Fields(
                (1, 5, Int(Values)), (2, 5, Int(nulls)), (3, 5, Int(Values)), (4, 5, Int(Encoding)), (5, 5, Int(levels)),
                (6, 5, Int(0)))))
            : Fields((1, 5, Int(0)), (2, 5, Int(uncompressed)), (3, 5, Int(Page.Length)), (5, 12, Fields(
                (1, 5, Int(Values)), (2, 5, Int(Encoding)), (3, 5, Int(3)), (4, 5, Int(3)))));
        file.AddRange([.. head[..^1], .. Further, 0, .. Page]);
        long rows = Rows ?? Values;
        var column = Fields([(1, 5, Int(6)), (2, 9, List(5, Int(Encoding))), (3, 9, List(8, Text("text"))), (4, 5, Int(Codec)),
            (5, 6, Int(rows)), (6, 6, Int(uncompressed)), (7, 6, Int(Page.Length)), (9, 6, Int(at)),
            .. dictionary is { } first ? new[] { (11, 6, Int(first)) } : []]);
        var group = Fields((1, 9, List(12, Fields((2, 6, Int(at)), (3, 12, [.. column[..^1], .. Further, 0])))),
            (2, 6, Int(file.Count)), (3, 6, Int(rows)));
        var schema = List(12, Fields((4, 8, Text("schema")), (5, 5, Int(1))),
            Fields((1, 5, Int(6)), (3, 5, Int(IsNullable ? 1 : 0)), (4, 8, Text("text")), (6, 5, Int(0))));
        var footer = Fields((1, 5, Int(2)), (2, 9, schema), (3, 6, Int(rows)), (4, 9, List(12, group)), (6, 8, Text("by hand")));
        footer = [.. footer[..^1], .. Further, 0];
        return [.. file, .. footer, .. BitConverter.GetBytes(footer.Length), .. "PAR1"u8];
    }

    /// <summary>A structure of Thrift's compact protocol: fields by number, type and value.</summary>
    public static byte[] Fields(params (int Id, int Type, byte[] Value)[] fields)
    {
        var bytes = new List<byte>();
        int before = 0;
        foreach (var (id, type, value) in fields)
        {
            bytes.AddRange(id - before is > 0 and < 16 and var delta ? [(byte)(delta << 4 | type)] : [(byte)type, .. Int(id)]);
            bytes.AddRange(value);
            before = id;
        }
        return [.. bytes, 0];
    }

    /// <summary>Numbers as a DELTA_BINARY_PACKED sequence of one block, each difference in 32 bits.</summary>
    public static byte[] Delta(params int[] values)
    {
        byte[] head = [.. VarInt(128), .. VarInt(1), .. VarInt(values.Length), .. Int(values.FirstOrDefault())];
        if (values.Length < 2)
            return head;
        var differences = values.Skip(1).Select((value, i) => value - values[i]).ToArray();
        return [.. head, .. Int(0), 32,
            .. differences.Concat(new int[128 - differences.Length]).SelectMany(BitConverter.GetBytes)];
    }

    public static byte[] List(int type, params byte[][] elements) =>
        [.. elements.Length < 15 ? [(byte)(elements.Length << 4 | type)] : new[] { (byte)(0xf0 | type) }.Concat(VarInt(elements.Length)),
            .. elements.SelectMany(e => e)];

    public static byte[] Text(string text) => [.. VarInt(Utf8.GetByteCount(text)), .. Utf8.GetBytes(text)];

    /// <summary>A signed integer of any width.</summary>
    public static byte[] Int(long value) => VarInt((value << 1) ^ (value >> 63));

    /// <summary>An unsigned one.</summary>
    public static byte[] VarInt(long value)
    {
        var bytes = new List<byte>();
        for (ulong rest = (ulong)value; ; rest >>= 7)
        {
            bytes.Add((byte)(rest < 128 ? rest : rest & 127 | 128));
            if (rest < 128)
                return [.. bytes];
        }
    }

    private static readonly UTF8Encoding Utf8 = new();
}
