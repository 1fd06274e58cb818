using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Google.Protobuf;
using static Rlhf.Runtime.Files.ProtobufFields;

namespace Rlhf.Tracking.Wandb;

/// <summary>
/// The records of a Weights &amp; Biases run, written field by field (wandb/proto/wandb_internal.proto), and the JSON of the
/// values in them.
/// </summary>
internal static class WandbRecords
{
    public const int HistogramBins = 64, MostRows = 10_000;
    private const int RecordNumber = 1, History = 2, Summary = 3, Config = 5, Files = 6, Run = 17, Exit = 18;

    /// <summary>JSON as it is in .wandb files and tables.</summary>
    public static readonly JsonSerializerOptions Json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>What a run is; the first record of every log.</summary>
    public static byte[] OfRun(
        long number, string id, string project, string name, DateTimeOffset start, IEnumerable<KeyValuePair<string, string>> config) =>
        Record(number, Run, Message(run =>
        {
            Text(run, 1, id);
            Text(run, 3, project);
            Nested(run, 4, Items(1, config));
            Text(run, 8, name);
            Text(run, 13, Environment.MachineName);
            Nested(run, 17, Message(time =>
            {
                Integer(time, 1, start.ToUnixTimeSeconds());
                Integer(time, 2, start.Ticks % TimeSpan.TicksPerSecond * 100);
            }));
        }));

    /// <summary>Settings, under their names.</summary>
    public static byte[] OfConfig(long number, IEnumerable<KeyValuePair<string, string>> items) => Record(number, Config, Items(1, items));

    /// <summary>A step's row: values as JSON.</summary>
    public static byte[] OfHistory(long number, long step, IEnumerable<KeyValuePair<string, string>> items) =>
        Record(number, History, Message(history =>
        {
            foreach (var item in items)
                Nested(history, 1, Item(item));
            Nested(history, 2, Message(s => Integer(s, 1, step)));
        }));

    /// <summary>The newest values.</summary>
    public static byte[] OfSummary(long number, IEnumerable<KeyValuePair<string, string>> items) =>
        Record(number, Summary, Items(1, items));

    /// <summary>Files that lie in files/.</summary>
    public static byte[] OfFiles(long number, WandbFileType type, params IEnumerable<string> paths) =>
        Record(number, Files, Message(files =>
        {
            foreach (var path in paths)
                Nested(files, 1, Message(file =>
                {
                    Text(file, 1, path);
                    Integer(file, 2, type == WandbFileType.Media ? 0 : 1); // now, or when the run ends
                    Integer(file, 3, (int)type);
                }));
        }));

    /// <summary>How the run ended, and after how many seconds.</summary>
    public static byte[] OfExit(long number, int code, long seconds) => Record(number, Exit, Message(exit =>
    {
        Integer(exit, 1, code);
        Integer(exit, 2, seconds);
    }));

    /// <summary>Number and step of a record that an earlier process wrote; the step of one that is no row is null.</summary>
    /// <exception cref="InvalidProtocolBufferException">It is no record.</exception>
    public static (long Number, long? Step, double? Runtime, bool IsExit) Peek(byte[] record)
    {
        var (number, step, runtime, isExit) = (0L, (long?)null, (double?)null, false);
        ForEachField(record, (field, input) =>
        {
            if (field == RecordNumber)
                number = input.ReadInt64();
            else if (field == History)
                ForEachField(input.ReadBytes().ToByteArray(), (inner, row) =>
                {
                    if (inner == 2)
                        ForEachField(row.ReadBytes().ToByteArray(), (_, s) => step = s.ReadInt64());
                    else
                        runtime = RuntimeOf(row.ReadBytes().ToByteArray()) ?? runtime;
                });
            else
            {
                isExit |= field == Exit;
                input.ReadBytes();
            }
        });
        return (number, step, runtime, isExit);
    }

    /// <summary>A single number; W&amp;B's JSON knows NaN and infinities as Python writes them.</summary>
    public static string Number(double value) => double.IsFinite(value) ? value.ToString("R", CultureInfo.InvariantCulture)
        : double.IsNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";

    /// <summary>Finite values in bins of equal width; null when there is none.</summary>
    public static string? Histogram(float[] values)
    {
        var finite = values.Where(float.IsFinite).Select(value => (double)value).ToArray();
        if (finite.Length == 0)
            return null;
        double low = finite.Min(), high = finite.Max();
        if (low == high)
            (low, high) = (low - 0.5, high + 0.5);
        var counts = new int[HistogramBins];
        foreach (double value in finite)
            counts[Math.Min(HistogramBins - 1, (int)((value - low) / (high - low) * HistogramBins))]++;
        var bins = Enumerable.Range(0, HistogramBins + 1).Select(i => low + (high - low) * i / HistogramBins);
        return JsonSerializer.Serialize(new { _type = "histogram", values = counts, bins });
    }

    /// <summary>
    /// A table's file: at most <see cref="MostRows"/> rows, as many as W&amp;B shows; what JSON has no number for is null.
    /// </summary>
    public static byte[] Table(SampleTable table) => JsonSerializer.SerializeToUtf8Bytes(new JsonObject
    {
        ["columns"] = new JsonArray([.. table.Columns.Select(c => (JsonNode?)Clean(c))]),
        ["data"] = new JsonArray([.. table.Rows.Take(MostRows).Select(row => (JsonNode?)new JsonArray([.. row.Select(Cell)]))]),
    }, Json);

    private static JsonNode? Cell(object? value) => value switch
    {
        null => null,
        bool flag => flag,
        long number => number,
        int number => number,
        float number => float.IsFinite(number) ? number : null,
        double number => double.IsFinite(number) ? number : null,
        _ => Clean(Convert.ToString(value, CultureInfo.InvariantCulture) ?? ""),
    };

    // JsonNode refuses half a surrogate pair.
    private static string Clean(string text) => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));

    private static byte[] Record(long number, int field, byte[] message) => Message(record =>
    {
        Integer(record, RecordNumber, number);
        Nested(record, field, message);
    });

    private static byte[] Items(int field, IEnumerable<KeyValuePair<string, string>> items) => Message(output =>
    {
        foreach (var item in items)
            Nested(output, field, Item(item));
    });

    private static byte[] Item(KeyValuePair<string, string> item) => Message(output =>
    {
        Text(output, 1, item.Key);
        Text(output, 16, item.Value);
    });

    private static double? RuntimeOf(byte[] item)
    {
        var (key, value) = ("", "");
        ForEachField(item, (field, input) =>
        {
            if (field == 1)
                key = input.ReadString();
            else if (field == 16)
                value = input.ReadString();
            else
                input.ReadBytes();
        });
        return key == "_runtime" && double.TryParse(value, CultureInfo.InvariantCulture, out double seconds) ? seconds : null;
    }

    private static void ForEachField(byte[] message, Action<int, CodedInputStream> read)
    {
        using var input = new CodedInputStream(message);
        while (input.ReadTag() is var tag and not 0)
            if (WireFormat.GetTagWireType(tag) is WireFormat.WireType.LengthDelimited || WireFormat.GetTagFieldNumber(tag) is 1 or 2)
                read(WireFormat.GetTagFieldNumber(tag), input);
            else
                input.SkipLastField();
    }
}

/// <summary>What a file of a run is.</summary>
internal enum WandbFileType
{
    /// <summary>W&amp;B's own.</summary>
    Wandb = 1,

    /// <summary>Part of what was logged.</summary>
    Media = 2,
}
