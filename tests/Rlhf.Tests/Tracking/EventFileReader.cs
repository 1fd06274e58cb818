using System.Text;

namespace Rlhf.Tests.Tracking;

/// <summary>
/// Reads TensorBoard event files from the description of the format alone: framing, CRC-32C bit by bit, and protobuf's wire
/// format.
/// </summary>
internal static class EventFileReader
{
    /// <summary>A message's fields in order: number, wire type, and the value (integer, bits, or bytes).</summary>
    internal sealed class Message(List<(int Number, int Wire, ulong Bits, byte[] Bytes)> fields)
    {
        public bool Has(int number) => fields.Any(f => f.Number == number);
        public ulong Varint(int number) => One(number, 0).Bits;
        public double Double(int number) => BitConverter.UInt64BitsToDouble(One(number, 1).Bits);
        public float Float(int number) => BitConverter.UInt32BitsToSingle((uint)One(number, 5).Bits);
        public string Text(int number) => Encoding.UTF8.GetString(One(number, 2).Bytes);
        public Message Nested(int number) => Parse(One(number, 2).Bytes);
        public Message[] AllNested(int number) => [.. fields.Where(f => f.Number == number).Select(f => Parse(f.Bytes))];
        public string[] AllTexts(int number) =>
            [.. fields.Where(f => f.Number == number).Select(f => Encoding.UTF8.GetString(f.Bytes))];

        public double[] PackedDoubles(int number) =>
            [.. One(number, 2).Bytes.Chunk(8).Select(b => BitConverter.ToDouble(b))];

        private (int Number, int Wire, ulong Bits, byte[] Bytes) One(int number, int wire)
        {
            var field = Assert.Single(fields, f => f.Number == number);
            Assert.Equal(wire, field.Wire);
            return field;
        }
    }

    public static List<Message> Read(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var data = new byte[stream.Length];
        stream.ReadExactly(data);
        return Read(data);
    }

    /// <summary>The whole events of a file; what was cut off at its end is left out, and everything else must be sound.</summary>
    public static List<Message> Read(byte[] data)
    {
        var events = new List<Message>();
        for (int i = 0; i + 16 <= data.Length;)
        {
            int length = checked((int)BitConverter.ToUInt64(data, i));
            if (i + 16 + length > data.Length)
                break;
            Assert.Equal(Masked(data[i..(i + 8)]), BitConverter.ToUInt32(data, i + 8));
            var payload = data[(i + 12)..(i + 12 + length)];
            Assert.Equal(Masked(payload), BitConverter.ToUInt32(data, i + 12 + length));
            events.Add(Parse(payload));
            i += length + 16;
        }
        return events;
    }

    public static uint Crc32C(byte[] data)
    {
        uint crc = 0xffffffff;
        foreach (byte b in data)
        {
            crc ^= b;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
        }
        return crc ^ 0xffffffff;
    }

    private static uint Masked(byte[] data)
    {
        uint crc = Crc32C(data);
        return unchecked(((crc >> 15) | (crc << 17)) + 0xa282ead8);
    }

    public static Message Parse(byte[] data)
    {
        var fields = new List<(int, int, ulong, byte[])>();
        for (int i = 0; i < data.Length;)
        {
            ulong key = Varint(data, ref i);
            switch (key & 7)
            {
                case 0: fields.Add(((int)(key >> 3), 0, Varint(data, ref i), [])); break;
                case 1: fields.Add(((int)(key >> 3), 1, BitConverter.ToUInt64(data, i), [])); i += 8; break;
                case 5: fields.Add(((int)(key >> 3), 5, BitConverter.ToUInt32(data, i), [])); i += 4; break;
                case 2:
                    int length = (int)Varint(data, ref i);
                    fields.Add(((int)(key >> 3), 2, 0, data[i..(i + length)]));
                    i += length;
                    break;
                default: throw new InvalidDataException($"wire type {key & 7}");
            }
        }
        return new Message(fields);
    }

    private static ulong Varint(byte[] data, ref int i)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte b = data[i++];
            value |= (ulong)(b & 127) << shift;
            if (b < 128)
                return value;
        }
    }
}
