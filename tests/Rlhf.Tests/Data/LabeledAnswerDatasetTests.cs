using Rlhf.Data;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Tests.Data;

public sealed class LabeledAnswerDatasetTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    [Fact]
    public void LabelsAreReadAsPeopleWriteThem()
    {
        string[] labels = ["true", "false", "1", "0", "\"good\"", "\"bad\"", "\"Up\"", "\"down\"", "\"\ud83d\udc4d\"", "-1"];
        var answers = LabeledAnswerDataset.Load(Write([.. labels.Select(l => $$"""{"prompt":"p","response":"r","label":{{l}}}""")]));
        Assert.Equal([true, false, true, false, true, false, true, false, true, false], answers.Select(a => a.IsDesirable));
        Assert.All(answers, a => Assert.Equal(("p", "r", false), (a.Prompt, a.Completion, a.IsRendered)));
    }

    [Fact]
    public void MessagesAreWrittenByTheTemplate()
    {
        string path = Write("""{"prompt":[{"role":"user","content":"Hi"}],"completion":[{"role":"assistant","content":"Hello"}],"label":true}""");
        var answer = LabeledAnswerDataset.Load(path, new() { Template = ChatTemplate.ChatMl }).Single();
        Assert.Equal("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", answer.Prompt);
        Assert.Equal("Hello<|im_end|>\n", answer.Completion);
        Assert.True(answer.IsRendered);
        Assert.Contains("--chat-template chatml", Assert.Throws<InvalidDataException>(() => LabeledAnswerDataset.Load(path)).Message);
    }

    [Theory]
    [InlineData("""{"prompt":"p","completion":"r","label":"perhaps"}""", "\"perhaps\" does not say whether the answer was liked")]
    [InlineData("""{"prompt":"p","completion":"r","label":null}""", "the label is missing")]
    [InlineData("""{"prompt":"p","completion":"r"}""", "has no column \"label\"")]
    [InlineData("""{"prompt":"p","label":true}""", "has no column \"completion\"")]
    public void WhatIsWrongIsNamed(string line, string problem) =>
        Assert.Contains(problem, Assert.Throws<InvalidDataException>(() => LabeledAnswerDataset.Load(Write(line))).Message);

    private string Write(params string[] lines)
    {
        string path = Path.Combine(folder.Path, "answers.jsonl");
        File.WriteAllLines(path, lines);
        return path;
    }

    public void Dispose() => folder.Dispose();
}
