using System.ComponentModel;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Runtime;

namespace Rlhf.Cli.Flags;

/// <summary>What a row of data is.</summary>
internal enum TextFormat
{
    Text,
    Completions,
    Conversations,
}

/// <summary>What to fine-tune, and what to hold out.</summary>
internal sealed record SftFlags
{
    [Description("Model to start from, with its tokenizer: a folder (rlhf init makes one) or one of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    [MayChange]
    public string? Model { get; init; }

    [Description("What a row of data is: a whole text, a prompt and its completion, or a conversation (messages, prompt and completion, "
        + "conversations, or instruction and output).")]
    public TextFormat Format { get; init; }

    [Description("Column of the prompt, for completions; default: prompt.")]
    [ValueName("NAME")]
    public string? PromptColumn { get; init; }

    [Description("Column of the completion; default: completion.")]
    [ValueName("NAME")]
    public string? CompletionColumn { get; init; }

    [Description("Chat template for conversations: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    public string? ChatTemplate { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Model is null) yield return $"Model {ModelFolders.Missing}";
        if (Format != TextFormat.Conversations && ChatTemplate is not null)
            yield return "ChatTemplate is for Format conversations.";
        if (Format != TextFormat.Completions && (PromptColumn ?? CompletionColumn) is not null)
            yield return "PromptColumn and CompletionColumn are read with Format completions only.";
    }
}
