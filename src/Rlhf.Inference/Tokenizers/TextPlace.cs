namespace Rlhf.Tokenizers;

/// <summary>Where a stretch of text stands, which decides whether a space is put before its first word.</summary>
internal enum TextPlace
{
    /// <summary>At the beginning of the text.</summary>
    Beginning,

    /// <summary>Behind other parts of the text.</summary>
    Inside,

    /// <summary>At the beginning of a text that continues another one: nothing is put before it.</summary>
    Continuation,
}
