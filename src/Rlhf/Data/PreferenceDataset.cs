using Rlhf.Data.Files;

namespace Rlhf.Data;

/// <summary>Reads preference pairs from JSONL, CSV, TSV or parquet: a file, a pattern or a folder.</summary>
/// <remarks>
/// Columns are <c>chosen</c> and <c>rejected</c> with an optional <c>prompt</c> and <c>margin</c>, the usual other names of these
/// (<c>response_j</c> and <c>response_k</c>, <c>chosen_response</c> and <c>rejected_response</c>, <c>question</c>, …), or two answers and a column that says which of
/// them is better (<c>answer_0</c>, <c>answer_1</c> and <c>label</c>, …). Rows where neither is better hold no preference and are left out.
/// Chosen and rejected may be lists of messages: the model's chat template writes them.
/// </remarks>
public static class PreferenceDataset
{
    /// <summary>The pairs of a source, in its order unless <see cref="DataReadOptions.ShuffleSeed"/> is set.</summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IReadOnlyList<PreferencePair> Load(string path, PreferenceReadOptions? options = null) =>
        [.. Stream(path, options)];

    /// <summary>As <see cref="Load"/>, one pair at a time. Errors in the content come while enumerating.</summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IEnumerable<PreferencePair> Stream(string path, PreferenceReadOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new PreferenceReadOptions();
        options.Validate();
        var columns = PairColumns.Of(options);
        var rows = TableFile.Read(DataFiles.Find(path, options.Split), columns, options.MaxTextLength);
        return options.Take(rows.Select(row => PairColumns.Pair(row, options.MaxTextLength, options.Template)).OfType<PreferencePair>());
    }

    /// <summary>
    /// Length of the prompt in TRL's implicit-prompt form: all that both answers begin with, less a space before the first
    /// difference, which belongs to the answers. Where one answer begins with the whole other one, its last character is left
    /// to it, as in TRL.
    /// </summary>
    internal static int CommonPrompt(string chosen, string rejected)
    {
        int shorter = Math.Min(chosen.Length, rejected.Length);
        int length = chosen.AsSpan().CommonPrefixLength(rejected);
        if (length == shorter)
            length = Math.Max(0, shorter - 1);
        else if (length > 0 && chosen[length - 1] == ' ')
            length--;
        return length > 0 && char.IsHighSurrogate(chosen[length - 1]) ? length - 1 : length;
    }
}

/// <summary>Reads prompts with their completions from JSONL, CSV, TSV or parquet: a file, a pattern or a folder.</summary>
public static class PromptCompletionDataset
{
    /// <summary>The rows of a source, in its order unless <see cref="DataReadOptions.ShuffleSeed"/> is set.</summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IReadOnlyList<PromptCompletion> Load(string path, PromptCompletionReadOptions? options = null) =>
        [.. Stream(path, options)];

    /// <summary>As <see cref="Load"/>, one row at a time. Errors in the content come while enumerating.</summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IEnumerable<PromptCompletion> Stream(string path, PromptCompletionReadOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new PromptCompletionReadOptions();
        options.Validate();
        TableColumn[] columns =
        [
            TableColumn.Of("prompt", options.PromptColumn, required: true, "prompt") with { Setting = nameof(options.PromptColumn) },
            TableColumn.Of("completion", options.CompletionColumn, required: true, "completion")
                with { Setting = nameof(options.CompletionColumn) },
        ];
        var rows = TableFile.Read(DataFiles.Find(path, options.Split), columns, options.MaxTextLength);
        return options.Take(rows.Select(row => new PromptCompletion(
            row.Text(0, "prompt", options.MaxTextLength), row.Text(1, "completion", options.MaxTextLength))));
    }
}
