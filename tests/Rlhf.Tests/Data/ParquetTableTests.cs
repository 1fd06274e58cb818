using Parquet;
using Parquet.Schema;
using Rlhf.Data;

namespace Rlhf.Tests.Data;

public sealed class ParquetTableTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private async Task<string> Write(string name, Func<ParquetRowGroupWriter, DataField[], Task> write, params DataField[] fields)
    {
        var path = Path.Combine(folder.Path, name);
        await using var stream = File.Create(path);
        await using var writer = await ParquetWriter.CreateAsync(new ParquetSchema(fields), stream);
        for (int i = 0; i < 2; i++)
        {
            using var group = writer.CreateRowGroup();
            await write(group, fields);
        }
        return path;
    }

    [Fact]
    public async Task TextAndNullableLabelsOfSeveralRowGroups()
    {
        var path = await Write("a.parquet", async (group, fields) =>
        {
            await group.WriteAsync(fields[0], new[] { "one", "tw\u00f6" });
            await group.WriteAsync<int>(fields[1], new int?[] { 1, null });
        }, new DataField<string>("review"), new DataField<int?>("stars"));
        Assert.Equal([("one", 1), ("tw\u00f6", null), ("one", 1), ("tw\u00f6", (int?)null)],
            ReviewDataset.Load(path, new ReviewReadOptions { LabelColumn = "stars" }).Select(r => (r.Text, r.Label)));
        Assert.All(ReviewDataset.Load(path), r => Assert.Null(r.Label));
        Assert.Contains("\"review\", \"stars\"", Assert.Throws<InvalidDataException>(
            () => ReviewDataset.Load(path, new ReviewReadOptions { TextColumn = "body" })).Message);
    }

    [Fact]
    public async Task ABadRowIsNamedByItsNumberInTheFile()
    {
        int group = 0;
        var path = await Write("a.parquet", async (rows, fields) =>
        {
            await rows.WriteAsync(fields[0], new[] { "one", group == 1 ? null! : "two" });
            await rows.WriteAsync<long>(fields[1], new long[] { 1, group++ == 1 ? -1 : 0 });
        }, new DataField<string>("text"), new DataField<long>("label"));
        Assert.Contains($"{path}, row 4: the text is missing",
            Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path)).Message);
        Assert.Equal(3, ReviewDataset.Load(path, new ReviewReadOptions { Limit = 3 }).Count);
    }

    [Fact]
    public async Task DamagedFilesAreRefused()
    {
        var path = await Write("a.parquet", async (rows, fields) =>
        {
            await rows.WriteAsync(fields[0], Enumerable.Range(0, 50).Select(i => $"text {i}").ToArray());
            await rows.WriteAsync<long>(fields[1], new long[50]);
        }, new DataField<string>("text"), new DataField<long>("label"));
        var bytes = File.ReadAllBytes(path);
        var random = new Random(2);
        for (int i = 0; i < 300; i++)
        {
            var changed = (byte[])bytes.Clone();
            for (int j = 0; j < 3; j++)
                changed[random.Next(changed.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(path, i % 3 == 0 ? changed[..random.Next(changed.Length)] : changed);
            var error = Record.Exception(() => ReviewDataset.Load(path));
            Assert.True(error is null or InvalidDataException, $"case {i}: {error}");
        }
    }

    /// <summary>Structures that a recursive reader would follow until its stack overflows, which no process survives.</summary>
    [Theory]
    [InlineData("unknown structures", "nested too deeply")]
    [InlineData("unknown lists", "nested too deeply")]
    [InlineData("schema", "nested too deeply")]
    public void DeeplyNestedFootersAreRefused(string what, string why)
    {
        const int Depth = 300_000;
        byte[] nested = what switch
        {
            "unknown structures" => [0xec, .. Enumerable.Repeat((byte)0x1c, Depth), .. new byte[Depth + 2]],
            "unknown lists" => [0xd9, .. Enumerable.Repeat((byte)0x19, Depth), 0x10, .. new byte[Depth + 2]],
            // A list of 300,000 elements named "a" with one child each.
            _ => [0x19, 0xfc, 0xe0, 0xa7, 0x12, .. Enumerable.Repeat(new byte[] { 0x48, 1, (byte)'a', 0x15, 2, 0 }, Depth)
                .SelectMany(b => b), 0x16, 0, 0x19, 0x0c, 0],
        };
        byte[] footer = [0x15, 0x02, .. nested]; // version 1, then the hostile field
        var path = Path.Combine(folder.Path, "bomb.parquet");
        File.WriteAllBytes(path, [.. "PAR1"u8, .. footer, .. BitConverter.GetBytes(footer.Length), .. "PAR1"u8]);
        Assert.Contains(why, Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path)).Message);
    }

    [Fact]
    public async Task ADeeplyNestedPageHeaderIsRefused()
    {
        var path = await Write("a.parquet", (rows, fields) => rows.WriteAsync(
            fields[0], Enumerable.Range(0, 200_000).Select(i => $"text {i * 7919L % 200_003}").ToArray()),
            new DataField<string>("text"));
        var bytes = File.ReadAllBytes(path);
        Assert.Equal(0x15, bytes[4]); // the first page header begins with its type, field 1
        bytes.AsSpan(4, 500_000).Fill(0x1c);
        bytes[4] = 0xec;
        File.WriteAllBytes(path, bytes);
        Assert.Contains("nested too deeply", Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path)).Message);
    }
}
