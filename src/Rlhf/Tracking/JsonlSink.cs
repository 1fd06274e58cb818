using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Rlhf.Runtime.Files;

namespace Rlhf.Tracking;

/// <summary>
/// Writes a run's <c>metrics.jsonl</c> and <c>samples.jsonl</c>, which every run has. Each line is handed to the operating system
/// as it is written, so another program can follow the files and a killed run loses nothing.
/// </summary>
/// <remarks>
/// <para><c>metrics.jsonl</c> has one object per step: <c>step</c>, <c>time</c> (ISO 8601, UTC), then every scalar under its
/// own name. JSON has no NaN and no infinity, so these are the strings <c>"NaN"</c>, <c>"Infinity"</c> and <c>"-Infinity"</c>,
/// which .NET's named floating-point literals and Python's <c>float()</c> read back. Distributions are left to other
/// sinks.</para>
/// <para><c>samples.jsonl</c> has one object per table row: <c>step</c>, <c>table</c>, then every cell under its column's
/// name.</para>
/// </remarks>
public sealed class JsonlSink : IMetricSink
{
    /// <summary>One JSON object per step.</summary>
    public const string MetricsFile = "metrics.jsonl";

    /// <summary>One JSON object per row of a table: sampled texts, warnings.</summary>
    public const string SamplesFile = "samples.jsonl";

    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly LineFile metrics, samples;

    /// <summary>Opens the two files in a run's folder, which is made if need be; existing files are continued.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="resumeAfterStep">
    /// When the run continues from a checkpoint, its step: lines of later steps, and a line that a crash cut short, are removed
    /// first, so that no step is there twice. Null: existing lines stay.
    /// </param>
    /// <exception cref="IOException">The files cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">The files may not be written.</exception>
    public JsonlSink(string folder, long? resumeAfterStep = null)
    {
        Directory.CreateDirectory(folder);
        string metricsPath = Path.Combine(folder, MetricsFile), samplesPath = Path.Combine(folder, SamplesFile);
        if (resumeAfterStep is { } step)
        {
            KeepUntil(metricsPath, step);
            KeepUntil(samplesPath, step);
        }
        metrics = new(metricsPath);
        try
        {
            samples = new(samplesPath);
        }
        catch
        {
            metrics.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public string Name => MetricsFile;

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A scalar is named step or time.</exception>
    public void Write(MetricRecord record)
    {
        RefuseNames(record.Scalars.Keys, "step", "time");
        metrics.Add(json =>
        {
            json.WriteNumber("step", record.Step);
            json.WriteString("time", record.Time.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture));
            foreach (var (name, value) in record.Scalars)
                WriteValue(json, name, value);
        });
        metrics.Flush();
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A column is named step or table, or a row has not one cell for each
    /// column.</exception>
    public void Write(SampleTable table)
    {
        RefuseNames(table.Columns, "step", "table");
        if (table.Rows.FirstOrDefault(row => row.Count != table.Columns.Count) is { } odd)
            throw new ArgumentException(
                $"A row of table {table.Name} has {odd.Count} cells for {table.Columns.Count} columns.", nameof(table));
        foreach (var row in table.Rows)
            samples.Add(json =>
            {
                json.WriteNumber("step", table.Step);
                json.WriteString("table", table.Name);
                for (int i = 0; i < row.Count; i++)
                    WriteValue(json, table.Columns[i], row[i]);
            });
        samples.Flush();
    }

    /// <inheritdoc/>
    /// <exception cref="IOException">Lines that could not be written before still cannot.</exception>
    public void Dispose()
    {
        try
        {
            metrics.Dispose();
        }
        finally
        {
            samples.Dispose();
        }
    }

    private static void WriteValue(Utf8JsonWriter json, string name, object? value)
    {
        switch (value)
        {
            case null: json.WriteNull(name); break;
            case bool flag: json.WriteBoolean(name, flag); break;
            case long number: json.WriteNumber(name, number); break;
            case int number: json.WriteNumber(name, number); break;
            case float single when float.IsFinite(single): json.WriteNumber(name, single); break;
            case double number when double.IsFinite(number): json.WriteNumber(name, number); break;
            default: json.WriteString(name, Convert.ToString(value, CultureInfo.InvariantCulture)); break;
        }
    }

    private static void RefuseNames(IEnumerable<string> names, params ReadOnlySpan<string> reserved)
    {
        foreach (var name in names)
            if (reserved.Contains(name))
                throw new ArgumentException($"The name \"{name}\" stands for something else on each line; choose another name.");
    }

    /// <summary>Rewrites a file without the lines of later steps; it is replaced as a whole or not at all.</summary>
    private static void KeepUntil(string path, long step)
    {
        if (!File.Exists(path))
            return;
        AtomicFile.Write(path, stream =>
        {
            using var earlier = JsonlFile.Open(path);
            JsonlFile.ReadLines(earlier, 0, (_, line) =>
            {
                if (JsonlRow.Parse(line)?.Step <= step)
                {
                    stream.Write(line);
                    stream.WriteByte((byte)'\n');
                }
            }, takesRest: true);
        });
    }

    /// <summary>A file of lines. What a full disk does not take is kept and written when it does.</summary>
    private sealed class LineFile(string path) : IDisposable
    {
        private const int MostKeptBytes = 64 << 20;
        private readonly FileStream file = new(path, FileMode.Append, FileAccess.Write, FileShare.Read | FileShare.Delete, bufferSize: 0);
        private readonly ArrayBufferWriter<byte> unwritten = new();
        private bool fails;

        public void Add(Action<Utf8JsonWriter> fields)
        {
            if (unwritten.WrittenCount > MostKeptBytes)
                return;
            using (var json = new Utf8JsonWriter(unwritten, Options))
            {
                json.WriteStartObject();
                fields(json);
                json.WriteEndObject();
            }
            unwritten.Write("\n"u8);
        }

        /// <summary>Writes what is there; only the first of several failures in a row is thrown.</summary>
        public void Flush()
        {
            try
            {
                WriteAll();
                fails = false;
            }
            catch (IOException) when (fails)
            {
                // It was told.
            }
            catch (IOException)
            {
                fails = true;
                throw;
            }
        }

        public void Dispose()
        {
            using (file)
                WriteAll();
        }

        private void WriteAll()
        {
            if (unwritten.WrittenCount == 0)
                return;
            long end = file.Length;
            try
            {
                file.Write(unwritten.WrittenSpan);
            }
            catch (IOException)
            {
                file.SetLength(end); // no half line stays
                throw;
            }
            unwritten.ResetWrittenCount();
        }
    }
}
