using Rlhf.Studio.Labeling;

namespace Rlhf.Studio.Tests.Labeling;

/// <summary>Answers are shown as people read them, and never as a stranger's HTML.</summary>
public sealed class AnswerMarkupTests
{
    [Theory]
    [InlineData("This film was a joy, and I told my friends so.")]
    [InlineData("Two lines\nof plain text with <b>a tag</b> and 2 * 3 = 6.")]
    [InlineData("")]
    public void Plain_text_stays_as_it_is(string text) => Assert.Null(AnswerMarkup.Of(text));

    [Theory]
    [InlineData("It is **good**.", "<strong>good</strong>")]
    [InlineData("```\nint x = 1 < 2;\n```", "<pre><code>int x = 1 &lt; 2;")]
    [InlineData("- one\n- two", "<li>one</li>")]
    [InlineData("Human: Hi\nAssistant: Hello", "<p class=\"role\"><strong>Assistant</strong></p>")]
    public void Markdown_code_and_turns_are_rendered(string text, string html) => Assert.Contains(html, AnswerMarkup.Of(text)!.Value.Value);

    [Theory]
    [InlineData("**x** <script>alert(1)</script>")]
    [InlineData("**x** <img src=x onerror=alert(1)>")]
    [InlineData("[a](javascript:alert(1)) ![b](http://tracker/x.png) <http://tracker/y> `c`")]
    [InlineData("[a][r] **b**\n\n[r]: javascript:alert(1)")]
    [InlineData("# <iframe src=\"http://tracker\"></iframe>")]
    public void A_strangers_text_is_text(string text)
    {
        string html = AnswerMarkup.Of(text)!.Value.Value;
        foreach (string tag in new[] { "<script", "<img", "<iframe", "<a ", "href=", "src=" })
            Assert.DoesNotContain(tag, html.Replace("&lt;", "(", StringComparison.Ordinal).Replace("src=&quot;", "", StringComparison.Ordinal)
                .Replace("(img src=x", "", StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase);
    }
}
