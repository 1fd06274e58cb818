using Parquet;
using Parquet.Schema;
using Rlhf.Data;
using Rlhf.Data.Files;

namespace Rlhf.Fuzz;

/// <summary>Tables: parquet, CSV, JSONL and plain text, alone and as the data sets that they hold.</summary>
internal static class TableTargets
{
    private const int LongestText = 1 << 20;

    private static readonly TableColumn[] Columns =
    [
        TableColumn.Of("text", null, required: true, "text", "review"), TableColumn.Of("label", null, required: false, "label"),
    ];

    public static IEnumerable<FuzzTarget> Make(Scratch scratch)
    {
        var refused = typeof(InvalidDataException);
        var json = AllTargets.Json("\n", "\r\n", "\"text\":\"a\"", "\"label\":1", "\"chosen\":", "\"margin\":1e999",
            "\"id\":\"1\"",
            "\"response_a\":", "\ufeff");
        var csv = AllTargets.Bytes("\"", "\"\"", ",", "\n", "\r", "\t", "text", "label", "=cmd()", "\0", "\ufeff", "\"\n", "-1",
            "1e3");
        yield return Table("jsonl", ".jsonl", AllTargets.Bytes(
            "{\"text\":\"one\",\"label\":1}\n{\"label\":null,\"text\":\"tw\\u00f6\"}\r\n\n{\"text\":\"\",\"x\":[1,{}]}"), json);
        yield return Table("csv", ".csv", AllTargets.Bytes("text,label\none,1\n\"tw\u00f6, \"\"x\"\"\n\",0\n,\n",
            "\ufefflabel,review\r\n1,a\r\n"), csv);
        yield return Table("tsv", ".tsv", AllTargets.Bytes("text\tlabel\none\t1\n\"two\t\"\t-1\n"), csv);
        yield return Table("plain-text", ".txt", AllTargets.Bytes("one\n\ntw\u00f6\r\n  \nthree", "\u00ff\u00feo\0\n\0"), csv);
        yield return Table("parquet", ".parquet", [.. ParquetSeeds()],
            AllTargets.Latin1("PAR1", "\u0015\u0002", "\u0019\u001c", "\u0016\0", "\u0018\u0004text", "\u001c", "\u0019\u00fc",
                "\u00ff\u00ff\u00ff\u00ff\u0007",
                "\u00ff\u00ff\u00ff\u00ff\u000f", "\u0080\u0080\u0080\u0080\u0010")) with
        { MaxLength = 8192 };

        var choice = typeof(ArgumentException); // a choice that the source cannot meet
        string Input(string extension, byte[] input) => scratch.Write(FuzzTarget.FileName + extension, input);
        yield return new("reviews", input => ReviewDataset.Stream(Input(".jsonl", input), new()
        { LineBreaks = HtmlLineBreaks.Space, LongerThan = 2, MaxTextLength = LongestText }).Count(),
            AllTargets.Bytes("""
            {"text":"one <br /> two","label":"pos"}
            {"text":"two","label":-1.0}
            {"text":"x","label":true}
            """),
            [.. json, .. AllTargets.Bytes("<br />", "\"label\":\"neg\"", "\"label\":0.5")], refused, choice);
        yield return new("preferences", input =>
        {
            foreach (var pair in PreferenceDataset.Stream(Input(".jsonl", input), new() { MaxTextLength = LongestText }))
                WrongResultException.Unless(pair.Margin is null || double.IsFinite(pair.Margin.Value),
                    "a margin that is no number");
        }, AllTargets.Bytes("""
            {"prompt":"p","chosen":"a","rejected":"b","margin":0.5}
            {"chosen":"hi a","rejected":"hi b"}
            """),
            json, refused, choice);
        yield return new("pairs", input => PairFile.Load(Input(".jsonl", input), new() { MaxTextLength = LongestText }),
            AllTargets.Bytes("""
            {"id":"1","prompt":"p","response_a":"a","response_b":"b","model":"m"}
            {"prompt":"p","response_a":"a","response_b":"c"}
            """), json, refused, choice);

        FuzzTarget Table(string name, string extension, byte[][] seeds, byte[][] tokens) => new(name, input =>
        {
            foreach (var row in TableFile.Read(new MemoryStream(input), FuzzTarget.FileName + extension, Columns, LongestText))
                WrongResultException.Unless(row.Cells.All(cell => cell is null or string or long or double or bool),
                    "a cell of an odd type");
        }, seeds, tokens, refused);
    }

    /// <summary>Small files with each kind of page and compression.</summary>
    private static IEnumerable<byte[]> ParquetSeeds()
    {
        CompressionMethod[] methods =
            [CompressionMethod.None, CompressionMethod.Snappy, CompressionMethod.Gzip, CompressionMethod.Zstd,
            CompressionMethod.LZ4];
        foreach (var method in methods)
            yield return Parquet(method, ["one", "tw\u00f6", "one", "one", "one"]).GetAwaiter().GetResult();
        yield return Parquet(CompressionMethod.None, ["only"]).GetAwaiter().GetResult();
        foreach (var seed in DeltaSeeds())
            yield return seed.Bytes();
    }

    /// <summary>Texts in the DELTA encodings, with missing ones, in both versions of pages, and with fields of a later version.</summary>
    private static IEnumerable<HandMadeParquet> DeltaSeeds()
    {
        const int LengthByteArray = 6, ByteArray = 7, Snappy = 1;
        byte[] lengths = [.. HandMadeParquet.Delta(1, 2), .. "abb"u8];
        byte[] shared = [.. HandMadeParquet.Delta(0, 2, 0), .. HandMadeParquet.Delta(4, 2, 1), .. "axisleb"u8];
        byte[] levels = [2 << 1, 1, 1 << 1, 0, 1 << 1, 1], missing = [.. BitConverter.GetBytes(levels.Length), .. levels, .. shared];
        yield return new(LengthByteArray, lengths, 2);
        yield return new(ByteArray, shared, 3) { Further = [0x0c, 0xe8, 0x07, 0x15, 2, 0x19, 0x23, 1, 2, 0] };
        yield return new(ByteArray, missing, 4) { IsNullable = true };
        yield return new(ByteArray, [.. levels, .. shared], 4) { IsNullable = true, Version2 = (1, levels.Length) };
        yield return new(ByteArray, Snappier.Snappy.CompressToArray(missing), 4)
        { IsNullable = true, Codec = Snappy, Uncompressed = missing.Length };
        yield return new(8, [1, 4 << 1, 0], 4) { Dictionary = ([1, 0, 0, 0, (byte)'a'], 1) };
    }

    private static async Task<byte[]> Parquet(CompressionMethod method, string[] texts)
    {
        var stream = new MemoryStream();
        var (text, label) = (new DataField<string>("text"), new DataField<int?>("label"));
        var options = new ParquetOptions { CompressionMethod = method };
        if (method is CompressionMethod.Gzip or CompressionMethod.Zstd)
            options.ColumnEncodingHints["label"] = EncodingHint.DeltaBinaryPacked;
        var schema = new ParquetSchema(text, label);
        await using (var writer = await ParquetWriter.CreateAsync(schema, stream, options).ConfigureAwait(false))
        {
            using var group = writer.CreateRowGroup();
            await group.WriteAsync(text, texts).ConfigureAwait(false);
            int?[] labels = [.. texts.Select((_, i) => i % 2 == 0 ? i : (int?)null)];
            await group.WriteAsync<int>(label, labels).ConfigureAwait(false);
        }
        return stream.ToArray();
    }
}
