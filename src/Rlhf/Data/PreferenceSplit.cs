namespace Rlhf.Data;

/// <summary>
/// Divides preference pairs by prompt. Two pairs of one prompt often share an answer or its topic, so that a pair whose prompt
/// was trained on measures memory, not judgment.
/// </summary>
public static class PreferenceSplit
{
    /// <summary>
    /// Holds out whole prompts, in the order of their first pair, until this many pairs are held out; a prompt with more pairs
    /// than there is room for stays in training. Pairs without a prompt count as having one each.
    /// </summary>
    /// <param name="pairs">The pairs; shuffle them first.</param>
    /// <param name="count">Most pairs to hold out.</param>
    /// <returns>Pairs to train on and pairs to evaluate on, both in the order given.</returns>
    public static (IReadOnlyList<PreferencePair> Train, IReadOnlyList<PreferencePair> HeldOut) HoldOut(
        IReadOnlyList<PreferencePair> pairs, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        var heldOut = new bool[pairs.Count];
        foreach (var prompt in Enumerable.Range(0, pairs.Count).GroupBy(i => Key(pairs[i], i)))
        {
            if (prompt.Count() > count)
                continue;
            foreach (int i in prompt)
                heldOut[i] = true;
            count -= prompt.Count();
        }
        return ([.. pairs.Where((_, i) => !heldOut[i])], [.. pairs.Where((_, i) => heldOut[i])]);
    }

    /// <summary>The pairs whose prompt none of the held-out pairs has.</summary>
    public static IReadOnlyList<PreferencePair> WithoutPromptsOf(
        IReadOnlyList<PreferencePair> pairs, IReadOnlyList<PreferencePair> heldOut)
    {
        var prompts = heldOut.Select(p => p.Prompt).Where(p => p.Length > 0).ToHashSet();
        return [.. pairs.Where(p => !prompts.Contains(p.Prompt))];
    }

    private static (string Prompt, int Row) Key(PreferencePair pair, int row) => (pair.Prompt, pair.Prompt.Length > 0 ? -1 : row);
}
