namespace Rlhf.Tokenizers.Chat;

/// <summary>A conversation as text.</summary>
/// <param name="Text">The text; special tokens stand in it as they are spelled.</param>
/// <param name="Generated">
/// Begin and end (exclusive, in UTF-16 units) of what the template's <c>{% generation %}</c> blocks wrote: what the assistant says.
/// </param>
public sealed record RenderedText(string Text, IReadOnlyList<(int Start, int End)> Generated);

/// <summary>A conversation as token ids.</summary>
/// <param name="Ids">Token ids; the template has written the special tokens, none is added.</param>
/// <param name="FromAssistant">For each id, whether the assistant says it.</param>
public sealed record RenderedChat(int[] Ids, bool[] FromAssistant);
