using Rlhf.Tokenizers.Pipeline.Patterns;

namespace Rlhf.Tokenizers.Pipeline.PreTokenizers;

/// <summary>What becomes of the stretches that a pattern matches.</summary>
internal enum SplitBehavior
{
    /// <summary>They are pieces of their own.</summary>
    Isolated,

    /// <summary>They are left out.</summary>
    Removed,

    /// <summary>Several that touch are one piece.</summary>
    Contiguous,

    /// <summary>They end the piece before them.</summary>
    MergedWithPrevious,

    /// <summary>They begin the piece behind them.</summary>
    MergedWithNext,
}

/// <summary>Cuts text where a pattern matches.</summary>
/// <param name="matcher">The pattern.</param>
/// <param name="behavior">What becomes of its matches.</param>
/// <param name="invert">What lies between the matches counts as matched instead.</param>
internal sealed class SplitPreTokenizer(Matcher matcher, SplitBehavior behavior, bool invert) : PreTokenizer
{
    [ThreadStatic]
    private static Stack<List<Stretch>>? spare;

    /// <summary>
    /// The words that this cuts text into, where nothing but cutting happens and nothing is left over; null otherwise.
    /// </summary>
    public WordMatcher? Words => matcher is WordMatcher words
        && (behavior == SplitBehavior.Isolated || (behavior == SplitBehavior.Removed && invert)) ? words : null;

    /// <summary>Cuts at digits only.</summary>
    public bool IsOfDigits { get; init; }

    public override void Take(ReadOnlySpan<char> piece, TextPlace place, List<int> ids)
    {
        if (Words is { } words)
        {
            for (int at = 0, end; at < piece.Length; at = end)
                Hand(piece, at, end = words.WordEnd(piece, at), place, ids);
            return;
        }
        spare ??= new();
        var stretches = spare.TryPop(out var list) ? list : [];
        matcher.Find(piece, stretches);
        Cut(piece, stretches, place, ids);
        stretches.Clear();
        spare.Push(stretches);
    }

    private void Cut(ReadOnlySpan<char> piece, List<Stretch> stretches, TextPlace place, List<int> ids)
    {
        bool Matched(int i) => stretches[i].IsMatch != invert;
        for (int i = 0; i < stretches.Count;)
        {
            int start = stretches[i].Start;
            bool matched = Matched(i++);
            switch (behavior)
            {
                case SplitBehavior.Contiguous:
                    while (i < stretches.Count && Matched(i) == matched)
                        i++;
                    break;
                case SplitBehavior.MergedWithPrevious:
                    // One match joins what stands before it; a match behind a match does not.
                    if (!matched && i < stretches.Count && Matched(i))
                        i++;
                    break;
                case SplitBehavior.MergedWithNext:
                    // Of several matches the last one joins what follows.
                    if (matched && i < stretches.Count && !Matched(i))
                        i++;
                    break;
                case SplitBehavior.Removed when matched:
                    continue;
            }
            Hand(piece, start, stretches[i - 1].End, place, ids);
        }
    }
}
