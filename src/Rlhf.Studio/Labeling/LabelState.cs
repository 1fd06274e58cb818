using Rlhf.Data;

namespace Rlhf.Studio.Labeling;

/// <summary>
/// What a journal's decisions come to: which labels hold, and what to show next. It follows from the decisions alone, so a
/// restart and a decision that was taken back lead to where one was before.
/// </summary>
/// <param name="pairs">The pairs, in the order in which they are shown.</param>
/// <param name="repeatEvery">About one in this many pairs is shown a second time; 0: none.</param>
public sealed class LabelState(IReadOnlyList<ResponsePair> pairs, int repeatEvery)
{
    /// <summary>Decisions that lie at least between the first look at a pair and the second.</summary>
    public const int RepeatGap = 6;

    private readonly Dictionary<string, ResponsePair> byId = pairs.ToDictionary(p => p.Id);
    private readonly List<Decision> standing = []; // what was not taken back
    private readonly Dictionary<string, int> firstLooks = []; // by pair, of whomever
    private int firstOpen; // no pair before it is open, as long as nothing is taken back

    /// <summary>The pairs.</summary>
    public IReadOnlyList<ResponsePair> Pairs => pairs;

    /// <summary>The decisions that were not taken back, in their order.</summary>
    public IReadOnlyList<Decision> Standing => standing;

    /// <summary>Decisions about pairs that are not in the file.</summary>
    public int Foreign { get; private set; }

    /// <summary>Takes account of one more decision.</summary>
    public void Apply(Decision decision)
    {
        if (!byId.ContainsKey(decision.Pair))
            Foreign++;
        else if (decision.Verdict == Verdict.Undo)
        {
            int last = standing.FindLastIndex(d => d.Labeler == decision.Labeler && d.Pair == decision.Pair);
            if (last < 0)
                return;
            if (!standing[last].Repeat)
                firstLooks[decision.Pair]--;
            standing.RemoveAt(last);
            firstOpen = 0;
        }
        else
        {
            standing.Add(decision);
            if (!decision.Repeat)
                firstLooks[decision.Pair] = firstLooks.GetValueOrDefault(decision.Pair) + 1;
        }
    }

    /// <summary>The labels for training, in the order in which they were given: neither ties, skips, nor second looks.</summary>
    public IEnumerable<LabeledPair> Labels()
    {
        // A pair that was skipped can be judged later: the last word of each labeler holds.
        var last = new Dictionary<(string, string), Decision>();
        foreach (var decision in standing.Where(d => !d.Repeat))
            last[(decision.Pair, decision.Labeler)] = decision;
        return standing.Where(d => !d.Repeat && d.IsChoice && last[(d.Pair, d.Labeler)] == d).Select(Label);
    }

    /// <summary>A choice as a line for training.</summary>
    public LabeledPair Label(Decision decision) =>
        new(byId[decision.Pair], decision.Choice, decision.Labeler.Length > 0 ? decision.Labeler : null);

    /// <summary>The pair to show next, or null when all are judged.</summary>
    /// <param name="labeler">To whom.</param>
    /// <param name="others">Pairs that others look at now.</param>
    /// <param name="skippedAgain">When nothing else is left, show what was skipped.</param>
    public Presentation? Next(string labeler, IReadOnlySet<string> others, bool skippedAgain = false)
    {
        if (DueRepeat(labeler) is { } repeat)
            return new(repeat, true);
        while (firstOpen < pairs.Count && firstLooks.GetValueOrDefault(pairs[firstOpen].Id) > 0)
            firstOpen++;
        for (int i = firstOpen; i < pairs.Count; i++)
            if (firstLooks.GetValueOrDefault(pairs[i].Id) == 0 && !others.Contains(pairs[i].Id))
                return new(pairs[i], false);
        return skippedAgain && Skipped(labeler).FirstOrDefault(p => !others.Contains(p.Id)) is { } skipped ? new(skipped, false) : null;
    }

    /// <summary>The labeler's last decision, or null.</summary>
    public Decision? Last(string labeler) => standing.FindLast(d => d.Labeler == labeler);

    /// <summary>A decision as it was shown.</summary>
    public Presentation Shown(Decision decision) => new(byId[decision.Pair], decision.Repeat);

    /// <summary>Pairs that nobody looked at yet.</summary>
    public int Open => pairs.Count - firstLooks.Values.Count(n => n > 0);

    /// <summary>Figures of a labeler's work, or of everybody's.</summary>
    /// <param name="labeler">Who; null is all.</param>
    public LabelFigures Figures(string? labeler) =>
        LabelFigures.Of([.. standing.Where(d => labeler is null || d.Labeler == labeler)], byId);

    /// <summary>Pairs that a labeler skipped and did not judge since.</summary>
    public IEnumerable<ResponsePair> Skipped(string labeler) => standing
        .Where(d => d.Labeler == labeler && !d.Repeat).GroupBy(d => d.Pair)
        .Where(d => d.Last().Verdict == Verdict.Skip).Select(d => byId[d.Key]);

    // When the next repeat comes is a little random, so that nobody waits for it, but the same whenever one asks.
    private ResponsePair? DueRepeat(string labeler)
    {
        if (repeatEvery == 0)
            return null;
        var own = standing.Where(d => d.Labeler == labeler && d.Verdict != Verdict.Skip).ToArray();
        int last = Array.FindLastIndex(own, d => d.Repeat);
        var repeated = standing.Where(d => d.Labeler == labeler && d.Repeat).Select(d => d.Pair).ToHashSet(); // a skipped one counts
        var random = new Random(repeated.Count);
        int wait = repeatEvery - 1 + random.Next(-repeatEvery / 3, repeatEvery / 3 + 1);
        if (own.Length - 1 - last < wait)
            return null;
        string[] candidates = [.. own.SkipLast(RepeatGap).Where(d => d.IsChoice && !d.Repeat && !repeated.Contains(d.Pair))
            .Select(d => d.Pair).Distinct()];
        return candidates.Length == 0 ? null : byId[candidates[random.Next(candidates.Length)]];
    }
}
