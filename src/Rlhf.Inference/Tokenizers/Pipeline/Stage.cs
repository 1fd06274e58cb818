namespace Rlhf.Tokenizers.Pipeline;

/// <summary>
/// A station that text passes on its way to token ids: a pre-tokenizer cuts or changes it and hands the pieces to the next station, the model
/// at the end appends ids. Pieces are spans, so that cutting allocates nothing.
/// </summary>
internal abstract class Stage
{
    /// <summary>Takes a piece that is not empty.</summary>
    public abstract void Take(ReadOnlySpan<char> piece, TextPlace place, List<int> ids);
}

/// <summary>A station with another one behind it.</summary>
internal abstract class PreTokenizer : Stage
{
    /// <summary>The station behind.</summary>
    public Stage Next { get; set; } = null!;

    /// <summary>Hands on a part of a piece, unless it is empty.</summary>
    protected void Hand(ReadOnlySpan<char> piece, int start, int end, TextPlace place, List<int> ids)
    {
        if (end > start)
            Next.Take(piece[start..end], start == 0 ? place : TextPlace.Inside, ids);
    }
}
