using System.Buffers;
using System.Runtime.InteropServices;

namespace Rlhf.Tokenizers.Pipeline.Models;

/// <summary>WordPiece: the longest piece that a word begins with, then the longest continuing piece, until nothing is left.</summary>
internal sealed class WordPieceModel : Stage
{
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup;
    private readonly WordCache cache = new();
    private readonly int unknownId, maxWordLength, longestPiece;
    private readonly string continuingPrefix;

    /// <param name="vocabulary">Pieces and ids.</param>
    /// <param name="unknownId">Stands for a word that cannot be cut into pieces.</param>
    /// <param name="continuingPrefix">Begins pieces that continue a word.</param>
    /// <param name="maxWordLength">A word with more characters is unknown.</param>
    public WordPieceModel(Dictionary<string, int> vocabulary, int unknownId, string continuingPrefix, int maxWordLength)
    {
        lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        longestPiece = vocabulary.Keys.Max(p => p.Length);
        (this.unknownId, this.continuingPrefix, this.maxWordLength) = (unknownId, continuingPrefix, maxWordLength);
    }

    public override void Take(ReadOnlySpan<char> word, TextPlace place, List<int> ids)
    {
        if (cache.TryAppend(word, ids))
            return;
        int before = ids.Count;
        if (!TryCut(word, ids))
        {
            CollectionsMarshal.SetCount(ids, before);
            ids.Add(unknownId);
        }
        cache.Remember(word, CollectionsMarshal.AsSpan(ids)[before..]);
    }

    private bool TryCut(ReadOnlySpan<char> word, List<int> ids)
    {
        if (word.Length > maxWordLength && CountRunes(word) > maxWordLength)
            return false;
        var buffer = ArrayPool<char>.Shared.Rent(continuingPrefix.Length + word.Length);
        try
        {
            // The prefix always stands right before the part of the word that is still to be cut.
            for (int start = 0; start < word.Length;)
            {
                int prefix = start == 0 ? 0 : continuingPrefix.Length;
                continuingPrefix.AsSpan(0, prefix).CopyTo(buffer);
                word[start..].CopyTo(buffer.AsSpan(prefix));
                int length = Math.Min(prefix + word.Length - start, longestPiece), id = -1;
                while (length > prefix && !lookup.TryGetValue(buffer.AsSpan(0, length), out id))
                    length -= length >= 2 && char.IsSurrogatePair(buffer[length - 2], buffer[length - 1]) ? 2 : 1;
                if (length <= prefix)
                    return false;
                ids.Add(id);
                start += length - prefix;
            }
            return true;
        }
        finally
        {
            ArrayPool<char>.Shared.Return(buffer);
        }
    }

    private static int CountRunes(ReadOnlySpan<char> word)
    {
        int count = 0;
        foreach (var _ in word.EnumerateRunes())
            count++;
        return count;
    }
}
