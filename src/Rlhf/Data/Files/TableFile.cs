using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Data.Files.Parquet;
using Rlhf.Runtime.Files;

namespace Rlhf.Data.Files;

/// <summary>Which columns beside the wanted ones rows carry.</summary>
internal enum OtherColumns
{
    /// <summary>None.</summary>
    None,

    /// <summary>All; one that cannot be kept is an error.</summary>
    All,

    /// <summary>Those that can be read.</summary>
    Readable,
}

/// <summary>Reads the wanted columns of a table file, whatever its form; the form follows from the file's extension.</summary>
internal static class TableFile
{
    // A line of JSON holds other fields and escapes besides the text.
    private const int MaxJsonLine = 128 << 20;

    /// <summary>Rows of files, one after another.</summary>
    /// <param name="files">The files.</param>
    /// <param name="columns">The wanted columns.</param>
    /// <param name="maxTextLength">Longest text accepted.</param>
    /// <param name="kept">Which of the columns beside the wanted ones rows also carry.</param>
    public static IEnumerable<TableRow> Read(
        IEnumerable<string> files, IReadOnlyList<TableColumn> columns, int maxTextLength, OtherColumns kept = OtherColumns.None) =>
        files.SelectMany(file => Read(file, columns, maxTextLength, kept));

    /// <summary>Rows of one file.</summary>
    /// <exception cref="ArgumentException">The extension is of no known form, or plain text was to have several
    /// columns.</exception>
    /// <exception cref="InvalidDataException">Content that cannot be used.</exception>
    public static IEnumerable<TableRow> Read(
        string file, IReadOnlyList<TableColumn> columns, int maxTextLength, OtherColumns kept = OtherColumns.None)
    {
        if (Directory.Exists(file))
            throw new ArgumentException($"{file} is a folder, and one file is read here; name a file in it.");
        using var stream = RegularFile.Open(file);
        foreach (var row in Read(stream, file, columns, maxTextLength, kept))
            yield return row;
    }

    /// <summary>The same from a stream that can seek; the name tells the form, and is for messages.</summary>
    public static IEnumerable<TableRow> Read(
        Stream stream, string file, IReadOnlyList<TableColumn> columns, int maxTextLength, OtherColumns kept = OtherColumns.None)
    {
        GitLfsPointer.Refuse(stream, file, "the data");
        string extension = DataFiles.Extension(file);
        return extension.EndsWith(".gz", StringComparison.Ordinal) && extension != ".parquet.gz"
            ? Read(new GzipFile(stream, file), extension[..^3], file, columns, maxTextLength, kept)
            : Read(stream, extension, file, columns, maxTextLength, kept);
    }

    private static IEnumerable<TableRow> Read(
        Stream stream, string extension, string file, IReadOnlyList<TableColumn> columns, int maxTextLength, OtherColumns kept) =>
        extension switch
        {
            ".parquet" => ParquetTable.Read(stream, file, columns, kept),
            ".csv" => CsvTable.Read(stream, file, columns, ',', maxTextLength, kept != OtherColumns.None),
            ".tsv" => CsvTable.Read(stream, file, columns, '\t', maxTextLength, kept != OtherColumns.None),
            ".jsonl" or ".ndjson" or ".json" => JsonLines(stream, file, columns, kept),
            ".txt" => PlainText(stream, file, columns, maxTextLength),
            _ => throw new ArgumentException(
                $"{file} is of no known form; .parquet, .csv, .tsv, .jsonl and .txt are read (all but .parquet also as .gz), and aclImdb "
                + "as a folder, .tar or .tar.gz."),
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

    private static IEnumerable<TableRow> JsonLines(
        Stream stream, string file, IReadOnlyList<TableColumn> columns, OtherColumns kept)
    {
        foreach (var (number, line) in BoundedLines.Read(stream, file, MaxJsonLine))
            if (!string.IsNullOrWhiteSpace(line))
                yield return JsonRow(new TableRow(new object?[columns.Count], file, "line", number), line, columns, kept);
    }

    private static JsonDocument Parse(string line)
    {
        try
        {
            return JsonDocument.Parse(line);
        }
        catch (JsonException) when (BareNumbers.AsTexts(line) is { } readable)
        {
            return JsonDocument.Parse(readable);
        }
    }

    private static TableRow JsonRow(TableRow row, string line, IReadOnlyList<TableColumn> columns, OtherColumns kept)
    {
        try
        {
            using var document = Parse(line);
            if (document.RootElement is not { ValueKind: JsonValueKind.Object } record)
                throw row.Error("a JSON object such as {\"text\": \"...\"} must stand on each line; "
                    + "write a JSON array as one object per line.");
            string[] names = [.. record.EnumerateObject().Select(p => p.Name)];
            var wanted = new HashSet<string>();
            for (int i = 0; i < columns.Count; i++)
                if (columns[i].FindIn($"{row.File}, line {row.Number}", names) is { } name && wanted.Add(name))
                    row.Cells[i] = record.GetProperty(name) is { ValueKind: JsonValueKind.Array or JsonValueKind.Object } list && columns[i].TakesLists
                        ? Decoded(list) : JsonCell(row, name, record.GetProperty(name));
            return kept != OtherColumns.None ? row with
            {
                Others = [.. names.Distinct().Where(name => !wanted.Contains(name))
                .Select(name => KeyValuePair.Create(name, Kept(record.GetProperty(name))))]
            } : row;
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

    /// <summary>A value as it is; what Python writes and JSON does not have becomes null.</summary>
    private static JsonNode? Kept(JsonElement value) =>
        value.ValueKind == JsonValueKind.String && BareNumbers.Word(value.GetString()!) is not null ? null : JsonNode.Parse(value.GetRawText());

    /// <summary>A list or an object whose texts can all be read: halves of surrogate pairs would throw when one is asked for.</summary>
    private static JsonElement Decoded(JsonElement value)
    {
        Decode(value);
        return value.Clone();

        static void Decode(JsonElement value)
        {
            if (value.ValueKind == JsonValueKind.String)
                _ = value.GetString();
            else if (value.ValueKind == JsonValueKind.Array)
                foreach (var item in value.EnumerateArray())
                    Decode(item);
            else if (value.ValueKind == JsonValueKind.Object)
                foreach (var member in value.EnumerateObject())
                {
                    _ = member.Name;
                    Decode(member.Value);
                }
        }
    }

    private static object? JsonCell(TableRow row, string name, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString() is var text && BareNumbers.Word(text!) is { } word
            ? throw row.Error($"\"{name}\" is {word}, which is not JSON; write null or a number.") : text,
        JsonValueKind.Number => value.TryGetInt64(out long integer) ? integer : value.GetDouble(),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Null => null,
        _ => throw row.Error($"\"{name}\" is a list or an object, but plain text or a number is needed; "
            + "write a conversation out as text (its chat template) first."),
    };
}
