using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace Rlhf.Tokenizers.Pipeline.Models;

/// <summary>
/// Byte-pair encoding right behind a byte-level pre-tokenizer, whose 256 characters are all tokens: pieces come as text, and a piece that was
/// seen before is never spelt in bytes.
/// </summary>
internal sealed class ByteBpeModel : Stage
{
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup;
    private readonly MergeTable merges;
    private readonly bool ignoresMerges;
    private readonly int[] byteIds = new int[256];
    private readonly WordCache cache = new();

    private ByteBpeModel(Dictionary<string, int> vocabulary, MergeTable merges, bool ignoresMerges)
    {
        (this.merges, this.ignoresMerges) = (merges, ignoresMerges);
        lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>The model; null where a byte has no token or something else stands in the way.</summary>
    public static ByteBpeModel? For(Dictionary<string, int> vocabulary, MergeTable merges, BpeOptions options)
    {
        if (options.ContinuingPrefix.Length + options.EndSuffix.Length > 0)
            return null;
        var model = new ByteBpeModel(vocabulary, merges, options.IgnoresMerges);
        for (int b = 0; b < 256; b++)
            if (!vocabulary.TryGetValue(ByteLevel.Symbol((byte)b).ToString(), out model.byteIds[b]))
                return null;
        return model;
    }

    public override void Take(ReadOnlySpan<char> piece, TextPlace place, List<int> ids)
    {
        if (cache.TryAppend(piece, ids))
            return;
        int before = ids.Count, most = Encoding.UTF8.GetMaxByteCount(piece.Length);
        byte[] bytes = ArrayPool<byte>.Shared.Rent(most);
        int[] symbols = ArrayPool<int>.Shared.Rent(most);
        int count = Encoding.UTF8.GetBytes(piece, bytes);
        if (ignoresMerges && IsToken(bytes.AsSpan(0, count), out int whole))
        {
            ids.Add(whole);
        }
        else
        {
            for (int i = 0; i < count; i++)
                symbols[i] = byteIds[bytes[i]];
            ids.AddRange(symbols.AsSpan(0, merges.Apply(symbols.AsSpan(0, count))));
        }
        ArrayPool<byte>.Shared.Return(bytes);
        ArrayPool<int>.Shared.Return(symbols);
        cache.Remember(piece, CollectionsMarshal.AsSpan(ids)[before..]);
    }

    private bool IsToken(ReadOnlySpan<byte> bytes, out int id)
    {
        char[] symbols = ArrayPool<char>.Shared.Rent(bytes.Length);
        for (int i = 0; i < bytes.Length; i++)
            symbols[i] = ByteLevel.Symbol(bytes[i]);
        bool found = lookup.TryGetValue(symbols.AsSpan(0, bytes.Length), out id);
        ArrayPool<char>.Shared.Return(symbols);
        return found;
    }
}
