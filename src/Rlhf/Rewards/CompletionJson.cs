using System.Text.Json;
using System.Text.Json.Nodes;

namespace Rlhf.Rewards;

/// <summary>Completions as programs and services read them.</summary>
internal static class CompletionJson
{
    /// <summary>The messages as a list of objects; null where the query is plain text.</summary>
    public static JsonArray? Messages(Completion completion) => completion.Messages is not { } messages ? null
        : new([.. messages.Select(m => (JsonNode)new JsonObject(m.Fields.Select(f => KeyValuePair.Create(f.Key, JsonNode.Parse(f.Value.GetRawText())))))]);

    /// <summary>An object on one line: query, response, text, fields and, for conversations, messages.</summary>
    public static string Line(Completion completion)
    {
        var line = new JsonObject
        {
            ["query"] = completion.Query,
            ["response"] = completion.Response,
            ["text"] = completion.Text,
            ["fields"] = JsonSerializer.SerializeToNode(completion.Fields),
        };
        if (Messages(completion) is { } messages)
            line["messages"] = messages;
        return line.ToJsonString();
    }
}
