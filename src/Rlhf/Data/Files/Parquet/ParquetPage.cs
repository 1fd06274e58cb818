using System.IO.Compression;
using K4os.Compression.LZ4;
using Parquet.Meta;
using Snappier;

namespace Rlhf.Data.Files.Parquet;

/// <summary>What the header of a page says, as the parquet library reads it.</summary>
internal sealed class ParquetPage
{
    private const int DictionaryEntry = 16;

    private readonly long[] data = new long[8], dataV2 = new long[8];
    private long dictionaryValues;

    private ParquetPage() => dataV2[7] = 1; // is_compressed, unless it is said

    /// <summary>Its kind; a header that names none is a data page's.</summary>
    public PageType Type { get; private set; }

    /// <summary>Bytes of what follows the header.</summary>
    public long Compressed { get; private set; } = -1;

    /// <summary>Bytes that it unpacks to.</summary>
    public long Uncompressed { get; private set; } = -1;

    /// <summary>Values of a data page, missing ones too; 0 of other pages.</summary>
    public long Values => Type is PageType.DATA_PAGE ? data[1] : Type is PageType.DATA_PAGE_V2 ? dataV2[1] : 0;

    /// <summary>Encoding of the values of a data page.</summary>
    public Encoding Encoding => (Encoding)(Type is PageType.DATA_PAGE_V2 ? dataV2[4] : data[2]);

    /// <summary>Bytes that a page header takes up in the data, and what it says.</summary>
    public static (int Length, ParquetPage Page) Read(Span<byte> bytes, out bool isChanged)
    {
        var page = new ParquetPage();
        int length = ThriftScan.Structure(bytes, ThriftShape.PageHeader, page.Visit, out isChanged);
        return (length, page);
    }

    private void Visit(long path, long value)
    {
        switch (path)
        {
            case 1: Type = (PageType)value; break;
            case 2: Uncompressed = value; break;
            case 3: Compressed = value; break;
            case > 5 * 64 and < 5 * 64 + 8: data[path - 5 * 64] = value; break;
            case 7 * 64 + 1: dictionaryValues = value; break;
            case > 8 * 64 and < 8 * 64 + 8: dataV2[path - 8 * 64] = value; break;
        }
    }

    /// <summary>
    /// Checks the page against what is left of its column, and takes what the library will allocate for it.
    /// </summary>
    /// <param name="codec">How it is compressed.</param>
    /// <param name="content">What follows the header.</param>
    /// <param name="isNullable">Values may be missing.</param>
    /// <param name="left">Values of the column that no page before held.</param>
    /// <param name="allowance">What is left to take.</param>
    /// <param name="isNested">The column lies within lists: its values have repetition levels as well.</param>
    /// <exception cref="InvalidDataException">Not an honest page.</exception>
    public void Check(
        CompressionCodec codec, ReadOnlySpan<byte> content, bool isNullable, long left, ParquetAllowance allowance, bool isNested = false)
    {
        bool isV2 = Type is PageType.DATA_PAGE_V2;
        if (Values < 0 || Values > left || (isV2 && (dataV2[2] < 0 || dataV2[2] > Values)))
            throw new InvalidDataException($"a page claims {Values:N0} values, and its column has {left:N0} left");
        long levels = isV2 && isNullable ? dataV2[5] : 0;
        if (isV2 && isNested)
            levels = dataV2[5] < 0 || dataV2[6] < 0 ? -1 : dataV2[5] + dataV2[6];
        if (levels < 0 || levels > content.Length)
            throw new InvalidDataException("a page claims definition levels beyond its end");
        var packed = content[(int)levels..];
        if (isV2 && dataV2[7] == 0)
            codec = CompressionCodec.UNCOMPRESSED;
        long length = codec switch
        {
            CompressionCodec.UNCOMPRESSED => packed.Length,
            // The library goes by the length that the compressed data begin with.
            CompressionCodec.SNAPPY => Snappy.GetUncompressedLength(packed),
            CompressionCodec.ZSTD => Zstandard(packed),
            _ => Uncompressed,
        };
        allowance.Take(Math.Max(length, Uncompressed), "a page");
        if (Type is PageType.DICTIONARY_PAGE)
            allowance.Take(dictionaryValues * DictionaryEntry, "a dictionary");
        // The library takes any column's memory for one of integers here, a text's references too, and makes booleans all false.
        if (Values > 0 && Encoding is Encoding.RLE)
            throw new InvalidDataException("its values are in the encoding RLE, which is not read; write them in another encoding");
        if (Values > 0 && isNested && !isV2 && Encoding is not (Encoding.PLAIN or Encoding.PLAIN_DICTIONARY or Encoding.RLE_DICTIONARY))
            throw new InvalidDataException("its lists are in a delta encoding, which is not read; write them plain or with a dictionary");
        if (Values > 0 && Encoding is Encoding.DELTA_BINARY_PACKED or Encoding.DELTA_LENGTH_BYTE_ARRAY or Encoding.DELTA_BYTE_ARRAY)
            CheckDelta(Unpack(codec, packed, (int)length), isNullable, allowance);
    }

