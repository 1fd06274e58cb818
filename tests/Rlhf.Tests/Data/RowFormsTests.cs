using Rlhf.Data;

namespace Rlhf.Tests.Data;

public sealed class RowFormsTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private RowForms Of(string name, params string[] lines)
    {
        string file = Path.Combine(folder.Path, name);
        File.WriteAllLines(file, lines);
        return RowForms.Of(file, null);
    }

    [Theory]
    [InlineData("a.jsonl", """{"text":"A"}""", "Text")]
    [InlineData("a.jsonl", """{"id":1,"review":"A"}""", "Text")]
    [InlineData("a.csv", "label,text\n1,A", "Text")]
    [InlineData("a.txt", "A line", "Text")]
    [InlineData("a.jsonl", """{"prompt":"A","completion":"B"}""", "Completion")]
    [InlineData("a.tsv", "prompt\tcompletion\nA\tB", "Completion")]
    [InlineData("a.jsonl", """{"prompt":[{"role":"user","content":"A"}],"completion":[{"role":"assistant","content":"B"}]}""", "Conversation")]
    [InlineData("a.jsonl", """{"messages":[{"role":"user","content":"A"}],"prompt":"A"}""", "Conversation")]
    [InlineData("a.jsonl", """{"conversations":[{"from":"human","value":"A"}]}""", "Conversation")]
    [InlineData("a.jsonl", """{"instruction":"A","input":"","output":"B"}""", "Conversation")]
    [InlineData("a.jsonl", """{"instruction":"A","response":"B","messages":null}""", "Conversation")]
    [InlineData("a.jsonl", """{"prompt":"A","answer":"B"}""", "")]
    [InlineData("a.jsonl", """{"text":"A","messages":[]}""", "Text Conversation")]
    [InlineData("a.jsonl", """{"instruction":"A","output":"B","text":"AB"}""", "Text Conversation")]
    [InlineData("a.jsonl", """{"prompt":"A","completion":"B","messages":[]}""", "Conversation Completion")]
    public void Columns_say_what_rows_are(string file, string content, string forms) =>
        Assert.Equal(forms, string.Join(' ', Of(file, content).Forms.Select(f => f.Form)));

    [Fact]
    public void A_null_in_the_first_row_does_not_hide_messages() => Assert.Equal([(RowForm.Conversation, "prompt and completion")],
        Of("a.jsonl", """{"prompt":null,"completion":"B"}""", """{"prompt":[{"role":"user","content":"A"}],"completion":"B"}""").Forms);

    [Fact]
    public void All_columns_are_named() => Assert.Equal(["id", "text", "messages"], Of("a.jsonl", """{"id":1,"text":"A","messages":[]}""").Columns);
}
