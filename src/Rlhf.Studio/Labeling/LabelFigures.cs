using Rlhf.Data;
using Rlhf.Evaluation;

namespace Rlhf.Studio.Labeling;

/// <summary>A share of some cases.</summary>
/// <param name="Count">Cases in which it is so.</param>
/// <param name="Of">All cases.</param>
public readonly record struct Share(int Count, int Of)
{
    /// <summary>In [0, 1]; NaN where there is no case.</summary>
    public double Value => Of == 0 ? double.NaN : (double)Count / Of;

    /// <summary>
    /// Could chance alone hardly make it so different from one half? By a 99 % interval (Wilson 1927), for 20 cases and more.
    /// </summary>
    public bool IsFarFromHalf
    {
        get
        {
            const double z99 = 2.5758293035489004;
            return Of >= 20 && ConfidenceInterval.OfShare(Value, Of, z99) is ({ Low: > 0.5 } or { High: < 0.5 });
        }
    }
}

/// <summary>How somebody labels.</summary>
/// <param name="Choices">Pairs with a better answer.</param>
/// <param name="Ties">Pairs in which neither was better.</param>
/// <param name="Skips">Pairs without a judgment.</param>
/// <param name="FirstChosen">Choices of the answer that stood first.</param>
/// <param name="LongerChosen">Choices of the longer answer, of those pairs whose answers differ in length.</param>
/// <param name="SameAgain">Second looks that ended with the same choice, of all that were judged; a tie is not the same.</param>
/// <param name="SecondsEach">Median time of the last decisions; 0 when there are none.</param>
public sealed record LabelFigures(
    int Choices, int Ties, int Skips, Share FirstChosen, Share LongerChosen, Share SameAgain, double SecondsEach)
{
    private const int PaceOver = 30;

    /// <summary>Figures of decisions that stand.</summary>
    /// <param name="decisions">The decisions.</param>
    /// <param name="pairs">The pairs by their ids.</param>
    public static LabelFigures Of(IReadOnlyList<Decision> decisions, IReadOnlyDictionary<string, ResponsePair> pairs)
    {
        var first = decisions.Where(d => !d.Repeat).GroupBy(d => (d.Pair, d.Labeler)).ToDictionary(d => d.Key, d => d.Last());
        Decision[] choices = [.. first.Values.Where(d => d.IsChoice)];
        Decision[] again = [.. decisions.Where(d => d.Repeat && d.Verdict != Verdict.Skip)];
        int Longer(Decision d) => pairs[d.Pair].ResponseA.Length.CompareTo(pairs[d.Pair].ResponseB.Length); // above 0: the first
        Decision[] unequal = [.. choices.Where(d => Longer(d) != 0)];
        return new(choices.Length, first.Values.Count(d => d.Verdict == Verdict.Tie),
            first.Values.Count(d => d.Verdict == Verdict.Skip),
            new(choices.Count(d => d.ChoseFirst), choices.Length),
            new(unequal.Count(d => Longer(d) > 0 == (d.Verdict == Verdict.A)), unequal.Length),
            new(again.Count(d => first.GetValueOrDefault((d.Pair, d.Labeler))?.Verdict == d.Verdict), again.Length),
            Median([.. decisions.TakeLast(PaceOver).Select(d => d.Seconds)]));
    }

    private static double Median(double[] values)
    {
        if (values.Length == 0)
            return 0;
        Array.Sort(values);
        return (values[(values.Length - 1) / 2] + values[values.Length / 2]) / 2;
    }
}
