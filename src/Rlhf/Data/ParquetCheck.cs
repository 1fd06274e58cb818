using System.Buffers.Binary;
using Parquet.Meta;

namespace Rlhf.Data;

/// <summary>Looks at a parquet file's structures before the parquet library does; see <see cref="ThriftScan"/>.</summary>
internal static class ParquetCheck
{
    private const int MaxSchemaDepth = 32, MaxFooter = 256 << 20, MaxPageHeader = 16 << 20;

    /// <summary>Checks the footer: its length, its nesting and how deep columns are nested in columns.</summary>
    /// <exception cref="InvalidDataException">Not an honest parquet footer.</exception>
    public static void Footer(Stream stream)
    {
        var tail = Bytes(stream, stream.Length - 8, 8);
        long length = BinaryPrimitives.ReadUInt32LittleEndian(tail);
        if (!tail.AsSpan(4).SequenceEqual("PAR1"u8) || length > stream.Length - 12)
            throw new InvalidDataException("it does not end as one does, so it may be cut off");
        if (length > MaxFooter)
            throw new InvalidDataException($"its footer of {length:N0} bytes is too large");
        var openChildren = new Stack<long>();
        long children = 0;
        ThriftScan.Structure(Bytes(stream, stream.Length - 8 - length, (int)length), ThriftShape.Footer, (path, value) =>
        {
            if (path == 2 * 64 + 5)
                children = value; // FileMetaData.schema[].num_children
            if (path != 2 * 64)
                return;
            if (openChildren.Count > 0)
                openChildren.Push(openChildren.Pop() - 1);
            if (children > 0)
                openChildren.Push(children);
            children = 0;
            while (openChildren.Count > 0 && openChildren.Peek() <= 0)
                openChildren.Pop();
            if (openChildren.Count > MaxSchemaDepth)
                throw new InvalidDataException("its columns are nested too deeply");
        });
        stream.Position = 0;
    }

    /// <summary>
    /// Checks the page headers of a column in the order in which the library reads them, and says where the last page ends.
    /// </summary>
    /// <exception cref="InvalidDataException">Not an honest page header.</exception>
    public static long Pages(Stream stream, ColumnMetaData column)
    {
        long position = column.DictionaryPageOffset is > 0 and long dictionary
            ? Math.Min(dictionary, column.DataPageOffset) : column.DataPageOffset;
        for (long values = 0; values < column.NumValues;)
        {
            long compressed = -1, uncompressed = -1, pageValues = 0;
            position += Header(stream, position, (path, value) =>
            {
                switch (path)
                {
                    case 2: uncompressed = value; break;
                    case 3: compressed = value; break;
                    case 5 * 64 + 1 or 8 * 64 + 1: pageValues = value; break; // num_values of data pages, version 1 and 2
                }
            });
            // Of a column without compression the library reads as many bytes as should come out, whatever lies there.
            if (compressed < 0 || compressed > stream.Length - position || uncompressed < 0 || pageValues < 0
                || (column.Codec == CompressionCodec.UNCOMPRESSED && compressed != uncompressed))
                throw new InvalidDataException($"the page before byte {position:N0} has an impossible size");
            position += compressed;
            values += pageValues;
        }
        return position;
    }

    private static int Header(Stream stream, long position, Action<long, long> visit)
    {
        if (position < 0 || position >= stream.Length)
            throw new InvalidDataException("a column begins or goes on outside the file");
        for (int window = 1 << 10; ; window <<= 4)
        {
            int length = (int)Math.Min(window, stream.Length - position);
            try
            {
                return ThriftScan.Structure(Bytes(stream, position, length), ThriftShape.PageHeader, visit);
            }
            catch (EndOfStreamException) when (length == window && window < MaxPageHeader)
            {
                // Statistics can make a header long: look at more of it.
            }
        }
    }

    private static byte[] Bytes(Stream stream, long position, int length)
    {
        if (position < 0)
            throw new InvalidDataException("it is too short");
        stream.Position = position;
        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
