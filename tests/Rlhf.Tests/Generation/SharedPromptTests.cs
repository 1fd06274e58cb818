using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Runtime;

namespace Rlhf.Tests.Generation;

/// <summary>Rows that answer the same prompt read it once.</summary>
public sealed class SharedPromptTests
{
    [Theory]
    [InlineData("llama")]
    [InlineData("gemma2")]
    [InlineData("phi3-longrope")]
    public void AnswersAreThoseOfPromptsReadOneByOne(string family)
    {
        using var model = AutoModelForCausalLM.FromPretrained(Fixtures.Path("families", family));
        var config = new GenerationConfig { MaxNewTokens = 8, EosTokenId = -1 };
        int[][] prompts = [[5, 6, 7], [9], [11, 12, 13, 14, 15]];
        int[][] rows = [prompts[0], prompts[1], prompts[0], [.. prompts[2]], prompts[1], [.. prompts[2]]]; // equal by content, not by reference
        int[] lengths = [8, 3, 5, 8, 1, 2]; // rows leave at different times
        var random = new RandomStream(4, "test");
        int longest = prompts.Max(p => p.Length) + config.MaxNewTokens;
        var together = new TextGenerator(model).Generate(rows, config, lengths, random);
        for (int r = 0; r < rows.Length; r++)
        {
            var alone = new TextGenerator(model).Generate([rows[r]], config, [lengths[r]], random, firstRow: r);
            Assert.Equal(alone.Responses[0], together.Responses[r]);
            Assert.All(alone.Logprobs[0].Zip(together.Logprobs[r]), l => Assert.InRange(l.First - l.Second, -1e-3, 1e-3));
        }
        Assert.True(longest < 24); // phi3-longrope turns to its long factors there
    }
}
