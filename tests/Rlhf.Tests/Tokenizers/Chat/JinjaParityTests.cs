namespace Rlhf.Tests.Tokenizers.Chat;

/// <summary>Jinja against Jinja itself, set up as transformers does.</summary>
public class JinjaParityTests
{
    [Fact]
    public void Every_snippet_gives_the_text_or_the_error_that_jinja_gives()
    {
        var wrong = new List<string>();
        int count = 0;
        foreach (var (file, root) in ChatFixtures.With("source"))
            foreach (var test in root.GetProperty("cases").EnumerateArray())
            {
                count++;
                var source = test.GetProperty("source").GetString()!;
                if (ChatFixtures.Difference(test.GetProperty("expected"),
                    () => ChatFixtures.Render(source, root.GetProperty("variables"), ChatFixtures.Now(root))) is { } difference)
                    wrong.Add($"{file}: {source}\n{difference}");
            }
        Assert.True(wrong.Count == 0, $"{wrong.Count} of {count}:\n{string.Join("\n\n", wrong)}");
    }
}
