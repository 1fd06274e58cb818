using Rlhf.Tracking;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Rlhf.Cli.Verbs;

/// <summary>
/// Writes <c>metrics.jsonl</c>, one line per step, and <c>samples.jsonl</c>, one line per row of a table. Lines are complete at any
/// moment, so that a program can follow the files while the run goes on. A number that is not finite becomes null.
/// </summary>
internal sealed class JsonlSink : IMetricSink
{
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private readonly FileStream metrics, samples;

    /// <summary>Opens the two files for appending; the folder is made when it does not exist.</summary>
    /// <exception cref="IOException">A file cannot be opened.</exception>
    public JsonlSink(string folder)
    {
        Directory.CreateDirectory(folder);
        metrics = Open(Path.Combine(folder, "metrics.jsonl"));
        samples = Open(Path.Combine(folder, "samples.jsonl"));
    }

    /// <inheritdoc/>
    public string Name => "JSON lines";

    /// <inheritdoc/>
    public void Write(MetricRecord record) => WriteLine(metrics, writer =>
    {
        writer.WriteNumber("step", record.Step);
        writer.WriteString("time", record.Time);
        foreach (var (name, value) in record.Scalars)
            WriteNumber(writer, name, value);
    });

    /// <inheritdoc/>
    public void Write(SampleTable table)
    {
        foreach (var row in table.Rows)
            WriteLine(samples, writer =>
            {
                writer.WriteString("table", table.Name);
                writer.WriteNumber("step", table.Step);
                foreach (var (column, cell) in table.Columns.Zip(row))
                    WriteCell(writer, column, cell);
            });
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        metrics.Dispose();
        samples.Dispose();
    }

    private static FileStream Open(string path) => new(path, FileMode.Append, FileAccess.Write, FileShare.Read | FileShare.Delete);

    private static void WriteLine(FileStream file, Action<Utf8JsonWriter> write)
    {
        using var line = new MemoryStream();
        using (var writer = new Utf8JsonWriter(line, Options))
        {
            writer.WriteStartObject();
            write(writer);
            writer.WriteEndObject();
        }
        line.WriteByte((byte)'\n');
        file.Write(line.GetBuffer().AsSpan(0, (int)line.Length));
        file.Flush();
    }

    private static void WriteNumber(Utf8JsonWriter writer, string name, double value)
    {
        if (double.IsFinite(value))
            writer.WriteNumber(name, value);
        else
            writer.WriteNull(name);
    }

    private static void WriteCell(Utf8JsonWriter writer, string name, object? cell)
    {
        switch (cell)
        {
            case null: writer.WriteNull(name); break;
            case string text: writer.WriteString(name, text); break;
            case bool flag: writer.WriteBoolean(name, flag); break;
            case long whole: writer.WriteNumber(name, whole); break;
            case int whole: writer.WriteNumber(name, whole); break;
            case float number: WriteNumber(writer, name, number); break;
            case double number: WriteNumber(writer, name, number); break;
            default: writer.WriteString(name, Convert.ToString(cell, System.Globalization.CultureInfo.InvariantCulture)); break;
        }
    }
}
