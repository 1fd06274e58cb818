using System.Text.Json;
using Rlhf.Data.Files;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Data;

/// <summary>A preference whose answers are lists of messages, as the text that the model's chat template makes of them.</summary>
internal static class MessagePair
{
    /// <summary>The pair: the prompt up to where the assistant begins to answer, and the answers with their end tokens.</summary>
    /// <exception cref="InvalidDataException">The row cannot be used; the message names it.</exception>
    public static PreferencePair Of(
        TableRow row, object? prompt, object? chosen, object? rejected, JsonElement? tools, double? margin, ChatTemplate? template)
    {
        if (template is null)
            throw row.Error("the answers are lists of messages, and the model has no chat template to write them with; name one by "
                + "--chat-template FILE, or take the built-in ChatML by --chat-template chatml.");
        if (chosen is null || rejected is null)
            throw row.Error($"the {(chosen is null ? "chosen" : "rejected")} answer is missing; fill it in or remove the row.");
        List<ChatMessage> better = MessageList.Of(row, "chosen answer", chosen, "assistant"), worse = MessageList.Of(row, "rejected answer", rejected, "assistant");
        if (better.Count == 0 || worse.Count == 0)
            throw row.Error("an answer has no messages; remove the row.");
        // Whole conversations begin alike: what they share is the prompt, and a prompt beside them says it again.
        int shared = 0;
        while (shared < Math.Min(better.Count, worse.Count) - 1 && Same(better[shared], worse[shared]))
            shared++;
        List<ChatMessage> given = shared > 0 ? better[..shared] : prompt is null ? [] : MessageList.Of(row, "prompt", prompt, "user");
        if (given.Count == 0)
            throw row.Error("there is no prompt: give it a column of its own, or let both answers begin with its messages.");
        var (beginning, chosenText) = Rendered(row, template, given, [.. better.Skip(shared)], tools);
        return new(beginning, chosenText, Rendered(row, template, given, [.. worse.Skip(shared)], tools).Answer, margin) { IsRendered = true };
    }

    /// <summary>A prompt up to where the assistant begins to answer, and the answer with its end tokens, as a template writes them.</summary>
    /// <exception cref="InvalidDataException">The template refuses them, or they cannot be told apart; the message names the row.</exception>
    public static (string Prompt, string Answer) Rendered(
        TableRow row, ChatTemplate template, List<ChatMessage> given, List<ChatMessage> answer, JsonElement? tools)
    {
        try
        {
            var options = new ChatRenderOptions { Tools = tools };
            var beginning = template.Render(given, options with { AddGenerationPrompt = true });
            var text = template.Render([.. given, .. answer], options);
            return text.StartsWith(beginning, StringComparison.Ordinal) ? (beginning, text[beginning.Length..])
                : throw row.Error("the chat template writes the prompt otherwise when an answer follows, so that the two cannot be told apart.");
        }
        catch (ChatTemplateException e)
        {
            throw row.Error(e.Message);
        }
    }

    private static bool Same(ChatMessage left, ChatMessage right) => left.Fields.Select(x => x.Key).SequenceEqual(right.Fields.Select(x => x.Key))
        && left.Fields.Zip(right.Fields).All(x => JsonElement.DeepEquals(x.First.Value, x.Second.Value));
}
