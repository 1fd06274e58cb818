using Rlhf.Cli.Terminal;

namespace Rlhf.Tests.Cli;

/// <summary>Errors in a terminal break between words.</summary>
public sealed class ErrorReportTests
{
    [Theory]
    [InlineData("rlhf: no such flag --learning-rate here", 30, "rlhf: no such flag\n--learning-rate here")]
    [InlineData("one two three four five six", 20, "one two three four\nfive six")]
    [InlineData("a /very/long/path/that/is/longer/than/a/line b", 20, "a\n/very/long/path/that/is/longer/than/a/line\nb")]
    [InlineData("first line\nsecond  line", 40, "first line\nsecond  line")]
    [InlineData("as it is where the width is not known", 0, "as it is where the width is not known")]
    public void Lines_break_between_words(string text, int width, string expected) => Assert.Equal(expected, ErrorReport.Wrapped(text, width));
}
