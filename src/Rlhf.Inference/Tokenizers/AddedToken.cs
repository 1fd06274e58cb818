namespace Rlhf.Tokenizers;

/// <summary>A token that is recognized in the text itself, before anything is normalized or split.</summary>
/// <param name="Content">Its text.</param>
/// <param name="Id">Its id.</param>
/// <param name="Special">It is a control token: <c>skipSpecialTokens</c> leaves it out.</param>
/// <param name="SingleWord">Only when no letter, digit or underscore touches it.</param>
/// <param name="LeftStrip">It swallows the white space before it (RoBERTa's &lt;mask&gt;).</param>
/// <param name="RightStrip">It swallows the white space after it.</param>
/// <param name="Normalized">It is looked for in the normalized text (lower-cased, for BERT) instead of the text as given.</param>
public sealed record AddedToken(
    string Content, int Id, bool Special = true, bool SingleWord = false,
    bool LeftStrip = false, bool RightStrip = false, bool Normalized = false);
