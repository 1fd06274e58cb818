namespace Rlhf.Tokenizers;

/// <summary>Byte-pair merges by rank, applied to one word at a time.</summary>
internal sealed class MergeTable
{
    private const int ScanLimit = 48;

    /// <summary>No pair of tokens: ids are not negative.</summary>
    private const long Empty = -1;

    // An open table, for which one look-up is one or two cache lines: encoding spends most of its time here.
    private readonly long[] pairs;
    private readonly int[] ranks;
    private readonly List<int> merged;
    private readonly int shift;

    /// <param name="capacity">The most merges that will be added.</param>
    public MergeTable(int capacity)
    {
        int bits = 4;
        while (1L << bits < capacity * 3L / 2)
            bits++;
        pairs = new long[1 << bits];
        ranks = new int[1 << bits];
        merged = new(capacity);
        shift = 64 - bits;
        Array.Fill(pairs, Empty);
    }

    /// <summary>
    /// Adds the merge of two tokens, which ranks behind those added before; of equal pairs the last one counts, as in Hugging Face's
    /// library.
    /// </summary>
    public void Add(int left, int right, int result)
    {
        if (merged.Count == merged.Capacity)
            throw new InvalidOperationException($"The table has room for {merged.Count} merges.");
        int at = Find(Key(left, right));
        pairs[at] = Key(left, right);
        ranks[at] = merged.Count;
        merged.Add(result);
    }

    /// <summary>Some merge has this token as a part.</summary>
    public bool Uses(Func<int, bool> isToken)
    {
        foreach (long pair in pairs)
            if (pair != Empty && (isToken((int)(pair >> 32)) || isToken((int)pair)))
                return true;
        return false;
    }

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
        Span<int> ranked = length <= ScanLimit ? stackalloc int[ScanLimit] : new int[length];
        for (int i = 0; i + 1 < length; i++)
            ranked[i] = Rank(symbols[i], symbols[i + 1]);
        while (length > 1)
        {
            int best = 0;
            for (int i = 1; i + 1 < length; i++)
                if (ranked[i] < ranked[best])
                    best = i;
            if (ranked[best] == int.MaxValue)
                break;
            symbols[best] = merged[ranked[best]];
            symbols[(best + 2)..length].CopyTo(symbols[(best + 1)..]);
            ranked[(best + 1)..(length - 1)].CopyTo(ranked[best..]);
            length--;
            if (best > 0)
                ranked[best - 1] = Rank(symbols[best - 1], symbols[best]);
            if (best + 1 < length)
                ranked[best] = Rank(symbols[best], symbols[best + 1]);
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
            symbols[at] = merged[Rank(pair.Left, pair.Right)];
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

    private int Rank(int left, int right)
    {
        int at = Find(Key(left, right));
        return pairs[at] == Empty ? int.MaxValue : ranks[at];
    }

    /// <summary>The place of a pair, or the free one where it would stand.</summary>
    private int Find(long pair)
    {
        int mask = pairs.Length - 1, at = (int)((ulong)pair * 0x9E3779B97F4A7C15 >> shift);
        while (pairs[at] != pair && pairs[at] != Empty)
            at = (at + 1) & mask;
        return at;
    }

    private static long Key(int left, int right) => ((long)left << 32) | (uint)right;
}
