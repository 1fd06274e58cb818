using System.Text.Json;

namespace Rlhf.Tokenizers.Chat;

/// <summary>Conversations as token ids.</summary>
public static class ChatTokens
{
    /// <summary>
    /// The ids of a conversation and which of them the assistant says: what the template's <c>{% generation %}</c> blocks mark or,
    /// where it has none, what the template writes for each of the assistant's messages behind the header that begins them.
    /// </summary>
    /// <remarks>
    /// The template has written BOS and end tokens itself; none is added. With <c>{% generation %}</c> the mask is that of transformers'
    /// <c>return_assistant_tokens_mask</c>; without, transformers has none.
    /// </remarks>
    /// <param name="template">The model's template.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="messages">The messages.</param>
    /// <param name="options">What else the template is given; null is nothing.</param>
    /// <exception cref="ChatTemplateException">The template refuses the conversation, fails, or changes the assistant's messages so that
    /// they cannot be found in the text.</exception>
    public static RenderedChat Encode(
        this ChatTemplate template, ITokenizer tokenizer, IReadOnlyList<ChatMessage> messages, ChatRenderOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(template);
        ArgumentNullException.ThrowIfNull(tokenizer);
        var rendered = template.RenderText(messages, options);
        var spans = template.MarksAnswers(options) ? rendered.Generated : Answers(template, messages, options ?? new(), rendered.Text);
        return Encode(tokenizer, rendered.Text, spans);
    }

    /// <summary>The ids of a text, and which of them stand for the spans.</summary>
    internal static RenderedChat Encode(ITokenizer tokenizer, string text, IReadOnlyList<(int Start, int End)> spans)
    {
        int[] ids = tokenizer.OfRendered(text);
        var said = new bool[ids.Length];
        if (spans.Any(x => x.End > x.Start))
        {
            var alignment = new TokenAlignment(tokenizer, text, ids);
            foreach (var (start, end) in spans)
            {
                int last = end - 1;
                if (end <= start)
                    continue;
                last -= last > start && char.IsLowSurrogate(text[last]) && char.IsHighSurrogate(text[last - 1]) ? 1 : 0;
                for (int t = alignment.TokenAt(start); t <= alignment.TokenAt(last) && t < ids.Length; t++)
                    said[t] = true;
            }
        }
        return new(ids, said);
    }

    /// <summary>What the template writes for each of the assistant's messages: behind its header, end token included.</summary>
    private static List<(int Start, int End)> Answers(
        ChatTemplate template, IReadOnlyList<ChatMessage> messages, ChatRenderOptions options, string text)
    {
        options = options with { AddGenerationPrompt = false, ContinueFinalMessage = false };
        var spans = new List<(int, int)>();
        for (int i = 0; i < messages.Count; i++)
            if (messages[i].Role == "assistant")
                spans.Add(Answer(template, messages, options, text, i) ?? throw new ChatTemplateException(
                    $"What the assistant says in message {i + 1} cannot be told apart in the text that the chat template makes; mark it in the "
                    + "template by {% generation %} and {% endgeneration %}, or take the loss on all tokens (assistant-only loss off)."));
        return spans;
    }

    private static (int, int)? Answer(
        ChatTemplate template, IReadOnlyList<ChatMessage> messages, ChatRenderOptions options, string text, int i)
    {
        // The usual template writes messages one after another: this one is what it adds to those before.
        string before = i == 0 ? "" : template.Render([.. messages.Take(i)], options),
            header = i == 0 ? "" : template.Render([.. messages.Take(i)], options with { AddGenerationPrompt = true });
        var through = template.Render([.. messages.Take(i + 1)], options);
        string content = messages[i].Text, trimmed = content.Trim();
        if (header.Length > 0 && through.StartsWith(header, StringComparison.Ordinal) && text.StartsWith(through, StringComparison.Ordinal))
            return (header.Length, End(through, trimmed.Length == 0 ? header.Length
                : Math.Max(through.LastIndexOf(trimmed, StringComparison.Ordinal), header.Length) + trimmed.Length));
        // Others leave thoughts of earlier turns out: a mark behind the content shows where it went.
        if (trimmed.Length == 0)
            return null;
        const string Mark = "\uE0F0\uE0F1";
        var marked = messages[i].With("content", JsonSerializer.SerializeToElement(content.TrimEnd() + Mark + content[content.TrimEnd().Length..]));
        var whole = template.Render([.. messages.Take(i), marked, .. messages.Skip(i + 1)], options);
        int place = whole.LastIndexOf(Mark, StringComparison.Ordinal);
        if (place < 0 || whole.Remove(place, Mark.Length) != text)
            return null;
        var alone = template.Render([.. messages.Take(i), marked], options);
        var tail = alone[(alone.LastIndexOf(Mark, StringComparison.Ordinal) + Mark.Length)..];
        int end = place + tail.AsSpan().CommonPrefixLength(text.AsSpan(place));
        header = header.StartsWith(before, StringComparison.Ordinal) ? header[before.Length..] : "";
        int start = i == 0 ? 0 : header.Length == 0 ? -1 : text.LastIndexOf(header, place, StringComparison.Ordinal) + header.Length;
        return start < 0 || start < header.Length && i > 0 ? null : (start, End(text[..end], place));
    }

    /// <summary>White space behind an end token separates messages and is not said; alone, it is what ends the message.</summary>
    private static int End(string text, int contentEnd)
    {
        int end = text.TrimEnd().Length;
        return end > contentEnd ? end : text.Length;
    }
}
