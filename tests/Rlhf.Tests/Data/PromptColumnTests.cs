using System.Text.Json;
using System.Text.Json.Nodes;
using Parquet;
using Parquet.Schema;
using Rlhf.Data;
using Rlhf.Tests.Evaluation;

namespace Rlhf.Tests.Data;

/// <summary>The other columns of a prompt's row, which rewards compare with.</summary>
public sealed class PromptColumnTests
{
    [Fact]
    public async Task ParquetPromptsKeepTheColumnsThatCanBeRead()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string path = Path.Combine(folder.Path, "prompts.parquet");
        DataField prompt = new DataField<string>("prompt"), answer = new DataField<long>("answer"), share = new DataField<double>("share"),
            known = new DataField<bool>("known"), note = new DataField<string>("note"), level = new DataField<int>("level"), odd = new DataField<ulong>("odd");
        await using (var stream = File.Create(path))
        await using (var writer = await ParquetWriter.CreateAsync(new ParquetSchema(prompt, answer, share, known, note, level, odd), stream,
            cancellationToken: TestContext.Current.CancellationToken))
        using (var group = writer.CreateRowGroup())
        {
            await group.WriteAsync(prompt, new[] { "1 2", "3" });
            await group.WriteAsync<long>(answer, new long[] { 42, -1 });
            await group.WriteAsync<double>(share, new[] { 0.5, 2 });
            await group.WriteAsync<bool>(known, new[] { true, false });
            await group.WriteAsync(note, new[] { "a", "b" });
            await group.WriteAsync<int>(level, new[] { 1, 2 });
            await group.WriteAsync<ulong>(odd, new ulong[] { 1, 2 });
            group.CompleteValidate();
        }
        var queries = QueryDataset.Load(path, new NumberTokenizer(17));
        Assert.Equal([42L, 0.5, true, "a", 1L], (object?[])[.. new[] { "answer", "share", "known", "note", "level" }.Select(c => queries[0].Fields[c])]);
        Assert.Equal(-1L, queries[1].Fields["answer"]);
        Assert.DoesNotContain("prompt", queries[0].Fields.Keys);
    }

    [Fact]
    public void JsonPromptsKeepListsAndObjects()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string path = Path.Combine(folder.Path, "prompts.jsonl");
        File.WriteAllText(path, """{"prompt":"1 2","tests":[{"in":1,"out":2}],"level":null}""" + "\n");
        var fields = QueryDataset.Load(path, new NumberTokenizer(17)).Single().Fields;
        Assert.Equal("""[{"in":1,"out":2}]""", Assert.IsAssignableFrom<JsonNode>(fields["tests"]).ToJsonString());
        Assert.Null(fields["level"]);
        Assert.Equal("""{"tests":[{"in":1,"out":2}],"level":null}""", JsonSerializer.Serialize(fields));
    }
}
