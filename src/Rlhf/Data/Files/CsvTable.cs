using System.Text;
using System.Text.Json.Nodes;
using CsvHelper;
using Rlhf.Runtime.Text;

namespace Rlhf.Data.Files;

/// <summary>
/// Reads comma- or tab-separated files with a header line, as RFC 4180 has them: quoted fields may hold line ends.
/// </summary>
internal static class CsvTable
{
    // Other columns, quotation marks and the bytes of characters come on top of the longest text.
    private const int RecordSlack = 1 << 20;

    public static IEnumerable<TableRow> Read(
        Stream stream, string file, IReadOnlyList<TableColumn> columns, char separator, int maxTextLength,
        bool keepsOthers = false)
    {
        using var csv = CsvReader.Create(BoundedLines.Open(stream), new CsvReaderOptions
        {
            Separator = separator,
            TrackLineNumbers = true,
            MalformedData = CsvMalformedDataHandling.Throw,
            FieldCountMismatch = CsvFieldCountHandling.Throw,
            MaxRecordSize = (int)Math.Min(int.MaxValue, 4L * maxTextLength + RecordSlack),
        });
        string[] header = [.. Guard(file, csv, () => csv.Headers).Select(name => name.Trim())];
        if (header.Length == 0)
            throw new InvalidDataException($"{file} is empty; its first line must name the columns.");
        var indices = columns.Select(c => c.FindIn(file, header) is { } name ? Array.IndexOf(header, name) : -1).ToArray();
        while (Guard(file, csv, csv.Read))
            yield return new TableRow([.. indices.Select(i => i < 0 ? null : csv.GetString(i))], file, "line", csv.LineNumber)
            {
                Others = !keepsOthers ? null : [.. header.Index().Where(column => !indices.Contains(column.Index))
                    .Select(column => KeyValuePair.Create(column.Item, (JsonNode?)JsonValue.Create(csv.GetString(column.Index))))],
            };
    }

    private static T Guard<T>(string file, CsvReader csv, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (CsvFormatException error)
        {
            throw new InvalidDataException(
                $"{file}, line {Math.Max(1, error.LineNumber)}: {UntrustedText.Clean(error.Message).TrimEnd('.')}. "
                + "Put a field that holds separators, quotation marks or line ends into \"...\" and double the quotation marks "
                + "inside.", error);
        }
        catch (DecoderFallbackException error)
        {
            throw new InvalidDataException(
                $"{file}, after line {csv.LineNumber}: the bytes are not UTF-8; save the file as UTF-8.", error);
        }
    }
}
