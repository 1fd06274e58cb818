using Rlhf.Cli.Flags;
using Rlhf.Data;

namespace Rlhf.Tests.Cli;

public class HeldOutFlagsTests
{
    private static readonly PreferencePair[] Pairs =
        [.. Enumerable.Range(0, 40).Select(i => new PreferencePair($"prompt {i % 20}", $"good {i}", $"bad {i}"))];

    [Fact]
    public void A_share_of_the_pairs_is_held_out_by_whole_prompts()
    {
        var (train, heldOut) = new HeldOutFlags { EvalFraction = 0.25 }.SplitByPrompt((_, _, _) => Pairs);
        Assert.Equal((30, 10), (train.Count, heldOut.Count));
        Assert.Empty(train.Select(p => p.Prompt).Intersect(heldOut.Select(p => p.Prompt)));
        var few = new HeldOutFlags { EvalFraction = 0.25, MaxEvalTexts = 4 };
        Assert.Equal(4, few.SplitByPrompt((_, _, _) => Pairs).HeldOut.Count);
    }

    [Fact]
    public void Training_gives_up_the_prompts_of_other_evaluation_data()
    {
        var options = new HeldOutFlags { EvalDataset = "other.jsonl", MaxEvalTexts = 3 };
        var (train, heldOut) = options.SplitByPrompt((path, _, limit) => path is null ? Pairs : [.. Pairs.Take(limit!.Value)]);
        Assert.Equal((34, 3), (train.Count, heldOut.Count));
        Assert.DoesNotContain("prompt 2", train.Select(p => p.Prompt));
    }
}
