namespace Rlhf.Tokenizers.Pipeline.PreTokenizers;

/// <summary>Where <see cref="MetaspacePreTokenizer"/> puts a mark before text that has none.</summary>
internal enum PrependScheme
{
    /// <summary>Before every stretch of text.</summary>
    Always,

    /// <summary>At the beginning of the text only.</summary>
    First,

    /// <summary>Nowhere.</summary>
    Never,
}

/// <summary>SentencePiece's way: spaces become a visible mark, and words begin with it.</summary>
/// <param name="mark">The mark; usually U+2581.</param>
/// <param name="scheme">Where one is put before text that has none.</param>
/// <param name="splits">Text is cut before each mark.</param>
internal sealed class MetaspacePreTokenizer(char mark, PrependScheme scheme, bool splits) : PreTokenizer
{
    public override void Take(ReadOnlySpan<char> piece, TextPlace place, List<int> ids)
    {
        bool prepends = piece[0] != ' ' && piece[0] != mark && place != TextPlace.Continuation
            && (scheme == PrependScheme.Always || (scheme == PrependScheme.First && place == TextPlace.Beginning));
        int added = prepends ? 1 : 0;
        var marked = System.Buffers.ArrayPool<char>.Shared.Rent(piece.Length + 1);
        marked[0] = mark;
        piece.CopyTo(marked.AsSpan(added));
        var text = marked.AsSpan(0, piece.Length + added);
        text.Replace(' ', mark);
        if (splits)
        {
            for (int at = 0, end; at < text.Length; at = end)
            {
                int next = text[(at + 1)..].IndexOf(mark);
                end = next < 0 ? text.Length : at + 1 + next;
                Hand(text, at, end, place, ids);
            }
        }
        else
        {
            Next.Take(text, place, ids);
        }
        System.Buffers.ArrayPool<char>.Shared.Return(marked);
    }
}
