using System.Collections.Concurrent;

namespace Rlhf.Tokenizers;

/// <summary>Ids of words that were encoded before. It takes new words until it is full; several threads may use it.</summary>
internal sealed class WordCache
{
    private const int Limit = 1 << 16, LongestWord = 64;

    private readonly ConcurrentDictionary<string, int[]> words = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int[]>.AlternateLookup<ReadOnlySpan<char>> lookup;
    private int count;

    public WordCache() => lookup = words.GetAlternateLookup<ReadOnlySpan<char>>();

    /// <summary>Appends the ids of a word that is known.</summary>
    public bool TryAppend(ReadOnlySpan<char> word, List<int> ids)
    {
        if (word.Length > LongestWord || !lookup.TryGetValue(word, out var known))
            return false;
        ids.AddRange(known.AsSpan());
        return true;
    }

    /// <summary>Remembers the ids of a word, while there is room.</summary>
    public void Remember(ReadOnlySpan<char> word, ReadOnlySpan<int> ids)
    {
        if (word.Length <= LongestWord && Volatile.Read(ref count) < Limit && lookup.TryAdd(word, ids.ToArray()))
            Interlocked.Increment(ref count);
    }
}
