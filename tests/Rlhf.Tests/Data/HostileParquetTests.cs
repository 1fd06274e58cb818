using System.IO.Compression;
using K4os.Compression.LZ4;
using Parquet;
using Parquet.Schema;
using Rlhf.Data;
using Rlhf.Data.Files;
using Rlhf.Fuzz;
using Snappier;
using static Rlhf.Fuzz.HandMadeParquet;

namespace Rlhf.Tests.Data;

/// <summary>Tests that count what the process allocates.</summary>
[CollectionDefinition(nameof(AloneCollection), DisableParallelization = true)]
public sealed class AloneCollection;

/// <summary>
/// Parquet files whose numbers are made to exhaust memory, and honest ones that look like them. What is allocated counts for the
/// whole process, so nothing runs beside these.
/// </summary>
[Collection(nameof(AloneCollection))]
public sealed class HostileParquetTests : IDisposable
{
    private const int Plain = 0, DictionaryIndexes = 8, BinaryPacked = 5, LengthByteArray = 6, ByteArray = 7;
    private const int None = 0, SnappyCodec = 1, Gzip = 2, Brotli = 4, Zstandard = 6, Lz4Raw = 7;
    private const long MostAllocated = 100 << 20;

    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private string[] Read(HandMadeParquet parquet) => Read(parquet.Bytes());

    private string[] Read(byte[] bytes)
    {
        var path = Path.Combine(folder.Path, "a.parquet");
        File.WriteAllBytes(path, bytes);
        var texts = TableFile.Read(path, [TableColumn.Of("text", null, required: true, "text")], 1 << 20).Select(r => r.Cells[0]);
        return [.. texts.Select(cell => (string?)cell ?? "missing")];
    }

