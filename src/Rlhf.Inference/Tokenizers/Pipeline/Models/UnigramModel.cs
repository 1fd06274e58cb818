using System.Text;

namespace Rlhf.Tokenizers.Pipeline.Models;

/// <summary>SentencePiece's unigram model: the pieces whose log probabilities have the largest sum (Kudo, 2018, section 3.2).</summary>
internal sealed class UnigramModel : Stage
{
    /// <summary>An unknown character is this much less likely than the least likely piece, as in SentencePiece.</summary>
    private const double UnknownPenalty = 10;

    private readonly CharTrie trie = new();
    private readonly double[] scores;
    private readonly double unknownScore;
    private readonly int unknownId;
    private readonly int[]? byteIds;

    /// <param name="pieces">Pieces and their log probabilities; the position is the id.</param>
    /// <param name="unknownId">Stands for characters that no piece covers.</param>
    /// <param name="byteFallback">Such characters are read as their bytes, where the vocabulary has them.</param>
    public UnigramModel(IReadOnlyList<(string Piece, double Score)> pieces, int unknownId, bool byteFallback)
    {
        scores = [.. pieces.Select(p => p.Score)];
        unknownScore = scores.Min() - UnknownPenalty;
        this.unknownId = unknownId;
        for (int id = 0; id < pieces.Count; id++)
            if (pieces[id].Piece.Length > 0)
                trie.Add(pieces[id].Piece, id);
        if (!byteFallback)
            return;
        byteIds = new int[256];
        for (int b = 0; b < 256; b++)
            byteIds[b] = trie.Longest($"<0x{b:X2}>", out int length) is var id && length == 6 ? id : -1;
    }

    public override void Take(ReadOnlySpan<char> piece, TextPlace place, List<int> ids)
    {
        var best = new (double Score, int Start, int Id)[piece.Length + 1];
        Array.Fill(best, (0, -1, -1));
        for (int at = 0, width; at < piece.Length; at += width)
        {
            width = char.IsHighSurrogate(piece[at]) && at + 1 < piece.Length ? 2 : 1;
            double here = best[at].Score;
            bool covered = false;
            int node = 0;
            for (int end = at; end < piece.Length && (node = trie.Step(node, piece[end])) >= 0; end++)
            {
                int id = trie.Value(node);
                if (id < 0)
                    continue;
                Offer(ref best[end + 1], here + scores[id], at, id);
                covered |= end + 1 - at == width;
            }
            if (!covered)
                Offer(ref best[at + width], here + unknownScore, at, unknownId);
        }
        // Backwards along the best path; unknown neighbors are one piece.
        var path = new Stack<(int Start, int End, int Id)>();
        for (int end = piece.Length; end > 0; end = best[end].Start)
        {
            var (_, start, id) = best[end];
            if (id == unknownId && path.TryPeek(out var last) && last.Id == unknownId && last.Start == end)
                path.Push(path.Pop() with { Start = start });
            else
                path.Push((start, end, id));
        }
        foreach (var (start, end, id) in path)
        {
            if (id != unknownId)
                ids.Add(id);
            else
                AddUnknown(piece[start..end], ids);
        }
    }

    private static void Offer(ref (double Score, int Start, int Id) node, double score, int start, int id)
    {
        if (node.Start < 0 || score > node.Score)
            node = (score, start, id);
    }

    private void AddUnknown(ReadOnlySpan<char> text, List<int> ids)
    {
        // Unknown neighbors may spell a piece together.
        if (trie.Longest(text, out int length) is >= 0 and int id && length == text.Length)
        {
            ids.Add(id);
            return;
        }
        byte[] bytes = new byte[byteIds is null ? 0 : Encoding.UTF8.GetByteCount(text)];
        if (byteIds is not null && Encoding.UTF8.GetBytes(text, bytes) > 0 && bytes.All(b => byteIds[b] >= 0))
            ids.AddRange(bytes.Select(b => byteIds[b]));
        else
            ids.Add(unknownId);
    }
}
