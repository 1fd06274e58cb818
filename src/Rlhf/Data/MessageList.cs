using System.Text.Json;
using Rlhf.Data.Files;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Data;

/// <summary>Messages of a cell: a list of objects with role and content, or ShareGPT's with from and value, or a text.</summary>
internal static class MessageList
{
    /// <summary>The messages of a cell.</summary>
    /// <param name="row">The row, for messages.</param>
    /// <param name="what">What the cell is, in messages.</param>
    /// <param name="cell">A list from JSON or parquet, or a text.</param>
    /// <param name="speaker">Whose message a text is; null: a text is an error.</param>
    /// <exception cref="InvalidDataException">The cell holds no messages; the message names the row.</exception>
    public static List<ChatMessage> Of(TableRow row, string what, object cell, string? speaker = null)
    {
        if (cell is string text && speaker is not null)
            return [new(speaker, text)];
        if (cell is not JsonElement { ValueKind: JsonValueKind.Array } list)
            throw row.Error($"the {what} is not a list of messages; write objects with role and content.");
        return [.. list.EnumerateArray().Select((message, i) => One(row, $"message {i + 1} of the {what}", message))];
    }

    /// <summary>Whether a cell is a list of messages.</summary>
    public static bool Is(object? cell) => cell is JsonElement { ValueKind: JsonValueKind.Array };

    private static ChatMessage One(TableRow row, string what, JsonElement message)
    {
        if (message.ValueKind != JsonValueKind.Object)
            throw row.Error($"{what} is not an object with role and content.");
        var read = ChatMessage.FromJson(message);
        if (read.Role.Length > 0)
            return read;
        if (read["from"] is not { ValueKind: JsonValueKind.String } from || read["value"] is not { ValueKind: JsonValueKind.String } value)
            throw row.Error($"{what} has neither role and content nor from and value.");
        return new(from.GetString() switch
        {
            "human" or "user" => "user",
            "gpt" or "assistant" or "chatgpt" or "bing" or "bard" or "model" => "assistant",
            "system" => "system",
            "tool" or "function_response" or "observation" => "tool",
            var other => throw row.Error($"{what} is from \"{other}\", which is none of human, gpt, system and tool; rename it."),
        }, value.GetString()!);
    }
}
