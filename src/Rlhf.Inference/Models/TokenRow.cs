namespace Rlhf.Models;

/// <summary>A row of tokens, some of which count: a loss or a score is taken of them, the others are only read.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="Counts">Per token: does it count? The first token never does, since nothing precedes it.</param>
public readonly record struct TokenRow(int[] Ids, bool[] Counts)
{
    /// <summary>Number of tokens that count.</summary>
    public int CountedTokens
    {
        get
        {
            int count = 0;
            for (int t = 1; t < Counts.Length; t++)
                count += Counts[t] ? 1 : 0;
            return count;
        }
    }

    /// <summary>A row of which all tokens from <paramref name="start"/> on count, such as an answer after its prompt.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="start"/> is negative.</exception>
    public static TokenRow From(int[] ids, int start)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        var counts = new bool[ids.Length];
        counts.AsSpan(Math.Min(start, ids.Length)).Fill(true);
        return new TokenRow(ids, counts);
    }

    /// <summary>A prompt and its answer, of which all tokens count.</summary>
    public static TokenRow Of(int[] prompt, int[] answer) => From([.. prompt, .. answer], prompt.Length);
}
