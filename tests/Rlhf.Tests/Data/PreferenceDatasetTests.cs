using Rlhf.Data;

namespace Rlhf.Tests.Data;

public sealed class PreferenceDatasetTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private string Write(string name, string content)
    {
        var path = Path.Combine(folder.Path, name);
        File.WriteAllText(path, content);
        return path;
    }

    [Fact]
    public void PairsWithPromptAndMargin()
    {
        PreferencePair[] expected = [new("Q", " yes", " no", 0.5), new("R", "a, b", "c", null)];
        Assert.Equal(expected, PreferenceDataset.Load(Write("a.jsonl", """
            {"prompt":"Q","chosen":" yes","rejected":" no","margin":0.5}
            {"prompt":"R","chosen":"a, b","rejected":"c"}
            """)));
        Assert.Equal(expected, PreferenceDataset.Load(
            Write("a.csv", "margin,chosen,prompt,rejected\n0.5, yes,Q, no\n,\"a, b\",R,c\n")));
        Assert.Equal("c", PreferenceDataset.Load(Write("b.csv", "chosen,better,rejected,prompt\nx,c,y,p\n"),
            new PreferenceReadOptions { ChosenColumn = "better" })[0].Chosen);
    }

    // TRL's documentation of the implicit-prompt form: "The sky is" is the prompt of "The sky is blue." and "The sky is green.".
    [Theory]
    [InlineData("The sky is blue.", "The sky is green.", "The sky is")]
    [InlineData("blue", "green", "")]
    [InlineData("ab", "abc", "a")]
    [InlineData("", "x", "")]
    [InlineData("a\U0001F600", "a\U0001F601", "a")]
    public void WithoutPromptTheCommonBeginningIsThePrompt(string chosen, string rejected, string prompt)
    {
        int length = PreferenceDataset.CommonPrompt(chosen, rejected);
        Assert.Equal(prompt, chosen[..length]);
        Assert.Equal(prompt, rejected[..length]);
    }

    [Fact]
    public void ImplicitPromptsAreSplitOff() =>
        Assert.Equal([new PreferencePair("The sky is", " blue.", " green.")],
            PreferenceDataset.Load(Write("a.jsonl", "{\"chosen\":\"The sky is blue.\",\"rejected\":\"The sky is green.\"}")));

    [Theory]
    [InlineData("{\"chosen\":\"x\"}", "rejected")]
    [InlineData("{\"chosen\":[{\"role\":\"user\"}],\"rejected\":\"x\"}", "chat template")]
    [InlineData("{\"chosen\":\"x\",\"rejected\":\"y\",\"margin\":\"much\"}", "much")]
    public void BadRowsAreNamed(string row, string reason)
    {
        var path = Write("a.jsonl", "{\"chosen\":\"x\",\"rejected\":\"y\"}\n" + row);
        var message = Assert.Throws<InvalidDataException>(() => PreferenceDataset.Load(path)).Message;
        Assert.Contains("line 2", message);
        Assert.Contains(reason, message);
    }

    [Fact]
    public void PromptsWithCompletions()
    {
        Assert.Equal([new PromptCompletion("Say", " hello")],
            PromptCompletionDataset.Load(Write("a.jsonl", "{\"prompt\":\"Say\",\"completion\":\" hello\"}")));
        Assert.Throws<ArgumentException>(() => PromptCompletionDataset.Load(Write("a.txt", "hello")));
    }
}
