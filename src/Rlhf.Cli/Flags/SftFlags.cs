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
        + "conversations, or instruction and output); default: as the columns say.")]
    public TextFormat? Format { get; init; }

    [Description("Column of the prompt, for completions; default: prompt.")]
    [ValueName("NAME")]
    public string? PromptColumn { get; init; }

    [Description("Column of the completion; default: completion.")]
    [ValueName("NAME")]
    public string? CompletionColumn { get; init; }

    [Description("Chat template for conversations: a file with Jinja, or chatml, the built-in one; default: the model's own.")]
    [ValueName("FILE|chatml")]
    [ChatTemplateInput]
    public string? ChatTemplate { get; init; }

    [Description("Element type of the stored weights.")]
    [MayChange]
    public StorageType Storage { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Model is null) yield return $"Model {ModelFolders.Missing}";
        bool namesColumns = (PromptColumn ?? CompletionColumn) is not null;
        if (ChatTemplate is not null && (Format is { } form ? form != TextFormat.Conversations : namesColumns))
            yield return "ChatTemplate is for Format conversations.";
        if (Format is { } other && other != TextFormat.Completions && namesColumns)
            yield return "PromptColumn and CompletionColumn are read with Format completions only.";
    }
}
