using System.Buffers.Binary;
using Parquet.Meta;

namespace Rlhf.Data.Files.Parquet;

/// <summary>Looks at a parquet file's structures before the parquet library does; see <see cref="ThriftScan"/>.</summary>
internal static class ParquetCheck
{
    private const int MaxSchemaDepth = 32, MaxFooter = 256 << 20, MaxPageHeader = 16 << 20;

    /// <summary>Checks the footer: its length, its nesting and how deep columns are nested in columns.</summary>
    /// <exception cref="InvalidDataException">Not an honest parquet footer.</exception>
    public static void Footer(CheckedStream stream)
    {
        var tail = Bytes(stream, stream.Length - 8, 8);
        long length = BinaryPrimitives.ReadUInt32LittleEndian(tail);
        if (!tail.AsSpan(4).SequenceEqual("PAR1"u8) || length > stream.Length - 12)
            throw new InvalidDataException("it does not end as one does, so it may be cut off");
        if (length > MaxFooter)
            throw new InvalidDataException($"its footer of {length:N0} bytes is too large");
        var openChildren = new Stack<long>();
        long children = 0;
        var footer = Bytes(stream, stream.Length - 8 - length, (int)length);
        ThriftScan.Structure(footer, ThriftShape.Footer, (path, value) =>
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
        }, out bool isChanged);
        if (isChanged)
            stream.Replace(stream.Length - 8 - length, footer);
        stream.Position = 0;
    }

    /// <summary>
    /// Checks the pages of a column in the order in which the library reads them; from then on the stream ends with the last one.
    /// </summary>
    /// <exception cref="InvalidDataException">Not an honest page.</exception>
    public static void Pages(CheckedStream stream, ColumnMetaData column, bool isNullable, ParquetAllowance allowance, bool isNested = false)
    {
        stream.Clear();
        // As the library chooses it: what these fields say differs between writers, and the first one is right.
        long position = new[] { column.DictionaryPageOffset ?? 0, column.DataPageOffset, column.IndexPageOffset ?? 0 }
            .Where(offset => offset != 0).DefaultIfEmpty().Min();
        for (long left = column.NumValues; left > 0;)
        {
            var (length, page) = Header(stream, position);
            position += length;
            // Of a column without compression the library reads as many bytes as should come out, whatever lies there.
            if (page.Compressed < 0 || page.Compressed > stream.Length - position || page.Uncompressed < 0
                || (column.Codec == CompressionCodec.UNCOMPRESSED && page.Compressed != page.Uncompressed))
                throw new InvalidDataException($"the page before byte {position:N0} has an impossible size");
            try
            {
                page.Check(column.Codec, Bytes(stream, position, (int)page.Compressed), isNullable, left, allowance, isNested);
            }
            catch (InvalidDataException error)
            {
                throw new InvalidDataException($"the page at byte {position:N0}: {error.Message}", error);
            }
            position += page.Compressed;
            left -= page.Values;
        }
        stream.End = position;
    }

    private static (int Length, ParquetPage Page) Header(CheckedStream stream, long position)
    {
        if (position <= 0 || position >= stream.Length)
            throw new InvalidDataException("a column begins or goes on outside the file");
        for (int window = 1 << 10; ; window <<= 4)
        {
            int length = (int)Math.Min(window, stream.Length - position);
            try
            {
                var bytes = Bytes(stream, position, length);
                var header = ParquetPage.Read(bytes, out bool isChanged);
                if (isChanged)
                    stream.Replace(position, bytes[..header.Length]);
                return header;
            }
            catch (EndOfStreamException) when (length == window && window < MaxPageHeader)
            {
                // Statistics can make a header long: look at more of it.
            }
        }
    }

    private static byte[] Bytes(CheckedStream stream, long position, int length)
    {
        if (position < 0)
            throw new InvalidDataException("it is too short");
        stream.Position = position;
        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
