using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Text;
using Google.Protobuf;
using static Rlhf.Runtime.Files.ProtobufFields;

namespace Rlhf.Tracking;

/// <summary>
/// The messages of TensorBoard's event files, written field by field (tensorflow/core/util/event.proto,
/// framework/summary.proto), and the frame around each of them in the file.
/// </summary>
internal static class TensorBoardEvents
{
    private const int HistogramBuckets = 64, StringType = 7, TensorDataClass = 2, SessionStarted = 1;

    /// <summary>The event that every file begins with.</summary>
    public static byte[] FileVersion(DateTimeOffset time) => Event(time, 0, output =>
    {
        output.WriteTag(3, WireFormat.WireType.LengthDelimited);
        output.WriteString("brain.Event:2");
    });

    /// <summary>Tells TensorBoard to hide what was logged for this step and later ones before.</summary>
    public static byte[] SessionStart(DateTimeOffset time, long step) =>
        Event(time, step, output => Nested(output, 7, Message(log => Integer(log, 1, SessionStarted))));

    /// <summary>One step's values.</summary>
    public static byte[] Summary(DateTimeOffset time, long step, IEnumerable<byte[]> values) => Event(time, step, output =>
        Nested(output, 5, Message(summary =>
        {
            foreach (var value in values)
                Nested(summary, 1, value);
        })));

    /// <summary>A single number.</summary>
    public static byte[] Scalar(string tag, double value) => Message(output =>
    {
        Text(output, 1, tag);
        output.WriteTag(2, WireFormat.WireType.Fixed32);
        output.WriteFloat((float)value);
    });

    /// <summary>The finite values in buckets of equal width; null when there is none.</summary>
    public static byte[]? Histogram(string tag, float[] values)
    {
        var finite = values.Where(float.IsFinite).Select(value => (double)value).ToArray();
        if (finite.Length == 0)
            return null;
        double min = finite.Min(), max = finite.Max();
        var counts = new double[min == max ? 1 : HistogramBuckets];
        foreach (double value in finite)
            counts[min == max ? 0 : Math.Min(counts.Length - 1, (int)((value - min) / (max - min) * counts.Length))]++;
        var limits = counts.Select((_, i) => i == counts.Length - 1 ? max : min + (max - min) * (i + 1) / counts.Length);
        return Message(output =>
        {
            Text(output, 1, tag);
            Nested(output, 5, Message(histogram =>
            {
                Number(histogram, 1, min);
                Number(histogram, 2, max);
                Number(histogram, 3, finite.Length);
                Number(histogram, 4, finite.Sum());
                Number(histogram, 5, finite.Sum(value => value * value));
                Nested(histogram, 6, Doubles(limits));
                Nested(histogram, 7, Doubles(counts));
            }));
        });
    }

    /// <summary>
    /// A table for the text plugin, which shows a string tensor of two dimensions as a table; the first row is the header.
    /// </summary>
    public static byte[] Table(SampleTable table) => Message(output =>
    {
        Text(output, 1, table.Name);
        Nested(output, 8, Message(tensor =>
        {
            Integer(tensor, 1, StringType);
            Nested(tensor, 2, Message(shape =>
            {
                Nested(shape, 2, Message(rows => Integer(rows, 1, table.Rows.Count + 1)));
                Nested(shape, 2, Message(columns => Integer(columns, 1, table.Columns.Count)));
            }));
            foreach (var column in table.Columns)
                Text(tensor, 8, $"**{Markdown(column)}**");
            foreach (var row in table.Rows)
                for (int i = 0; i < table.Columns.Count; i++)
                    Text(tensor, 8, Markdown(Cell(row[i])));
        }));
        Nested(output, 9, Message(metadata =>
        {
            Nested(metadata, 1, Message(plugin => Text(plugin, 1, "text")));
            Integer(metadata, 4, TensorDataClass);
        }));
    });

    /// <summary>A record of the file: length, its checksum, the message, its checksum.</summary>
    public static byte[] Frame(byte[] message)
    {
        var frame = new byte[message.Length + 16];
        BinaryPrimitives.WriteUInt64LittleEndian(frame, (ulong)message.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(8), MaskedCrc32C(frame.AsSpan(0, 8)));
        message.CopyTo(frame, 12);
        BinaryPrimitives.WriteUInt32LittleEndian(frame.AsSpan(12 + message.Length), MaskedCrc32C(message));
        return frame;
    }

    /// <summary>
    /// CRC-32C (Castagnoli), masked as TensorFlow does so that a checksum of data with checksums stays meaningful.
    /// </summary>
    internal static uint MaskedCrc32C(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte b in data)
            crc = BitOperations.Crc32C(crc, b);
        return BitOperations.RotateRight(~crc, 15) + 0xa282ead8;
    }

    private static byte[] Event(DateTimeOffset time, long step, Action<CodedOutputStream> what) => Message(output =>
    {
        Number(output, 1, (time - DateTimeOffset.UnixEpoch).TotalSeconds);
        Integer(output, 2, step);
        what(output);
    });

    private static byte[] Doubles(IEnumerable<double> values) => [.. values.SelectMany(BitConverter.GetBytes)];

    private static string Cell(object? value) => value switch
    {
        null => "",
        double number => number.ToString("G6", CultureInfo.InvariantCulture),
        float number => number.ToString("G6", CultureInfo.InvariantCulture),
        _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
    };

    /// <summary>Text that TensorBoard's Markdown shows as it is.</summary>
    private static string Markdown(string text)
    {
        var escaped = new StringBuilder(text.Length);
        foreach (char c in text.Trim())
            _ = c switch
            {
                '&' => escaped.Append("&amp;"),
                '<' => escaped.Append("&lt;"),
                '>' => escaped.Append("&gt;"),
                '\n' => escaped.Append("  \n"),
                '\\' or '`' or '*' or '_' or '{' or '}' or '[' or ']' or '(' or ')' or '#' or '+' or '-' or '.' or '!' =>
                    escaped.Append('\\').Append(c),
                _ => escaped.Append(c),
            };
        return escaped.ToString();
    }
}
