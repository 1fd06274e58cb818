using System.Text.Json;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Serving;

/// <summary>The messages of a request, as chat templates read them.</summary>
internal static class RequestMessages
{
    private const string Example = "[{\"role\": \"user\", \"content\": \"Hello\"}]";

    /// <summary>Reads them; a list of parts that are all texts becomes one text, and the developer is the system.</summary>
    public static IReadOnlyList<ChatMessage> Read(JsonElement messages, List<FieldProblem> problems)
    {
        if (messages.ValueKind != JsonValueKind.Array || messages.GetArrayLength() == 0)
        {
            problems.Add(new("messages", $"messages must be a list of at least one message, such as {Example}."));
            return [];
        }
        var read = new List<ChatMessage>();
        foreach (var (i, message) in messages.EnumerateArray().Index())
            try
            {
                if (ReadOne(message, $"messages[{i}]", problems) is { } made)
                    read.Add(made);
            }
            catch (InvalidOperationException)
            {
                problems.Add(new($"messages[{i}]", $"messages[{i}] {JsonTexts.HalfCharacter}"));
            }
        return read;
    }

    private static ChatMessage? ReadOne(JsonElement message, string place, List<FieldProblem> problems)
    {
        int before = problems.Count;
        void Refuse(string field, string what) => problems.Add(new($"{place}.{field}", $"{place}.{field} {what}"));
        if (message.ValueKind != JsonValueKind.Object)
        {
            problems.Add(new(place, $"{place} must be an object with a role and a content, as in {Example}."));
            return null;
        }
        string? role = message.TryGetProperty("role", out var given) && given.ValueKind == JsonValueKind.String ? given.GetString() : null;
        if (role is "tool" or "function")
            Refuse("role", $"is {role}; models here call no tools, so no message answers a call.");
        else if (role is not ("system" or "developer" or "user" or "assistant"))
            Refuse("role", "must be system, developer, user or assistant.");
        string? content = null;
        if (message.TryGetProperty("content", out var said))
            content = Content(said, place, problems);
        else
            Refuse("content", "is missing; it must be a text.");
        List<(string, JsonElement)> others = [];
        foreach (var field in message.EnumerateObject())
        {
            bool isNothing = field.Value.ValueKind == JsonValueKind.Null
                || field.Value.ValueKind == JsonValueKind.Array && field.Value.GetArrayLength() == 0;
            if (field.Name is "role" or "content" || isNothing)
                continue;
            if (field.Name is "name" or "reasoning_content" && field.Value.ValueKind == JsonValueKind.String)
            {
                _ = field.Value.GetString(); // throws for half a character
                others.Add((field.Name, field.Value));
            }
            else if (field.Name is "tool_calls" or "function_call" or "tool_call_id")
                Refuse(field.Name, "is not supported: models here call no tools; leave it out.");
            else
                Refuse(field.Name, "is not supported; leave it out.");
        }
        return problems.Count > before ? null : others.Aggregate(
            new ChatMessage(role == "developer" ? "system" : role!, content!), (made, field) => made.With(field.Item1, field.Item2));
    }

    private static string Content(JsonElement content, string place, List<FieldProblem> problems)
    {
        if (content.ValueKind == JsonValueKind.String)
            return content.GetString()!;
        if (content.ValueKind != JsonValueKind.Array)
        {
            problems.Add(new($"{place}.content", $"{place}.content must be a text, or a list of parts that are texts."));
            return "";
        }
        var text = new System.Text.StringBuilder();
        foreach (var (i, part) in content.EnumerateArray().Index())
        {
            string? type = part.ValueKind == JsonValueKind.Object && part.TryGetProperty("type", out var kind)
                && kind.ValueKind == JsonValueKind.String ? kind.GetString() : null;
            string field = $"{place}.content[{i}]";
            if (type == "text" && part.TryGetProperty("text", out var words) && words.ValueKind == JsonValueKind.String)
                text.Append(words.GetString());
            else if (type is "image_url" or "input_image" or "input_audio" or "file" or "video_url")
                problems.Add(new(field, $"{field} is of type {type}, which is not supported: models here read texts alone."));
            else
                problems.Add(new(field, $"{field} must be a text: {{\"type\": \"text\", \"text\": \"Hello\"}}."));
        }
        return text.ToString();
    }
}