    private void Refused(HandMadeParquet parquet, string why)
    {
        long before = GC.GetTotalAllocatedBytes(precise: true);
        var error = Assert.Throws<InvalidDataException>(() => Read(parquet));
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, MostAllocated);
        Assert.Contains(Path.Combine(folder.Path, "a.parquet"), error.Message);
        Assert.Contains("column \"text\" of row group 0", error.Message);
        Assert.Contains(why, error.Message);
    }

    // "Lengths" and the strings themselves, and "axis", "axle", ...: the examples of parquet's own description of its encodings.
    private static readonly byte[] Lengths = [.. Delta(5, 5, 6, 6), .. "HelloWorldFoobarABCDEF"u8];
    private static readonly byte[] Prefixes = [.. Delta(0, 2, 0, 3), .. Delta(4, 2, 6, 5), .. "axislebabbleyhood"u8];

    private static byte[] Pack(int codec, byte[] bytes)
    {
        var stream = new MemoryStream();
        switch (codec)
        {
            case SnappyCodec: return Snappy.CompressToArray(bytes);
            case Zstandard: return new ZstdSharp.Compressor().Wrap(bytes).ToArray();
            case Lz4Raw:
                var packed = new byte[LZ4Codec.MaximumOutputSize(bytes.Length)];
                return packed[..LZ4Codec.Encode(bytes, packed)];
            case Gzip:
                using (var gzip = new GZipStream(stream, CompressionLevel.Optimal))
                    gzip.Write(bytes);
                return stream.ToArray();
            case Brotli:
                using (var brotli = new BrotliStream(stream, CompressionLevel.Optimal))
                    brotli.Write(bytes);
                return stream.ToArray();
            default: return bytes;
        }
    }

    [Theory]
    [InlineData(None)]
    [InlineData(SnappyCodec)]
    [InlineData(Gzip)]
    [InlineData(Brotli)]
    [InlineData(Zstandard)]
    [InlineData(Lz4Raw)]
    public void HonestDeltaTextsAreRead(int codec)
    {
        Assert.Equal(["Hello", "World", "Foobar", "ABCDEF"], Read(
            new HandMadeParquet(LengthByteArray, Pack(codec, Lengths), 4) { Codec = codec, Uncompressed = Lengths.Length }));
        Assert.Equal(["axis", "axle", "babble", "babyhood"], Read(
            new HandMadeParquet(ByteArray, Pack(codec, Prefixes), 4) { Codec = codec, Uncompressed = Prefixes.Length }));
    }

    /// <summary>Five values, the second of which is missing: a run of one, one of one missing, one of three.</summary>
    [Theory]
    [InlineData(None, false)]
    [InlineData(None, true)]
    [InlineData(SnappyCodec, false)]
    [InlineData(SnappyCodec, true)]
    public void HonestDeltaTextsWithMissingValuesAreRead(int codec, bool isPacked)
    {
        byte[] levels = isPacked ? [1 << 1 | 1, 0b11101] : [1 << 1, 1, 1 << 1, 0, 3 << 1, 1];
        byte[] first = [.. BitConverter.GetBytes(levels.Length), .. levels, .. Prefixes];
        Assert.Equal(["axis", "missing", "axle", "babble", "babyhood"], Read(new HandMadeParquet(ByteArray, Pack(codec, first), 5)
        { IsNullable = true, Codec = codec, Uncompressed = first.Length }));
        Assert.Equal(["axis", "missing", "axle", "babble", "babyhood"],
            Read(new HandMadeParquet(ByteArray, [.. levels, .. Pack(codec, Prefixes)], 5)
            {
                IsNullable = true,
                Codec = codec,
                Uncompressed = levels.Length + Prefixes.Length,
                Version2 = (1, levels.Length),
            }));
    }

    [Fact]
    public async Task HonestDeltaNumbersAreRead()
    {
        var path = Path.Combine(folder.Path, "numbers.parquet");
        var (text, label) = (new DataField<string>("text"), new DataField<int?>("label"));
        var options = new ParquetOptions { CompressionMethod = CompressionMethod.Snappy };
        options.ColumnEncodingHints["label"] = EncodingHint.DeltaBinaryPacked;
        int?[] labels = [.. Enumerable.Range(0, 3000).Select(i => i % 5 == 0 ? (int?)null : i * 7919 % 1000)];
        await using (var stream = File.Create(path))
        await using (var writer = await ParquetWriter.CreateAsync(new ParquetSchema(text, label), stream, options))
        {
            using var group = writer.CreateRowGroup();
            await group.WriteAsync(text, Enumerable.Repeat("a", 3000).ToArray());
            await group.WriteAsync<int>(label, labels);
        }
        Assert.Equal(labels, ReviewDataset.Load(path).Select(r => r.Label));
    }

    [Fact]
    public void BlocksOfAbsurdSizeAreRefused()
    {
        foreach (int encoding in new[] { BinaryPacked, LengthByteArray, ByteArray })
            foreach (var (block, parts) in new[] { (1 << 30, 1), (1 << 30, 32), (0, 1), (128, 0), (128, 3), (100, 1) })
                foreach (int codec in new[] { None, SnappyCodec, Gzip, Brotli, Zstandard, Lz4Raw })
                {
                    byte[] page = [.. VarInt(block), .. VarInt(parts), .. VarInt(4), .. Int(5), .. new byte[40]];
                    Refused(new(encoding, Pack(codec, page), 4) { Codec = codec, Uncompressed = page.Length },
                        $"its values stand in blocks of {block:N0} in {parts:N0} parts");
                }
    }

    /// <summary>Found by fuzzing: 463 bytes, for which the library allocated 1.6 GiB.</summary>
    [Fact]
    public void TheFileThatNamedItsBlockIsRefused()
    {
        var bytes = File.ReadAllBytes(Path.Combine(Fixtures.Root, "fuzz", "parquet", "delta-block-of-absurd-size"));
        var path = Path.Combine(folder.Path, "a.parquet");
        File.WriteAllBytes(path, bytes);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        var error = Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path));
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, MostAllocated);
        Assert.StartsWith(path, error.Message);
    }

    /// <summary>The library would write the numbers over references to texts, which no process survives for long.</summary>
    [Fact]
    public void RunsOfNumbersInPlaceOfTextsAreRefused()
    {
        byte[] runs = [4 << 1, 1, 2, 3, 4];
        Refused(new(3, runs, 4), "in the encoding RLE, which is not read");
        Refused(new(3, runs, 4) { Version2 = (0, 0) }, "in the encoding RLE, which is not read");
    }

    [Fact]
    public void CountsThatThePageDoesNotHaveAreRefused()
    {
        Refused(new(LengthByteArray, [.. Delta(5, 5, 6), .. Lengths[^22..]], 4), "it holds 3 values where its page has 4");
        Refused(new(Plain, Lengths, 2_000_000_000) { Rows = 4 }, "claims 2,000,000,000 values, and its column has 4 left");
        Refused(new(Plain, Lengths, 20_000_000), "20,000,000 rows would take 640,000,000 bytes");
        Refused(new(ByteArray, Lengths, 4) { Version2 = (-2_000_000_000, 0) }, "claims 4 values");
        Refused(new(ByteArray, Lengths, 4) { IsNullable = true, Version2 = (0, 1 << 30) }, "definition levels beyond its end");
        Refused(new(ByteArray, Delta(0, 2, 0, 3), 4), "a page ends within its values");
    }

    /// <summary>A text of 100,000 letters, and 10,000 that begin with all of it: 1 GB from a page of 100 kB.</summary>
    [Fact]
    public void TextsThatGrowFromEachOtherAreRefused()
    {
        const int Count = 10_000, Length = 100_000;
        // One block that goes from the first number to the others, then blocks without differences.
        byte[] Sequence(int first, int others) => [.. VarInt(128), .. VarInt(1), .. VarInt(Count), .. Int(first),
            .. Int(0), 32, .. BitConverter.GetBytes(others - first), .. new byte[127 * 4],
            .. Enumerable.Repeat(new byte[] { 0, 0 }, Count / 128).SelectMany(b => b)];
        byte[] page = [.. Sequence(0, Length), .. Sequence(Length, 0), .. new byte[Length]];
        Refused(new(ByteArray, Pack(Gzip, page), Count) { Codec = Gzip, Uncompressed = page.Length },
            "a page of texts that share their beginnings would take 999,900,000 bytes");
    }

    /// <summary>The library would take bytes of the format for characters.</summary>
    [Fact]
    public void SharedBeginningsOtherThanAsciiAreRefusedAndNotMisread()
    {
        byte[] page = [.. Delta(0, 3), .. Delta(3, 1), .. "\u00e9x"u8, (byte)'y'];
        Refused(new(ByteArray, page, 2), "share beginnings other than ASCII");
        byte[] ascii = [.. Delta(0, 1), .. Delta(3, 2), .. "x\u00e9\u00fc"u8];
        Assert.Equal(["x\u00e9", "x\u00fc"], Read(new HandMadeParquet(ByteArray, ascii, 2)));
    }

    /// <summary>Sizes before unpacking: in the page's header, or where the compressed data begin.</summary>
    [Fact]
    public void PagesThatClaimToUnpackToMuchAreRefused()
    {
        foreach (int codec in new[] { SnappyCodec, Gzip, Brotli, Zstandard, Lz4Raw })
            Refused(new(Plain, Pack(codec, Lengths), 4) { Codec = codec, Uncompressed = 2_000_000_000 },
                "a page would take 2,000,000,000");
        Refused(new(Plain, [.. VarInt(2_000_000_000), .. new byte[20]], 4) { Codec = SnappyCodec, Uncompressed = 20 },
            "a page would take");
        // A frame of one segment with a size of four bytes, whose one block is a run of zeros.
        Refused(new(Plain, [0x28, 0xb5, 0x2f, 0xfd, 0xa0, .. BitConverter.GetBytes(2_000_000_000), 3, 0, 16, 0], 4)
        { Codec = Zstandard, Uncompressed = 20 }, "a page would take");
    }

    [Fact]
    public void DictionariesThatClaimToBeLargeAreRefused()
    {
        byte[] entries = [5, 0, 0, 0, .. "Hello"u8];
        var honest = new HandMadeParquet(DictionaryIndexes, [1, 4 << 1, 0], 4) { Dictionary = (entries, 1) };
        Assert.Equal(["Hello", "Hello", "Hello", "Hello"], Read(honest));
        Refused(honest with { Dictionary = (entries, int.MaxValue) }, "a dictionary would take 34,359,738,352 bytes");
    }

    /// <summary>A text of 1 MB in the dictionary and 100,000 rows that have it: one text in memory, not 100 GB of copies.</summary>
    [Fact]
    public void ATextOfTheDictionaryIsMadeOnce()
    {
        const int Length = 1 << 20;
        long before = GC.GetTotalAllocatedBytes(precise: true);
        var texts = Read(new HandMadeParquet(DictionaryIndexes, [1, .. VarInt(100_000 << 1), 0], 100_000)
        { Dictionary = ([.. BitConverter.GetBytes(Length), .. new byte[Length]], 1) });
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, MostAllocated);
        Assert.Equal(100_000, texts.Length);
        Assert.All(texts, text => Assert.Same(texts[0], text));
    }

    /// <summary>Fields of later versions, one of each Thrift type, and how a reader must pass over them.</summary>
    public static TheoryData<string, byte[]> LaterFields => new()
    {
        { "boolean", [0x01, .. Int(500)] },
        { "byte", [0x03, .. Int(500), 7] },
        { "i16", [0x04, .. Int(500), .. Int(-300)] },
        { "i32", [0x05, .. Int(500), .. Int(int.MinValue)] },
        { "i64", [0x06, .. Int(500), .. Int(long.MinValue)] },
        { "double", [0x07, .. Int(500), .. BitConverter.GetBytes(0.5)] },
        { "binary", [0x08, .. Int(500), .. Text(new string('x', 200))] },
        { "empty binary", [0x08, .. Int(500), 0] },
        { "list", [0x09, .. Int(500), .. List(1, [1], [2])] },
        { "long list", [0x09, .. Int(500), .. List(5, [.. Enumerable.Range(0, 100).Select(i => Int(i))])] },
        { "set", [0x0a, .. Int(500), .. List(8, Text("a"), Text("b"))] },
        { "map", [0x0b, .. Int(500), .. VarInt(2), 0x8c, .. Text("a"), .. Fields((1, 5, Int(3))), .. Text("b"), 0] },
        { "empty map", [0x0b, .. Int(500), 0] },
        { "structure", [0x0c, .. Int(500), .. Fields((1, 1, []), (2, 5, Int(1)), (40, 9, List(12, Fields((1, 2, [])))), (41, 12, [0]))] },
        { "empty structure", [0x0c, .. Int(500), 0] },
        { "uuid", [0x0d, .. Int(500), .. new byte[16]] },
        { "of 128 bytes", [0x08, .. Int(500), 127, .. new byte[127]] },
        { "of 129 bytes", [0x09, .. Int(500), .. List(3, [.. Enumerable.Repeat(new byte[1], 127)])] },
        { "several", [0x0c, .. Int(500), .. Fields((1, 5, Int(1))), 0x15, 4, 0x19, .. List(7, new byte[8]), 0x11] },
    };

    /// <summary>In the footer, in a column's metadata and in a page header.</summary>
    [Theory]
    [MemberData(nameof(LaterFields))]
    public void FieldsOfLaterVersionsArePassedOver(string what, byte[] fields)
    {
        Assert.NotEmpty(what);
        Assert.Equal(["Hello", "World", "Foobar", "ABCDEF"], Read(new HandMadeParquet(LengthByteArray, Lengths, 4) { Further = fields }));
    }

    [Theory]
    [InlineData(new byte[] { 0x0e, 0xe8, 0x07 }, "the type 14, which Thrift does not have")]
    [InlineData(new byte[] { 0x08, 0xe8, 0x07, 0xff, 0xff, 0xff, 0xff, 0x07 }, "ends inside a structure")]
    [InlineData(new byte[] { 0x09, 0xe8, 0x07, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07 }, "ends inside a structure")]
    [InlineData(new byte[] { 0x0b, 0xe8, 0x07, 0xff, 0xff, 0xff, 0xff, 0x07, 0x33 }, "ends inside a structure")]
    [InlineData(new byte[] { 0x05, 0x01, 0x02 }, "a field has an impossible number")]
    [InlineData(new byte[] { 0x05, 0x02, 0xfe, 0xff, 0xff, 0xff, 0x1f }, "an integer is too large for its field")]
    public void FieldsThatCannotBePassedOverAreRefused(byte[] fields, string why)
    {
        var error = Assert.Throws<InvalidDataException>(
            () => Read(new HandMadeParquet(LengthByteArray, Lengths, 4) { Further = fields }));
        Assert.Contains(why, error.Message);
    }
}
