using System.Text.Json;
using Rlhf.Data.Files.Parquet;
using Rlhf.Runtime.Files;

namespace Rlhf.Data.Files;

/// <summary>Reads the wanted columns of a table file, whatever its form; the form follows from the file's extension.</summary>
internal static class TableFile
{
    // A line of JSON holds other fields and escapes besides the text.
    private const int MaxJsonLine = 128 << 20;

    /// <summary>Rows of files, one after another.</summary>
    public static IEnumerable<TableRow> Read(IEnumerable<string> files, IReadOnlyList<TableColumn> columns, int maxTextLength) =>
        files.SelectMany(file => Read(file, columns, maxTextLength));

    /// <summary>Rows of one file.</summary>
    /// <exception cref="ArgumentException">The extension is of no known form, or plain text was to have several
    /// columns.</exception>
    /// <exception cref="InvalidDataException">Content that cannot be used.</exception>
    public static IEnumerable<TableRow> Read(string file, IReadOnlyList<TableColumn> columns, int maxTextLength)
    {
        using var stream = RegularFile.Open(file);
        foreach (var row in Read(stream, file, columns, maxTextLength))
            yield return row;
    }

    /// <summary>The same from a stream that can seek; the name tells the form, and is for messages.</summary>
    public static IEnumerable<TableRow> Read(
        Stream stream, string file, IReadOnlyList<TableColumn> columns, int maxTextLength) =>
        Path.GetExtension(file).ToLowerInvariant() switch
        {
            ".parquet" => ParquetTable.Read(stream, file, columns),
            ".csv" => CsvTable.Read(stream, file, columns, ',', maxTextLength),
            ".tsv" => CsvTable.Read(stream, file, columns, '\t', maxTextLength),
            ".jsonl" or ".ndjson" or ".json" => JsonLines(stream, file, columns),
            ".txt" => PlainText(stream, file, columns, maxTextLength),
            _ => throw new ArgumentException(
                $"{file} is of no known form; .parquet, .csv, .tsv, .jsonl and .txt are read, and aclImdb as a folder, .tar or "
                + ".tar.gz."),
        };

    /// <summary>One text per line; blank lines are left out.</summary>
    private static IEnumerable<TableRow> PlainText(
        Stream stream, string file, IReadOnlyList<TableColumn> columns, int maxTextLength)
    {
        if (columns.Any(c => c.Chosen) || columns.Skip(1).Any(c => c.Required))
            throw new ArgumentException(
                $"{file} is plain text, one text per line, and has no columns; use JSONL, CSV or parquet, or choose no column.");
        foreach (var (number, line) in BoundedLines.Read(stream, file, maxTextLength))
            if (!string.IsNullOrWhiteSpace(line))
                yield return new TableRow([line, .. new object?[columns.Count - 1]], file, "line", number);
    }

    private static IEnumerable<TableRow> JsonLines(Stream stream, string file, IReadOnlyList<TableColumn> columns)
    {
        foreach (var (number, line) in BoundedLines.Read(stream, file, MaxJsonLine))
            if (!string.IsNullOrWhiteSpace(line))
                yield return JsonRow(new TableRow(new object?[columns.Count], file, "line", number), line, columns);
    }

    private static TableRow JsonRow(TableRow row, string line, IReadOnlyList<TableColumn> columns)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            if (document.RootElement is not { ValueKind: JsonValueKind.Object } record)
                throw row.Error("a JSON object such as {\"text\": \"...\"} must stand on each line; "
                    + "write a JSON array as one object per line.");
            string[] names = [.. record.EnumerateObject().Select(p => p.Name)];
            for (int i = 0; i < columns.Count; i++)
                if (columns[i].FindIn($"{row.File}, line {row.Number}", names) is { } name)
                    row.Cells[i] = JsonCell(row, name, record.GetProperty(name));
            return row;
        }
        catch (JsonException error)
        {
            throw new InvalidDataException(
                $"{row.File}, line {row.Number}: not a JSON object on one line (column {error.BytePositionInLine + 1}); "
                + "correct or remove the line.", error);
        }
        catch (InvalidOperationException error)
        {
            throw new InvalidDataException(
                $"{row.File}, line {row.Number}: an escaped character is half of a surrogate pair; correct or remove the line.",
                error);
        }
    }

    private static object? JsonCell(TableRow row, string name, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString(),
        JsonValueKind.Number => value.TryGetInt64(out long integer) ? integer : value.GetDouble(),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Null => null,
        _ => throw row.Error($"\"{name}\" is a list or an object, but plain text or a number is needed; "
            + "write a conversation out as text (its chat template) first."),
    };
}
