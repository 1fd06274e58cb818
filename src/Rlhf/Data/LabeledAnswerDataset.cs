using System.Globalization;
using Rlhf.Data.Files;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Data;

/// <summary>Reads answers with thumbs up or down from JSONL, CSV, TSV or parquet: a file, a pattern or a folder.</summary>
/// <remarks>
/// Columns are <c>prompt</c>, <c>completion</c> (or response, answer, output) and <c>label</c> (or desirable, liked, thumbs), which is true or
/// false, 1 or 0, or a word such as good or bad. Prompt and completion may be lists of messages: the model's chat template writes them.
/// </remarks>
public static class LabeledAnswerDataset
{
    private const int Prompt = 0, Completion = 1, Label = 2, Tools = 3;

    /// <summary>The answers of a source, in its order unless <see cref="DataReadOptions.ShuffleSeed"/> is set.</summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IReadOnlyList<LabeledAnswer> Load(string path, LabeledAnswerReadOptions? options = null) => [.. Stream(path, options)];

    /// <summary>As <see cref="Load"/>, one at a time. Errors in the content come while enumerating.</summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IEnumerable<LabeledAnswer> Stream(string path, LabeledAnswerReadOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new();
        options.Validate();
        TableColumn[] columns =
        [
            TableColumn.Of("prompt", options.PromptColumn, required: true, "prompt", "question", "instruction", "query")
                with { Setting = nameof(options.PromptColumn), TakesLists = true },
            TableColumn.Of("answer", options.CompletionColumn, required: true, "completion", "response", "answer", "output")
                with { Setting = nameof(options.CompletionColumn), TakesLists = true },
            TableColumn.Of("label", options.LabelColumn, required: true, "label", "desirable", "is_desirable", "liked", "thumbs")
                with { Setting = nameof(options.LabelColumn) },
            TableColumn.Of("tools", null, required: false, "tools") with { TakesLists = true },
        ];
        var rows = TableFile.Read(DataFiles.Find(path, options.Split), columns, options.MaxTextLength);
        return options.Take(rows.Select(row => Read(row, options)));
    }

    private static LabeledAnswer Read(TableRow row, LabeledAnswerReadOptions options)
    {
        bool isDesirable = IsDesirable(row);
        if (!MessageList.Is(row.Cells[Prompt]) && !MessageList.Is(row.Cells[Completion]))
            return new(row.Text(Prompt, "prompt", options.MaxTextLength), row.Text(Completion, "answer", options.MaxTextLength), isDesirable);
        var template = options.Template ?? throw row.Error("prompt and answer are lists of messages, and the model has no chat template to "
            + "write them with; name one by --chat-template FILE, or take the built-in ChatML by --chat-template chatml.");
        if (row.Cells[Prompt] is not { } prompt || row.Cells[Completion] is not { } completion)
            throw row.Error("prompt or answer is missing; fill it in or remove the row.");
        List<ChatMessage> given = MessageList.Of(row, "prompt", prompt, "user"), answer = MessageList.Of(row, "answer", completion, "assistant");
        if (given.Count == 0 || answer.Count == 0)
            throw row.Error("prompt or answer has no messages; remove the row.");
        var (beginning, text) = MessagePair.Rendered(row, template, given, answer, ConversationDataset.ToolsOf(row, row.Cells[Tools]));
        return new(beginning, text, isDesirable) { IsRendered = true };
    }

    private static bool IsDesirable(TableRow row) => Convert.ToString(row.Cells[Label], CultureInfo.InvariantCulture)?.Trim().ToLowerInvariant() switch
    {
        "true" or "1" or "yes" or "good" or "up" or "liked" or "desirable" or "chosen" or "positive" or "+1" or "\U0001F44D" => true,
        "false" or "0" or "no" or "bad" or "down" or "disliked" or "undesirable" or "rejected" or "negative" or "-1" or "\U0001F44E" => false,
        null or "" => throw row.Error("the label is missing; write true for an answer that was liked and false for one that was not, or remove the row."),
        var other => throw row.Error($"the label \"{other}\" does not say whether the answer was liked; write true or false."),
    };
}

/// <summary>Which rows and columns <see cref="LabeledAnswerDataset"/> reads.</summary>
public sealed record LabeledAnswerReadOptions : DataReadOptions
{
    /// <summary>Column of the prompt; null: <c>prompt</c> and other usual names.</summary>
    public string? PromptColumn { get; init; }

    /// <summary>Column of the answer; null: <c>completion</c> and other usual names.</summary>
    public string? CompletionColumn { get; init; }

    /// <summary>Column of the label; null: <c>label</c> and other usual names.</summary>
    public string? LabelColumn { get; init; }

    /// <summary>Writes lists of messages as text; null, the default, refuses them.</summary>
    public ChatTemplate? Template { get; init; }
}
