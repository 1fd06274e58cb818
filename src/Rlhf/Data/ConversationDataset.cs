using System.Text.Json;
using Rlhf.Data.Files;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Data;

/// <summary>Reads conversations from JSONL or parquet: a file, a pattern or a folder.</summary>
/// <remarks>
/// A row holds <c>messages</c> (a list of objects with role and content); or <c>prompt</c> and <c>completion</c>, each a list of messages, or
/// a text, which is a user's or the assistant's message; or ShareGPT's <c>conversations</c> (a list of objects with from and value); or
/// <c>instruction</c>, <c>input</c> and <c>output</c>. <c>tools</c> and <c>chat_template_kwargs</c> reach the template.
/// </remarks>
public static class ConversationDataset
{
    private const int Messages = 0, Prompt = 1, Completion = 2, Instruction = 3, Input = 4, Output = 5, System = 6, Tools = 7, Variables = 8;

    private static readonly TableColumn[] Columns =
    [
        Lists("conversation", "messages", "conversations", "conversation"),
        Lists("prompt", "prompt"), Lists("completion", "completion"),
        Lists("instruction", "instruction"), Lists("input", "input"), Lists("answer", "output", "response"),
        Lists("system text", "system"), Lists("tools", "tools"), Lists("template's variables", "chat_template_kwargs"),
    ];

    /// <summary>The conversations of a source, in its order unless <see cref="DataReadOptions.ShuffleSeed"/> is set.</summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IReadOnlyList<Conversation> Load(string path, ConversationReadOptions? options = null) => [.. Stream(path, options)];

    /// <summary>As <see cref="Load"/>, one at a time. Errors in the content come while enumerating.</summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IEnumerable<Conversation> Stream(string path, ConversationReadOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new();
        options.Validate();
        return options.Take(TableFile.Read(DataFiles.Find(path, options.Split), Columns, options.MaxTextLength).Select(Read));
    }

    private static TableColumn Lists(string role, params string[] names) =>
        TableColumn.Of(role, null, required: false, names) with { TakesLists = true };

    private static Conversation Read(TableRow row)
    {
        var (messages, prompt) = Find(row);
        if (messages.Count == 0)
            throw row.Error("the conversation has no messages; remove the row.");
        return new(messages, prompt) { Tools = ToolsOf(row, row.Cells[Tools]), Variables = VariablesOf(row), Place = $"{row.File}, {row.Unit} {row.Number}" };
    }

    private static (List<ChatMessage> Messages, int Prompt) Find(TableRow row)
    {
        if (row.Cells[Messages] is { } conversation)
            return (MessageList.Of(row, "conversation", conversation), 0);
        if (row.Cells[Prompt] is { } prompt && row.Cells[Completion] is { } completion)
        {
            List<ChatMessage> given = MessageList.Of(row, "prompt", prompt, "user");
            return ([.. given, .. MessageList.Of(row, "completion", completion, "assistant")], given.Count);
        }
        if (row.Cells[Instruction] is string instruction && row.Cells[Output] is string output)
        {
            List<ChatMessage> given = row.Cells[System] is string { Length: > 0 } system ? [new("system", system)] : [];
            given.Add(new("user", row.Cells[Input] is string { Length: > 0 } input ? $"{instruction}\n\n{input}" : instruction));
            return ([.. given, new("assistant", output)], given.Count);
        }
        throw row.Error("there is no conversation; a row holds messages, or prompt and completion, or conversations (from and value), or "
            + "instruction and output.");
    }

    /// <summary>The tools; many data sets store them as the text of JSON.</summary>
    internal static JsonElement? ToolsOf(TableRow row, object? cell)
    {
        var tools = cell switch
        {
            JsonElement list => list,
            string { Length: > 0 } text => Parse(row, text, "tools"),
            _ => default,
        };
        return tools.ValueKind switch
        {
            JsonValueKind.Undefined or JsonValueKind.Null => null,
            JsonValueKind.Array when tools.GetArrayLength() == 0 => null,
            JsonValueKind.Array => tools,
            _ => throw row.Error("the tools are not a list of JSON schemas; write them as one."),
        };
    }

    private static Dictionary<string, JsonElement> VariablesOf(TableRow row)
    {
        var variables = row.Cells[Variables] is string { Length: > 0 } text ? Parse(row, text, "template's variables") : row.Cells[Variables];
        return variables is JsonElement { ValueKind: JsonValueKind.Object } named
            ? named.EnumerateObject().Where(x => x.Value.ValueKind != JsonValueKind.Null).GroupBy(x => x.Name).ToDictionary(x => x.Key, x => x.Last().Value.Clone())
            : [];
    }

    private static JsonElement Parse(TableRow row, string text, string what)
    {
        try
        {
            using var document = JsonDocument.Parse(text);
            return document.RootElement.Clone();
        }
        catch (JsonException)
        {
            throw row.Error($"the {what} are a text that is not JSON; write JSON.");
        }
    }
}

/// <summary>Which rows <see cref="ConversationDataset"/> reads.</summary>
public sealed record ConversationReadOptions : DataReadOptions;
