using System.Text.Json;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Data;

/// <summary>A conversation to learn from.</summary>
/// <param name="Messages">Its messages, at least one.</param>
/// <param name="PromptMessages">
/// How many of the first messages are given as a prompt: what follows them is to be learned. 0 is a conversation without a prompt of its own.
/// </param>
public sealed record Conversation(IReadOnlyList<ChatMessage> Messages, int PromptMessages = 0)
{
    /// <summary>JSON schemas of the tools that the assistant may call, a list; null is none.</summary>
    public JsonElement? Tools { get; init; }

    /// <summary>Further variables of the chat template (the column <c>chat_template_kwargs</c>). Default none.</summary>
    public IReadOnlyDictionary<string, JsonElement> Variables { get; init; } = new Dictionary<string, JsonElement>();

    /// <summary>Where it was read, for messages: file and line or row; null where it was not.</summary>
    public string? Place { get; init; }

    /// <summary>What a template is given besides the messages.</summary>
    public ChatRenderOptions RenderOptions => new() { Tools = Tools, Variables = Variables };
}
