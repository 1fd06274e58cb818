using CsCheck;
using Rlhf.Data;

namespace Rlhf.Tests.Data;

public class PreferenceSplitTests
{
    [Fact]
    public void Whole_prompts_are_held_out()
    {
        PreferencePair[] pairs = [Pair("a", 0), Pair("big", 1), Pair("a", 2), Pair("big", 3), Pair("big", 4), Pair("c", 5)];
        var (train, heldOut) = PreferenceSplit.HoldOut(pairs, 3);
        // "a" takes two of three places, "big" does not fit, "c" does.
        Assert.Equal([pairs[0], pairs[2], pairs[5]], heldOut);
        Assert.Equal([pairs[1], pairs[3], pairs[4]], train);
        Assert.Equal([pairs[5]], PreferenceSplit.WithoutPromptsOf(pairs, [Pair("a", 9), Pair("big", 9)]));
    }

    [Fact]
    public void Pairs_without_a_prompt_stand_alone()
    {
        PreferencePair[] pairs = [Pair("", 0), Pair("", 1), Pair("", 2)];
        Assert.Equal([pairs[0]], PreferenceSplit.HoldOut(pairs, 1).HeldOut);
        Assert.Equal(pairs, PreferenceSplit.WithoutPromptsOf(pairs, [Pair("", 3)]));
    }

    [Fact]
    public void No_prompt_is_in_both_parts_and_no_pair_is_lost() =>
        Gen.Select(Gen.Int[0, 9].Array[0, 60], Gen.Int[0, 70]).Sample((prompts, count) =>
        {
            PreferencePair[] pairs = [.. prompts.Select((p, i) => Pair(p == 0 ? "" : $"prompt {p}", i))];
            var (train, heldOut) = PreferenceSplit.HoldOut(pairs, count);
            Assert.True(heldOut.Count <= count);
            Assert.Empty(train.Select(p => p.Prompt).Where(p => p != "").Intersect(heldOut.Select(p => p.Prompt)));
            Assert.Equal(pairs.ToHashSet(), [.. train, .. heldOut]);
            Assert.Equal(train, PreferenceSplit.WithoutPromptsOf(train, heldOut));
        }, iter: 200);

    private static PreferencePair Pair(string prompt, int number) => new(prompt, $" good {number}", $" bad {number}");
}