    private void CheckDelta(ReadOnlySpan<byte> unpacked, bool isNullable, ParquetAllowance allowance)
    {
        int present = (int)Values;
        if (Type is PageType.DATA_PAGE_V2)
            present -= (int)dataV2[2];
        else if (isNullable)
        {
            int length = unpacked.Length < 4 ? -1 : BitConverter.ToInt32(unpacked);
            if (length < 0 || length > unpacked.Length - 4)
                throw new InvalidDataException("a page claims definition levels beyond its end");
            present = ParquetDelta.Present(unpacked.Slice(4, length), present);
            unpacked = unpacked[(4 + length)..];
        }
        allowance.Take(ParquetDelta.Check(unpacked, Encoding, present), "a page of texts that share their beginnings");
    }

    private static long Zstandard(ReadOnlySpan<byte> packed) =>
        ZstdSharp.Decompressor.GetDecompressedSize(packed) is <= int.MaxValue and var length
            ? (long)length : throw new InvalidDataException("a page unpacks to too much");

    /// <summary>Unpacks into the memory that was taken for it, and no further.</summary>
    private static ReadOnlySpan<byte> Unpack(CompressionCodec codec, ReadOnlySpan<byte> packed, int length)
    {
        if (codec is CompressionCodec.UNCOMPRESSED)
            return packed;
        var unpacked = new byte[length];
        int got = codec switch
        {
            CompressionCodec.SNAPPY => Snappy.Decompress(packed, unpacked),
            CompressionCodec.ZSTD => Zstandard(packed, unpacked),
            CompressionCodec.LZ4 or CompressionCodec.LZ4_RAW => LZ4Codec.Decode(packed, unpacked),
            CompressionCodec.GZIP => ReadAll(new GZipStream(Copy(packed), CompressionMode.Decompress), unpacked),
            CompressionCodec.BROTLI => ReadAll(new BrotliStream(Copy(packed), CompressionMode.Decompress), unpacked),
            _ => throw new InvalidDataException($"the compression {codec} is not read"),
        };
        return got == length || codec is CompressionCodec.ZSTD ? unpacked.AsSpan(0, got)
            : throw new InvalidDataException($"a page unpacks to other than the {length:N0} bytes that it claims");
    }

    private static int Zstandard(ReadOnlySpan<byte> packed, Span<byte> unpacked)
    {
        using var decompressor = new ZstdSharp.Decompressor();
        return decompressor.Unwrap(packed, unpacked);
    }

    private static MemoryStream Copy(ReadOnlySpan<byte> packed) => new(packed.ToArray());

    private static int ReadAll(Stream stream, Span<byte> unpacked)
    {
        using (stream)
            return stream.ReadAtLeast(unpacked, unpacked.Length, throwOnEndOfStream: false);
    }
}
