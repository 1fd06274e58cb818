using Rlhf.Data;
using Rlhf.Tests.Training.RewardModeling;
using Rlhf.Training.Preferences;

namespace Rlhf.Tests.Training.Preferences;

/// <summary>What of a prompt and its answers a policy learns.</summary>
public sealed class PreferenceTokensTests
{
    // Words are tokens: a = 3, b = 4, … ; the template puts 1 before a text.
    private static readonly ToyTokenizer Words = new("a", "b", "c", "d", "e", "f", "end");
    private const int End = 9;

    private static PreferenceTokens Of(int maxLength = 64, int? maxPromptLength = null, bool append = true) => new(Words, [End],
        new DpoConfig { MaxLength = maxLength, MaxPromptLength = maxPromptLength, AppendEndToken = append }, maxPositions: 64);

    [Fact]
    public void AnswersEndOnce()
    {
        var pair = Of().Encode(new PreferencePair("a b", "c", "d end"))!;
        Assert.Equal([1, 3, 4], pair.Prompt);
        Assert.Equal([5, End], pair.Chosen);
        Assert.Equal([6, End], pair.Rejected);
        Assert.Equal([5], Of(append: false).Encode(new PreferencePair("a b", "c", "d end"))!.Chosen);
        // A chat template has written the end of the turn.
        Assert.Equal([5], Of().Encode(new PreferencePair("a b", "c", "d") { IsRendered = true })!.Chosen);
    }

    [Fact]
    public void PromptsLoseTheirBeginningAndAnswersNothing()
    {
        var pair = Of(maxLength: 6).Encode(new PreferencePair("a b c d e f", "a b", "c"))!;
        // Room for 3 of the prompt beside the longer answer: the template's token and the last two words; the same prompt for both.
        Assert.Equal([1, 7, 8], pair.Prompt);
        Assert.Equal([3, 4, End], pair.Chosen);
        Assert.Equal([1, 8], Of(maxPromptLength: 2).Encode(new PreferencePair("a b c d e f", "a b", "c"))!.Prompt);
    }

    [Fact]
    public void WhatTeachesNothingIsLeftOut()
    {
        Assert.Null(Of().Encode(new PreferencePair("a", "b c", "b c end")));
        Assert.Null(Of(maxLength: 6).Encode(new PreferencePair("a b", "a b c d e f", "c")));
        Assert.Null(Of(maxLength: 6).Encode(new LabeledAnswer("a b", "a b c d e f", true)));
    }

    [Fact]
    public void LengthsNeverExceedTheLimit()
    {
        string[] words = ["a", "b", "c", "d", "e", "f"];
        string Text(int seed, int count) => string.Join(' ', Enumerable.Range(0, count).Select(i => words[(seed + i * 7) % 6]));
        for (int prompt = 0; prompt < 12; prompt++)
            for (int chosen = 1; chosen < 12; chosen++)
                for (int limit = 2; limit < 16; limit++)
                    if (Of(limit).Encode(new PreferencePair(Text(1, prompt), Text(2, chosen), Text(3, 1))) is { } pair)
                    {
                        Assert.InRange(pair.Prompt.Length + Math.Max(pair.Chosen.Length, pair.Rejected.Length), 2, limit);
                        Assert.Equal(chosen + 1, pair.Chosen.Length);
                        Assert.NotEmpty(pair.Prompt);
                    }
                    else
                        Assert.True(chosen + 3 > limit || Text(2, chosen) == Text(3, 1));
    }
}
