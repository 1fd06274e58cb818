using Rlhf.Serving;
using Rlhf.Tests.Evaluation;

namespace Rlhf.Tests.Serving;

public sealed class CompletionLogprobsTests
{
    /// <summary>A token that begins every text is no part of it: what follows starts where the text does.</summary>
    [Theory]
    [InlineData(0, new[] { 0, 1, 3 })]
    [InlineData(1, new[] { 0, 0, 2 })]
    public void Offsets_count_the_text_alone(int beforeText, int[] expected)
    {
        // Decoded one by one they are "7", "22" and "333".
        var json = CompletionLogprobs.Of(new NumberTokenizer(512), [(7, null), (22, null), (333, null)], beforeText);
        Assert.Equal(expected, json["text_offset"]!.AsArray().Select(n => n!.GetValue<int>()));
        Assert.Equal(["7", "22", "333"], json["tokens"]!.AsArray().Select(n => n!.GetValue<string>()));
    }
}
