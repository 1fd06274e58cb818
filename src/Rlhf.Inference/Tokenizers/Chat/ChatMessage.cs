using System.Text.Json;

namespace Rlhf.Tokenizers.Chat;

/// <summary>One message of a conversation: its fields as its file has them, in their order.</summary>
/// <remarks>
/// The usual fields are <c>role</c> and <c>content</c> (a text, or a list of parts such as <c>{"type": "text", "text": "Hi"}</c>),
/// <c>tool_calls</c>, <c>tool_call_id</c> and <c>name</c>. Whatever else a message has reaches the template as well.
/// </remarks>
public sealed class ChatMessage
{
    private readonly (string Name, JsonElement Value)[] _fields;

    /// <summary>A message of a text.</summary>
    /// <param name="role">Who speaks: system, user, assistant, tool.</param>
    /// <param name="content">What is said.</param>
    public ChatMessage(string role, string content)
        : this([("role", JsonSerializer.SerializeToElement(role)), ("content", JsonSerializer.SerializeToElement(content))])
    {
        ArgumentNullException.ThrowIfNull(role);
        ArgumentNullException.ThrowIfNull(content);
    }

    private ChatMessage((string Name, JsonElement Value)[] fields) => _fields = fields;

    /// <summary>Names and values, in the order of the file.</summary>
    public IEnumerable<KeyValuePair<string, JsonElement>> Fields => _fields.Select(x => KeyValuePair.Create(x.Name, x.Value));

    /// <summary>Who speaks; empty where the message does not say.</summary>
    public string Role => this["role"] is { ValueKind: JsonValueKind.String } role ? role.GetString()! : "";

    /// <summary>The name of the speaker or the tool, or null.</summary>
    public string? Name => this["name"] is { ValueKind: JsonValueKind.String } name ? name.GetString() : null;

    /// <summary>The content as text: the text itself, or the texts of its parts joined; empty where there is none.</summary>
    public string Text => this["content"] switch
    {
        { ValueKind: JsonValueKind.String } text => text.GetString()!,
        { ValueKind: JsonValueKind.Array } parts => string.Concat(parts.EnumerateArray().Select(TextOfPart)),
        _ => "",
    };

    /// <summary>The calls of tools that the message makes, or null.</summary>
    public JsonElement? ToolCalls => this["tool_calls"] is { ValueKind: JsonValueKind.Array } calls ? calls : null;

    /// <summary>The message's content has a part that is no text, such as a picture.</summary>
    public bool HasOtherParts => this["content"] is { ValueKind: JsonValueKind.Array } parts
        && parts.EnumerateArray().Any(x => x is not { ValueKind: JsonValueKind.Object } || !x.TryGetProperty("text", out _));

    /// <summary>A field, or null where the message does not have it.</summary>
    /// <param name="name">Its name.</param>
    public JsonElement? this[string name]
    {
        get
        {
            foreach (var (field, value) in _fields)
                if (field == name)
                    return value;
            return null;
        }
    }

    /// <summary>A message from JSON.</summary>
    /// <param name="message">A JSON object.</param>
    /// <exception cref="InvalidDataException">It is not an object.</exception>
    public static ChatMessage FromJson(JsonElement message)
    {
        if (message.ValueKind != JsonValueKind.Object)
            throw new InvalidDataException("A message must be an object with a role and a content.");
        var fields = new List<(string Name, JsonElement Value)>();
        foreach (var field in message.EnumerateObject())
        {
            int known = fields.FindIndex(x => x.Name == field.Name);
            if (known >= 0)
                fields[known] = (field.Name, field.Value.Clone()); // the last one counts, as in Python
            else
                fields.Add((field.Name, field.Value.Clone()));
        }
        return new([.. fields]);
    }

    /// <summary>The same message with a field changed or added.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="value">Its value.</param>
    public ChatMessage With(string name, JsonElement value) => new(
        this[name] is null ? [.. _fields, (name, value)] : [.. _fields.Select(x => x.Name == name ? (name, value) : x)]);

    private static string TextOfPart(JsonElement part) => part switch
    {
        { ValueKind: JsonValueKind.String } => part.GetString()!,
        { ValueKind: JsonValueKind.Object } when part.TryGetProperty("text", out var text) && text.ValueKind == JsonValueKind.String
            => text.GetString()!,
        _ => "",
    };
}
