namespace Rlhf.Data;

/// <summary>A text with an optional class label, such as a film review.</summary>
/// <param name="Text">The text as the file has it (see <see cref="ReviewReadOptions.LineBreaks"/>).</param>
/// <param name="Label">0 negative, 1 positive (or another class number); null when the row is unsupervised.</param>
public sealed record Review(string Text, int? Label);
