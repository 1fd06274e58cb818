using System.Text.Json;
using Rlhf.Data.Files;

namespace Rlhf.Data;

/// <summary>What a row of data to fine-tune on is.</summary>
internal enum RowForm
{
    /// <summary>A whole text (<see cref="ReviewDataset"/>).</summary>
    Text,

    /// <summary>A prompt and its completion (<see cref="PromptCompletionDataset"/>).</summary>
    Completion,

    /// <summary>A conversation (<see cref="ConversationDataset"/>).</summary>
    Conversation,
}

/// <summary>What rows may be by the columns of their file.</summary>
/// <param name="Forms">Each form that the columns allow, with the columns that say so.</param>
/// <param name="Columns">All columns.</param>
internal sealed record RowForms(IReadOnlyList<(RowForm Form, string Columns)> Forms, IReadOnlyList<string> Columns)
{
    private const int Rows = 20;

    /// <summary>Looks at the first rows of a source.</summary>
    /// <param name="path">A file, a pattern or a folder.</param>
    /// <param name="split">The split to read, or null.</param>
    /// <inheritdoc cref="ReviewDataset.Load" path="/exception"/>
    public static RowForms Of(string path, string? split)
    {
        if ((AclImdb.IsArchive(path) && File.Exists(path)) || (Directory.Exists(path) && AclImdb.FindRoot(path) is not null))
            return Plain;
        var files = DataFiles.Find(path, split);
        if (files.Count > 0 && DataFiles.Extension(files[0]) is ".txt" or ".txt.gz")
            return Plain;
        List<string> names = [];
        string? Note(IReadOnlyCollection<string> available, string wanted)
        {
            names.AddRange(available.Except(names));
            return available.Contains(wanted) ? wanted : null;
        }
        TableColumn[] columns = [.. new[] { "prompt", "completion" }.Select(name => TableColumn.Of(name, null, required: false, name) with
        {
            TakesLists = true,
            Finder = available => Note(available, name),
        })];
        bool holdsMessages = TableFile.Read(files, columns, new ReviewReadOptions().MaxTextLength).Take(Rows).ToArray()
            .Any(row => row.Cells.Any(cell => cell is JsonElement));
        return new(Found(names, holdsMessages), names);
    }

    private static RowForms Plain => new([(RowForm.Text, "plain text")], []);

    private static (RowForm, string)[] Found(List<string> names, bool holdsMessages)
    {
        string? First(params string[] usual) => usual.FirstOrDefault(names.Contains);
        (RowForm, string?)[] forms =
        [
            (RowForm.Text, First("text", "review")),
            (RowForm.Conversation, First("messages", "conversations", "conversation")),
            (holdsMessages ? RowForm.Conversation : RowForm.Completion, names.Contains("prompt") && names.Contains("completion") ? "prompt and completion" : null),
            (RowForm.Conversation, First("instruction") is { } asked && First("output", "response") is { } answered ? $"{asked} and {answered}" : null),
        ];
        // Where several columns say the same, the reader decides which of them it takes.
        return [.. forms.Where(f => f.Item2 is not null).GroupBy(f => f.Item1).Select(f => (f.Key, f.First().Item2!))];
    }
}
