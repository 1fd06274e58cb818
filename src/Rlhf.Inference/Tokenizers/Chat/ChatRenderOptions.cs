using System.Text.Json;

namespace Rlhf.Tokenizers.Chat;

/// <summary>What a rendering is given besides the messages: the arguments of transformers' <c>apply_chat_template</c>.</summary>
public sealed record ChatRenderOptions
{
    /// <summary>Ends with what begins the assistant's next message. Default false.</summary>
    public bool AddGenerationPrompt { get; init; }

    /// <summary>Ends within the last message, so that a model continues it. Default false.</summary>
    public bool ContinueFinalMessage { get; init; }

    /// <summary>JSON schemas of the tools, a list; null (the default) is none.</summary>
    public JsonElement? Tools { get; init; }

    /// <summary>Documents with title and text, a list; null (the default) is none.</summary>
    public JsonElement? Documents { get; init; }

    /// <summary>Further variables of the template, such as <c>enable_thinking</c>. Default none.</summary>
    public IReadOnlyDictionary<string, JsonElement> Variables { get; init; } = new Dictionary<string, JsonElement>();

    /// <summary>The name of one of several templates; null (the default) is <c>tool_use</c> where tools are given, else <c>default</c>.</summary>
    public string? Template { get; init; }

    /// <summary>What the template takes for the time; null (the default) is now.</summary>
    public DateTimeOffset? Now { get; init; }
}
