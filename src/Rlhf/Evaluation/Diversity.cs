namespace Rlhf.Evaluation;

/// <summary>
/// How varied texts are. A policy that hacks its reward repeats itself, and these numbers fall or rise long before a reader
/// notices.
/// </summary>
/// <remarks>
/// Rows hold token ids or words, as the caller chooses; n-grams never cross from one row to the next. The numbers depend on how
/// much text there is, so compare only sets of the same number of rows and similar lengths, such as the responses before and
/// after training.
/// </remarks>
public static class Diversity
{
    /// <summary>
    /// distinct-n (Li et al. 2016): different n-grams over all n-grams, of all rows together; from near 0 (one phrase) to 1 (no
    /// phrase twice).
    /// </summary>
    /// <returns>1 when no row is long enough to hold an n-gram: nothing was repeated.</returns>
    public static double Distinct<T>(IEnumerable<IReadOnlyList<T>> rows, int n) where T : notnull
    {
        var counter = new NgramCounter<T>(n);
        HashSet<int> different = [];
        long all = 0;
        foreach (var row in rows)
            foreach (int ngram in counter.Ngrams(row))
            {
                different.Add(ngram);
                all++;
            }
        return all == 0 ? 1 : (double)different.Count / all;
    }

    /// <summary>
    /// Repetition within rows (seq-rep-n, Welleck et al. 2020): the share of n-grams that occurred before in their own row,
    /// averaged over rows; from 0 (never) to near 1 (a loop).
    /// </summary>
    /// <returns>0 when no row is long enough to hold an n-gram.</returns>
    public static double Repetition<T>(IEnumerable<IReadOnlyList<T>> rows, int n) where T : notnull
    {
        var counter = new NgramCounter<T>(n);
        double sum = 0;
        int counted = 0;
        foreach (var row in rows)
        {
            var ngrams = counter.Ngrams(row);
            if (ngrams.Length == 0)
                continue;
            sum += 1 - (double)ngrams.Distinct().Count() / ngrams.Length;
            counted++;
        }
        return counted == 0 ? 0 : sum / counted;
    }

    /// <summary>The words of a text for these measures: what stands between white space, in lower case.</summary>
    public static string[] Words(string text) =>
        text.ToLowerInvariant().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);

    /// <summary>
    /// Numbers n-grams: an n-gram is the pair of its first n-1 items' number and its last item, so equality is exact for any n.
    /// </summary>
    private sealed class NgramCounter<T>(int n) where T : notnull
    {
        private readonly int n = n >= 1 ? n
            : throw new ArgumentOutOfRangeException(nameof(n), n, "An n-gram has at least one item.");
        private readonly Dictionary<(int Prefix, T Item), int> numbers = [];

        public int[] Ngrams(IReadOnlyList<T> row)
        {
            var ngrams = new int[Math.Max(0, row.Count - n + 1)];
            for (int i = 0; i < ngrams.Length; i++)
            {
                int number = -1;
                for (int k = 0; k < n; k++)
                {
                    if (!numbers.TryGetValue((number, row[i + k]), out int next))
                        numbers.Add((number, row[i + k]), next = numbers.Count);
                    number = next;
                }
                ngrams[i] = number;
            }
            return ngrams;
        }
    }
}
