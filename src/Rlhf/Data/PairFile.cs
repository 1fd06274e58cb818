using System.Text.Encodings.Web;
using System.Text.Json;
using Rlhf.Data.Files;
using Rlhf.Runtime.Files;

namespace Rlhf.Data;

/// <summary>
/// Reads and writes pairs before and after labeling, as JSON lines: <c>id, prompt, response_a, response_b, model</c> becomes
/// <c>id, prompt, chosen, rejected, choice, ...</c>.
/// </summary>
public static class PairFile
{
    private static readonly JsonWriterOptions Writing = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>
    /// Unlabeled pairs of a source, in its order unless <see cref="DataReadOptions.ShuffleSeed"/> is set. Besides JSON lines,
    /// CSV, TSV and parquet with these columns are read. A missing id is <see cref="ResponsePair.IdOf"/>.
    /// </summary>
    /// <inheritdoc cref="ReviewDataset.Load"/>
    public static IReadOnlyList<ResponsePair> Load(string path, PairReadOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new();
        options.Validate();
        TableColumn[] columns =
        [
            TableColumn.Of("prompt", null, required: true, "prompt"),
            TableColumn.Of("first answer", null, required: true, "response_a"),
            TableColumn.Of("second answer", null, required: true, "response_b"),
            TableColumn.Of("id", null, required: false, "id"),
            TableColumn.Of("model", null, required: false, "model"),
        ];
        var seen = new HashSet<string>();
        var rows = TableFile.Read(DataFiles.Find(path, options.Split), columns, options.MaxTextLength);
        return [.. options.Take(rows.Select(row => Pair(row, options.MaxTextLength, seen)))];
    }

    /// <summary>Writes unlabeled pairs, one per line, atomically.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void Save(string path, IEnumerable<ResponsePair> pairs) =>
        AtomicFile.Write(path, stream => Write(stream, pairs, (json, pair) =>
        {
            json.WriteString("id", pair.Id);
            json.WriteString("prompt", pair.Prompt);
            json.WriteString("response_a", pair.ResponseA);
            json.WriteString("response_b", pair.ResponseB);
            WriteIfKnown(json, "model", pair.Model);
        }));

    /// <summary>Writes labeled pairs, one per line, atomically.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void Save(string path, IEnumerable<LabeledPair> pairs) => AtomicFile.Write(path, stream => Write(stream, pairs));

    /// <summary>Writes labeled pairs, one per line, into a stream: to the end of a file, say.</summary>
    /// <exception cref="IOException">The stream cannot be written.</exception>
    public static void Write(Stream stream, IEnumerable<LabeledPair> pairs) => Write(stream, pairs, (json, labeled) =>
    {
        json.WriteString("id", labeled.Pair.Id);
        json.WriteString("prompt", labeled.Pair.Prompt);
        json.WriteString("chosen", labeled.Chosen);
        json.WriteString("rejected", labeled.Rejected);
        json.WriteString("choice", labeled.Choice == PairChoice.A ? "a" : "b");
        WriteIfKnown(json, "labeler", labeled.Labeler);
        if (labeled is { ScoreChosen: { } chosen, ScoreRejected: { } rejected })
        {
            json.WriteNumber("score_chosen", chosen);
            json.WriteNumber("score_rejected", rejected);
        }
        WriteIfKnown(json, "model", labeled.Pair.Model);
    });

    private static ResponsePair Pair(TableRow row, int maxLength, HashSet<string> seen)
    {
        string prompt = row.Text(0, "prompt", maxLength);
        string a = row.Text(1, "first answer", maxLength), b = row.Text(2, "second answer", maxLength);
        if (a == b)
            throw row.Error("both answers are the same; remove the row.");
        string id = row.Cells[3] is null ? ResponsePair.IdOf(prompt, a, b) : row.Text(3, "id", maxLength);
        if (!seen.Add(id))
            throw row.Error($"the id {id} occurs a second time; remove one of the rows or give it another id.");
        return new(id, prompt, a, b, row.Cells[4] is null ? null : row.Text(4, "model", maxLength));
    }

    private static void Write<T>(Stream stream, IEnumerable<T> rows, Action<Utf8JsonWriter, T> writeFields)
    {
        using var json = new Utf8JsonWriter(stream, Writing);
        foreach (var row in rows)
        {
            json.WriteStartObject();
            writeFields(json, row);
            json.WriteEndObject();
            json.Flush();
            stream.WriteByte((byte)'\n');
            json.Reset();
        }
    }

    private static void WriteIfKnown(Utf8JsonWriter json, string name, string? value)
    {
        if (value is not null)
            json.WriteString(name, value);
    }
}

/// <summary>Which rows <see cref="PairFile.Load"/> reads.</summary>
public sealed record PairReadOptions : DataReadOptions;
