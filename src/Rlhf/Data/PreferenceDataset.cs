using System.Globalization;
using Rlhf.Data.Files;

namespace Rlhf.Data;

/// <summary>Reads preference pairs from JSONL, CSV, TSV or parquet: a file, a pattern or a folder.</summary>
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
        TableColumn[] columns =
        [
            TableColumn.Of("chosen answer", options.ChosenColumn, required: true, "chosen"),
            TableColumn.Of("rejected answer", options.RejectedColumn, required: true, "rejected"),
            TableColumn.Of("prompt", options.PromptColumn, required: false, "prompt"),
            TableColumn.Of("margin", options.MarginColumn, required: false, "margin"),
        ];
        var rows = TableFile.Read(DataFiles.Find(path, options.Split), columns, options.MaxTextLength);
        return options.Take(rows.Select(row => Pair(row, options.MaxTextLength)));
    }

    private static PreferencePair Pair(TableRow row, int maxLength)
    {
        var chosen = row.Text(0, "chosen answer", maxLength);
        var rejected = row.Text(1, "rejected answer", maxLength);
        var margin = Margin(row, row.Cells[3]);
        if (row.Cells[2] is not null)
            return new PreferencePair(row.Text(2, "prompt", maxLength), chosen, rejected, margin);
        int length = CommonPrompt(chosen, rejected);
        return new PreferencePair(chosen[..length], chosen[length..], rejected[length..], margin);
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

    private static double? Margin(TableRow row, object? cell) => cell switch
    {
        null or "" => null,
        long whole => whole,
        double number when double.IsFinite(number) => number,
        string text when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
            && double.IsFinite(number) => number,
        _ => throw row.Error($"the margin {Convert.ToString(cell, CultureInfo.InvariantCulture)} is not a finite number; "
            + "correct it or leave it out."),
    };
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
            TableColumn.Of("prompt", options.PromptColumn, required: true, "prompt"),
            TableColumn.Of("completion", options.CompletionColumn, required: true, "completion"),
        ];
        var rows = TableFile.Read(DataFiles.Find(path, options.Split), columns, options.MaxTextLength);
        return options.Take(rows.Select(row => new PromptCompletion(
            row.Text(0, "prompt", options.MaxTextLength), row.Text(1, "completion", options.MaxTextLength))));
    }
}
