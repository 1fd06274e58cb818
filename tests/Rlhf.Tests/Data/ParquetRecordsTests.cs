using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Data;
using Rlhf.Data.Files;

namespace Rlhf.Tests.Data;

/// <summary>Lists of records in parquet, against the JSON lines that DuckDB 1.5 made the files from.</summary>
public class ParquetRecordsTests
{
    private static readonly TableColumn[] Columns =
    [
        TableColumn.Of("conversation", null, required: true, "messages") with { TakesLists = true },
        TableColumn.Of("tools", null, required: true, "tools") with { TakesLists = true },
        TableColumn.Of("score", null, required: true, "score"), TableColumn.Of("id", null, required: true, "id"),
    ];

    [Fact]
    public void Records_are_put_together_as_they_were()
    {
        string[] lines = File.ReadAllLines(Fixtures.Path("conversations", "chats.jsonl"));
        TableRow[] rows = [.. TableFile.Read(Fixtures.Path("conversations", "chats.parquet"), Columns, 1000)];
        Assert.Equal(lines.Length, rows.Length);
        for (int i = 0; i < rows.Length; i++)
        {
            var expected = JsonNode.Parse(lines[i])!;
            Assert.True(JsonNode.DeepEquals(WithoutNulls(expected["messages"]), Node(rows[i].Cells[0])), $"{lines[i]}\n{rows[i].Cells[0]}");
            Assert.True(JsonNode.DeepEquals(WithoutNulls(expected["tools"]), Node(rows[i].Cells[1])), $"{lines[i]}\n{rows[i].Cells[1]}");
            Assert.Equal(expected["score"]?.GetValue<double>(), rows[i].Cells[2]);
            Assert.Equal(expected["id"]!.GetValue<long>(), rows[i].Cells[3]);
        }
    }

    [Fact]
    public void Lists_in_a_delta_encoding_are_refused_by_name()
    {
        var error = Assert.Throws<InvalidDataException>(() => TableFile.Read(Fixtures.Path("conversations", "chats-v2.parquet"), Columns, 1000).ToArray());
        Assert.Contains("delta encoding", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Conversations_are_read_from_parquet_as_from_JSON_lines()
    {
        string[] lines = File.ReadAllLines(Fixtures.Path("conversations", "chats.jsonl"));
        using var folder = new Fixtures.TemporaryFolder();
        var jsonl = Path.Combine(folder.Path, "chats.jsonl");
        File.WriteAllLines(jsonl, lines.Take(3));
        var expected = ConversationDataset.Load(jsonl);
        var read = ConversationDataset.Load(Fixtures.Path("conversations", "chats.parquet"), new() { Limit = 3 });
        Assert.Equal(expected.SelectMany(x => x.Messages).Select(x => (x.Role, x.Text, x.Name, x.ToolCalls?.GetArrayLength())),
            read.SelectMany(x => x.Messages).Select(x => (x.Role, x.Text, x.Name, x.ToolCalls?.GetArrayLength())));
        Assert.Equal("""[{"name":"weather","tags":["a","b"]}]""", JsonSerializer.Serialize(read[0].Tools));
        Assert.Null(read[1].Tools);
    }

    private static JsonNode? Node(object? cell) => cell is JsonElement element ? JsonNode.Parse(element.GetRawText()) : null;

    /// <summary>A parquet record has every field; those that are null, but for a content, are left out.</summary>
    private static JsonNode? WithoutNulls(JsonNode? node)
    {
        if (node is JsonArray list)
            return new JsonArray([.. list.Select(WithoutNulls)]);
        if (node is not JsonObject record)
            return node?.DeepClone();
        return new JsonObject(record.Where(x => x.Value is not null || x.Key == "content").Select(x => KeyValuePair.Create(x.Key, WithoutNulls(x.Value))));
    }
}
