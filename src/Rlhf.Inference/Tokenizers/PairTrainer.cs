namespace Rlhf.Tokenizers;

/// <summary>
/// Learns merges: again and again the most frequent pair of neighboring symbols becomes a token. Pair counts are kept up to date
/// instead of counted anew, and a queue hands out the next pair. Equal counts go to the pair with the lower ids, so that the same
/// words give the same merges whatever their order.
/// </summary>
internal sealed class PairTrainer
{
    private readonly List<string> vocabulary;
    private readonly Dictionary<string, int> ids;
    private readonly List<(int[] Symbols, int Length, long Count)> words = [];
    private readonly Dictionary<long, long> counts = [];
    private readonly Dictionary<long, List<int>> places = [];
    private readonly PriorityQueue<long, (long Count, long Pair)> queue = new(Comparer<(long Count, long Pair)>.Create(
        (x, y) => x.Count != y.Count ? y.Count.CompareTo(x.Count) : x.Pair.CompareTo(y.Pair)));

    /// <param name="alphabet">Tokens that exist from the start; more are added behind them.</param>
    public PairTrainer(IEnumerable<string> alphabet)
    {
        vocabulary = [.. alphabet];
        ids = vocabulary.Select((token, id) => (token, id)).ToDictionary(x => x.token, x => x.id, StringComparer.Ordinal);
    }

    /// <summary>All tokens so far; the position is the id.</summary>
    public IReadOnlyList<string> Vocabulary => vocabulary;

    /// <summary>The merges in the order in which they were learnt.</summary>
    public List<(int Left, int Right)> Merges { get; } = [];

    /// <summary>Adds a word, as ids of the alphabet, that occurs <paramref name="count"/> times.</summary>
    public void AddWord(int[] symbols, long count)
    {
        if (symbols.Length < 2)
            return;
        words.Add((symbols, symbols.Length, count));
        for (int i = 0; i + 1 < symbols.Length; i++)
            Change(Pair(symbols[i], symbols[i + 1]), count, words.Count - 1);
    }

    /// <summary>Learns until the vocabulary has <paramref name="vocabSize"/> tokens or no pair occurs often enough.</summary>
    public void Train(int vocabSize, long minFrequency, Func<string, string, string> join, CancellationToken cancellationToken)
    {
        foreach (var (pair, count) in counts)
            queue.Enqueue(pair, (count, pair));
        var learnt = new HashSet<long>();
        var grown = new HashSet<long>();
        while (vocabulary.Count < vocabSize && queue.TryDequeue(out long pair, out var priority))
        {
            cancellationToken.ThrowIfCancellationRequested();
            long count = counts.GetValueOrDefault(pair);
            if (count < minFrequency)
                continue;
            if (count != priority.Count)
            {
                // A count that fell since it was queued waits again at its new place.
                if (count < priority.Count)
                    queue.Enqueue(pair, (count, pair));
                continue;
            }
            var (left, right) = Split(pair);
            int merged = IdOf(join(vocabulary[left], vocabulary[right]));
            if (learnt.Add(pair))
                Merges.Add((left, right));
            grown.Clear();
            foreach (int word in places[pair])
                MergeIn(word, left, right, merged, grown);
            counts.Remove(pair);
            places.Remove(pair);
            grown.Remove(pair);
            foreach (long other in grown)
                queue.Enqueue(other, (counts[other], other));
        }
    }

    private void MergeIn(int index, int left, int right, int merged, HashSet<long> grown)
    {
        var (symbols, length, count) = words[index];
        int kept = 0;
        for (int i = 0; i < length; i++)
        {
            if (i + 1 >= length || symbols[i] != left || symbols[i + 1] != right)
            {
                symbols[kept++] = symbols[i];
                continue;
            }
            if (kept > 0)
            {
                Change(Pair(symbols[kept - 1], left), -count, index);
                grown.Add(Change(Pair(symbols[kept - 1], merged), count, index));
            }
            if (i + 2 < length)
            {
                Change(Pair(right, symbols[i + 2]), -count, index);
                grown.Add(Change(Pair(merged, symbols[i + 2]), count, index));
            }
            symbols[kept++] = merged;
            i++;
        }
        words[index] = (symbols, kept, count);
    }

    private long Change(long pair, long by, int word)
    {
        ref long count = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(counts, pair, out _);
        count += by;
        if (by < 0)
            return pair;
        ref var list = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(places, pair, out _);
        list ??= [];
        if (list.Count == 0 || list[^1] != word)
            list.Add(word);
        return pair;
    }

    private int IdOf(string token)
    {
        if (!ids.TryGetValue(token, out int id))
        {
            ids.Add(token, id = vocabulary.Count);
            vocabulary.Add(token);
        }
        return id;
    }

    private static long Pair(int left, int right) => ((long)left << 32) | (uint)right;

    private static (int Left, int Right) Split(long pair) => ((int)(pair >> 32), (int)pair);
}
