using System.Buffers;
using System.Text;

namespace Rlhf.Tokenizers.Pipeline.PreTokenizers;

/// <summary>GPT-2's way: words by its pattern, if wanted, and every byte as a printable character.</summary>
/// <param name="addPrefixSpace">A piece that does not begin with a space gets one.</param>
/// <param name="usesPattern">Pieces are cut into GPT-2's words.</param>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool usesPattern) : PreTokenizer
{
    /// <summary>The model takes text itself and knows about bytes: pieces are only cut.</summary>
    public bool LeavesBytesToModel { get; set; }

    /// <summary>Pieces are cut into GPT-2's words.</summary>
    public bool UsesPattern => usesPattern;

    public override void Take(ReadOnlySpan<char> piece, TextPlace place, List<int> ids)
    {
        if (addPrefixSpace && piece[0] != ' ' && place != TextPlace.Continuation)
            piece = string.Concat(" ", piece);
        if (!usesPattern)
        {
            Pass(piece, place, ids);
            return;
        }
        for (int at = 0, end; at < piece.Length; at = end)
        {
            end = ByteLevel.WordEnd(piece, at);
            Pass(piece[at..end], at == 0 ? place : TextPlace.Inside, ids);
        }
    }

    private void Pass(ReadOnlySpan<char> word, TextPlace place, List<int> ids)
    {
        if (LeavesBytesToModel)
        {
            Next.Take(word, place, ids);
            return;
        }
        int most = Encoding.UTF8.GetMaxByteCount(word.Length);
        byte[] bytes = ArrayPool<byte>.Shared.Rent(most);
        char[] symbols = ArrayPool<char>.Shared.Rent(most);
        int count = Encoding.UTF8.GetBytes(word, bytes);
        for (int i = 0; i < count; i++)
            symbols[i] = ByteLevel.Symbol(bytes[i]);
        Next.Take(symbols.AsSpan(0, count), place, ids);
        ArrayPool<byte>.Shared.Return(bytes);
        ArrayPool<char>.Shared.Return(symbols);
    }
}
