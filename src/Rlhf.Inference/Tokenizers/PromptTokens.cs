namespace Rlhf.Tokenizers;

/// <summary>
/// The one place that decides which special tokens stand around what a causal language model reads and writes. Training, generation,
/// evaluation, the studio and its API all ask it, so that a model meets a text in use as it met it in training.
/// </summary>
/// <remarks>
/// The beginning of a text gets the tokens that the tokenizer's template puts before it (Llama's and Gemma's BOS; nothing for GPT-2 and
/// Qwen). What the template puts behind a text is left out: the text is to be continued, and training appends the end token itself.
/// </remarks>
public static class PromptTokens
{
    /// <summary>
    /// Token ids of the beginning of a text, as a causal model reads it. A text that already begins with the template's tokens, written
    /// out, does not get them twice.
    /// </summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="text">The text; may be empty.</param>
    /// <param name="otherwise">Stands for a beginning that would have no token at all, such as the end token with which GPT-2 separates
    /// documents; null (the default) leaves it empty.</param>
    public static int[] OfPrompt(this ITokenizer tokenizer, string text, int? otherwise = null)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        var before = tokenizer.Template.Before;
        int[] content = tokenizer.Encode(text, addSpecialTokens: false);
        if (content.Length + before.Count == 0)
            return otherwise is { } id ? [id] : [];
        return content.Take(before.Count).SequenceEqual(before) ? content : [.. before, .. content];
    }

    /// <summary>Token ids of a text that continues a prompt: never special tokens, nor a space that only belongs before a first word.</summary>
    public static int[] OfContinuation(this ITokenizer tokenizer, string text)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return tokenizer.EncodeContinuation(text);
    }

    /// <summary>
    /// Token ids of a conversation that a chat template has rendered. The template has written BOS and the rest itself, so no special
    /// tokens are added to those in the text.
    /// </summary>
    public static int[] OfRendered(this ITokenizer tokenizer, string rendered)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return tokenizer.Encode(rendered, addSpecialTokens: false);
    }

    /// <summary>The text of a prompt's ids, as a reader or a reward sees it: without what the template put before it.</summary>
    public static string TextOfPrompt(this ITokenizer tokenizer, IReadOnlyList<int> ids)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(ids);
        return tokenizer.Decode(ids.Skip(LengthOfBeginning(tokenizer, ids)));
    }

    /// <summary>The text of what was generated after a prompt, without special tokens; prompt and answer can be joined as they stand.</summary>
    public static string TextOfContinuation(this ITokenizer tokenizer, IEnumerable<int> ids)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return tokenizer.DecodeContinuation(ids, skipSpecialTokens: true);
    }

    /// <summary>
    /// The token that stands before a text from nothing: BOS, else the end token, else <paramref name="modelEnd"/>; null when there is none.
    /// </summary>
    public static int? StartOfText(this ITokenizer tokenizer, int? modelEnd = null)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return tokenizer.BosTokenId ?? tokenizer.EosTokenId ?? modelEnd;
    }

    /// <summary>How many of a prompt's first ids are the template's.</summary>
    internal static int LengthOfBeginning(ITokenizer tokenizer, IReadOnlyList<int> ids)
    {
        var before = tokenizer.Template.Before;
        return ids.Take(before.Count).SequenceEqual(before) ? before.Count : 0;
    }
}
