namespace Rlhf.Tokenizers;

/// <summary>Rows of token ids filled up to one length.</summary>
/// <param name="InputIds">Token ids [B, T].</param>
/// <param name="AttentionMask">1 on the row's own tokens, 0 on padding [B, T].</param>
/// <param name="Lengths">Tokens of each row without padding [B].</param>
public sealed record PaddedBatch(int[][] InputIds, int[][] AttentionMask, int[] Lengths)
{
    /// <summary>Fills rows up to the longest one.</summary>
    /// <param name="rows">Token ids of each row; a row may be empty.</param>
    /// <param name="padTokenId">Id that fills up.</param>
    /// <param name="side">Where it goes; default right.</param>
    /// <param name="length">Length of the filled rows; null (the default) is that of the longest one.</param>
    public static PaddedBatch Create(
        IReadOnlyList<int[]> rows, int padTokenId, PaddingSide side = PaddingSide.Right, int? length = null)
    {
        ArgumentNullException.ThrowIfNull(rows);
        int filled = length ?? rows.Select(r => r.Length).DefaultIfEmpty(0).Max();
        return new(
            [.. rows.Select(r => Fill(r, padTokenId))],
            [.. rows.Select(r => Fill([.. Enumerable.Repeat(1, r.Length)], 0))],
            [.. rows.Select(r => r.Length)]);

        int[] Fill(int[] row, int filler)
        {
            var padding = Enumerable.Repeat(filler, filled - row.Length);
            return side == PaddingSide.Left ? [.. padding, .. row] : [.. row, .. padding];
        }
    }

    /// <summary>Encodes texts, cut to <paramref name="maxLength"/> ids each, and fills them up.</summary>
    /// <param name="tokenizer">The tokenizer; its end token fills up when it has no padding token (GPT-2).</param>
    /// <param name="texts">One text for each row.</param>
    /// <param name="maxLength">Most ids in a row, special tokens included; default no limit.</param>
    /// <param name="side">Where padding goes; default right.</param>
    /// <exception cref="ArgumentException">The tokenizer has neither a padding nor an end token.</exception>
    public static PaddedBatch Encode(
        ITokenizer tokenizer, IReadOnlyList<string> texts, int maxLength = int.MaxValue, PaddingSide side = PaddingSide.Right)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(texts);
        int padding = tokenizer.PadTokenId ?? tokenizer.EosTokenId
            ?? throw new ArgumentException("The tokenizer has no padding and no end token to fill rows with.", nameof(tokenizer));
        return Create([.. texts.Select(t => tokenizer.EncodeTruncated(t, maxLength))], padding, side);
    }
}
