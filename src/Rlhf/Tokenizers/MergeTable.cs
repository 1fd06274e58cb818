namespace Rlhf.Tokenizers;

/// <summary>Byte-pair merges by rank, applied to one word at a time.</summary>
internal sealed class MergeTable
{
    private const int ScanLimit = 48;
    private readonly Dictionary<long, (int Rank, int Id)> merges;

    public MergeTable(int capacity) => merges = new(capacity);

    /// <summary>Adds the merge of two tokens; of equal pairs the last one counts, as in Hugging Face's library.</summary>
    public void Add(int left, int right, int rank, int merged) => merges[Key(left, right)] = (rank, merged);

    /// <summary>
    /// Merges the symbols of a word in place: always the pair of lowest rank, the leftmost of equals. Returns the new length.
    /// </summary>
    public int Apply(Span<int> symbols) => symbols.Length <= ScanLimit ? ApplyByScan(symbols) : ApplyByQueue(symbols);

    /// <summary>For short words: look through all pairs each time.</summary>
    internal int ApplyByScan(Span<int> symbols)
    {
        int length = symbols.Length;
        if (length < 2)
            return length;
        Span<int> ranks = length <= ScanLimit ? stackalloc int[ScanLimit] : new int[length];
        for (int i = 0; i + 1 < length; i++)
            ranks[i] = Rank(symbols[i], symbols[i + 1]);
        while (length > 1)
        {
            int best = 0;
            for (int i = 1; i + 1 < length; i++)
                if (ranks[i] < ranks[best])
                    best = i;
            if (ranks[best] == int.MaxValue)
                break;
            symbols[best] = merges[Key(symbols[best], symbols[best + 1])].Id;
            symbols[(best + 2)..length].CopyTo(symbols[(best + 1)..]);
            ranks[(best + 1)..(length - 1)].CopyTo(ranks[best..]);
            length--;
            if (best > 0)
                ranks[best - 1] = Rank(symbols[best - 1], symbols[best]);
            if (best + 1 < length)
                ranks[best] = Rank(symbols[best], symbols[best + 1]);
        }
        return length;
    }

    /// <summary>For long words: a linked list and a priority queue, so that a line of a million letters stays n log n.</summary>
    internal int ApplyByQueue(Span<int> symbols)
    {
        int length = symbols.Length;
        var next = new int[length];
        var previous = new int[length];
        var queue = new PriorityQueue<(int At, int Left, int Right), long>(length);
        for (int i = 0; i < length; i++)
            (previous[i], next[i]) = (i - 1, i + 1);
        for (int i = 0; i + 1 < length; i++)
            Offer(queue, i, symbols[i], symbols[i + 1]);
        while (queue.TryDequeue(out var pair, out _))
        {
            int at = pair.At, right = next[at];
            // Skip what an earlier merge has changed; a removed symbol is -1.
            if (right >= length || symbols[at] != pair.Left || symbols[right] != pair.Right)
                continue;
            symbols[at] = merges[Key(pair.Left, pair.Right)].Id;
            symbols[right] = -1;
            next[at] = next[right];
            if (next[at] < length)
            {
                previous[next[at]] = at;
                Offer(queue, at, symbols[at], symbols[next[at]]);
            }
            if (previous[at] >= 0)
                Offer(queue, previous[at], symbols[previous[at]], symbols[at]);
        }
        int kept = 0;
        for (int i = 0; i < length; i = next[i])
            symbols[kept++] = symbols[i];
        return kept;
    }

    private void Offer(PriorityQueue<(int, int, int), long> queue, int at, int left, int right)
    {
        int rank = Rank(left, right);
        if (rank != int.MaxValue)
            queue.Enqueue((at, left, right), Key(rank, at));
    }

    private int Rank(int left, int right) => merges.TryGetValue(Key(left, right), out var merge) ? merge.Rank : int.MaxValue;

    private static long Key(int left, int right) => ((long)left << 32) | (uint)right;
}
