using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace Rlhf.Tokenizers.Pipeline.Models;

/// <summary>How a BPE model treats what its vocabulary lacks, and words that are tokens.</summary>
internal sealed record BpeOptions
{
    /// <summary>Stands for a character that the vocabulary lacks; null leaves it out.</summary>
    public int? UnknownId { get; init; }

    /// <summary>Several unknown characters in a row are one token.</summary>
    public bool FusesUnknown { get; init; }

    /// <summary>A character that the vocabulary lacks is read as its bytes, &lt;0x00&gt; to &lt;0xFF&gt;.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>A piece that is a token is that token, whatever the merges say.</summary>
    public bool IgnoresMerges { get; init; }

    /// <summary>Stands before every character of a piece but the first.</summary>
    public string ContinuingPrefix { get; init; } = "";

    /// <summary>Stands behind the last character of a piece.</summary>
    public string EndSuffix { get; init; } = "";
}

/// <summary>Byte-pair encoding over characters, with everything that tokenizer.json knows of it.</summary>
internal sealed class BpeModel : Stage
{
    private const char Mark = '\u2581';

    private readonly Dictionary<string, int> vocabulary;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup;
    private readonly MergeTable merges;
    private readonly BpeOptions options;
    private readonly int[] characterIds = new int[char.MaxValue + 1];
    private readonly int[] byteIds = new int[256];
    private readonly bool cutsAtMarks;

    /// <summary>Characters that stand before a mark within a token.</summary>
    private readonly HashSet<char> beforeMarks = [];
    private readonly WordCache cache = new();

    /// <param name="vocabulary">Tokens and ids.</param>
    /// <param name="merges">Merges of ids.</param>
    /// <param name="options">The rest.</param>
    public BpeModel(Dictionary<string, int> vocabulary, MergeTable merges, BpeOptions options)
    {
        (this.vocabulary, this.merges, this.options) = (vocabulary, merges, options);
        lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        Array.Fill(characterIds, -1);
        foreach (var (token, id) in vocabulary)
            if (token.Length == 1)
                characterIds[token[0]] = id;
        for (int b = 0; b < 256; b++)
            byteIds[b] = vocabulary.GetValueOrDefault($"<0x{b:X2}>", -1);
        // A merge across the place between a character and a mark makes a token that holds both. Where no token does, text is cut there,
        // which changes nothing, and words can be remembered. What stands for bytes and unknown characters must not be merged for that.
        foreach (var token in vocabulary.Keys)
            for (int i = token.IndexOf(Mark, StringComparison.Ordinal); i >= 0; i = token.IndexOf(Mark, i + 1))
                if (i > 0 && token[i - 1] != Mark)
                    beforeMarks.Add(token[i - 1]);
        var standIns = byteIds.Append(options.UnknownId ?? -1).Where(id => id >= 0).ToHashSet();
        cutsAtMarks = !options.IgnoresMerges && options.ContinuingPrefix.Length + options.EndSuffix.Length == 0 && characterIds[Mark] >= 0
            && !merges.Uses(standIns.Contains);
    }

    public override void Take(ReadOnlySpan<char> piece, TextPlace place, List<int> ids)
    {
        if (options.IgnoresMerges && lookup.TryGetValue(piece, out int whole))
        {
            ids.Add(whole);
            return;
        }
        if (!cutsAtMarks)
        {
            TakeWord(piece, ids);
            return;
        }
        for (int at = 0, end; at < piece.Length; at = end)
        {
            end = at + 1;
            while (end < piece.Length && (piece[end] != Mark || piece[end - 1] == Mark || beforeMarks.Contains(piece[end - 1])))
                end++;
            TakeWord(piece[at..end], ids);
        }
    }

    private void TakeWord(ReadOnlySpan<char> word, List<int> ids)
    {
        if (cache.TryAppend(word, ids))
            return;
        int before = ids.Count;
        // A byte for a character at most four times, and one for each unknown one.
        int[] symbols = ArrayPool<int>.Shared.Rent(word.Length * 4 + 1);
        int count = Symbols(word, symbols);
        ids.AddRange(symbols.AsSpan(0, merges.Apply(symbols.AsSpan(0, count))));
        ArrayPool<int>.Shared.Return(symbols);
        cache.Remember(word, CollectionsMarshal.AsSpan(ids)[before..]);
    }

    private int Symbols(ReadOnlySpan<char> word, Span<int> symbols)
    {
        int count = 0;
        bool unknown = false;
        Span<byte> bytes = stackalloc byte[4];
        for (int at = 0, width; at < word.Length; at += width)
        {
            width = char.IsHighSurrogate(word[at]) && at + 1 < word.Length && char.IsLowSurrogate(word[at + 1]) ? 2 : 1;
            int id = Find(word.Slice(at, width), at == 0, at + width == word.Length);
            if (id >= 0)
            {
                if (unknown)
                    symbols[count++] = options.UnknownId!.Value;
                unknown = false;
                symbols[count++] = id;
                continue;
            }
            if (options.ByteFallback)
            {
                int length = Encoding.UTF8.GetBytes(word.Slice(at, width), bytes), known = 0;
                while (known < length && byteIds[bytes[known]] >= 0)
                    known++;
                if (known == length)
                {
                    foreach (byte b in bytes[..length])
                        symbols[count++] = byteIds[b];
                    continue;
                }
            }
            if (options.UnknownId is not { } unknownId)
                continue;
            if (unknown && !options.FusesUnknown)
                symbols[count++] = unknownId;
            unknown = true;
        }
        if (unknown)
            symbols[count++] = options.UnknownId!.Value;
        return count;
    }

    private int Find(ReadOnlySpan<char> character, bool first, bool last)
    {
        bool plain = (first || options.ContinuingPrefix.Length == 0) && (!last || options.EndSuffix.Length == 0);
        if (plain)
            return character.Length == 1 ? characterIds[character[0]] : lookup.TryGetValue(character, out int found) ? found : -1;
        return vocabulary.GetValueOrDefault(
            string.Concat(first ? "" : options.ContinuingPrefix, character, last ? options.EndSuffix : ""), -1);
    }
}
