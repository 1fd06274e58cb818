using Rlhf.Data.Files;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Data;

/// <summary>Which rows and columns <see cref="PreferenceDataset"/> reads.</summary>
public sealed record PreferenceReadOptions : DataReadOptions
{
    /// <summary>
    /// Column of the prompt; null: <c>prompt</c>. Rows without one are taken as TRL's implicit-prompt form: what chosen and
    /// rejected begin with in common is the prompt.
    /// </summary>
    public string? PromptColumn { get; init; }

    /// <summary>Column of the better answer; null: <c>chosen</c>.</summary>
    public string? ChosenColumn { get; init; }

    /// <summary>Column of the worse answer; null: <c>rejected</c>.</summary>
    public string? RejectedColumn { get; init; }

    /// <summary>Writes answers that are lists of messages as text; null, the default, refuses them.</summary>
    public ChatTemplate? Template { get; init; }

    /// <summary>Column of the margin; null: <c>margin</c> where the file has it.</summary>
    public string? MarginColumn { get; init; }
}

/// <summary>Which rows and columns <see cref="PromptCompletionDataset"/> reads.</summary>
public sealed record PromptCompletionReadOptions : DataReadOptions
{
    /// <summary>Column of the prompt; null: <c>prompt</c>.</summary>
    public string? PromptColumn { get; init; }

    /// <summary>Column of the completion; null: <c>completion</c>.</summary>
    public string? CompletionColumn { get; init; }
}
