using System.Text;

namespace Rlhf.Tests.Tracking;

/// <summary>
/// Reads W&amp;B's transaction logs from the description of the format alone: the header, LevelDB's blocks and chunks, CRC-32 bit by bit,
/// and protobuf's wire format.
/// </summary>
internal static class WandbReader
{
    /// <summary>The whole records of a file; what was cut off at its end is left out, and everything else must be sound.</summary>
    public static List<EventFileReader.Message> Read(byte[] data) => [.. Payloads(data).Select(EventFileReader.Parse)];

    public static List<EventFileReader.Message> Read(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var data = new byte[stream.Length];
        stream.ReadExactly(data);
        return Read(data);
    }

    public static List<byte[]> Payloads(byte[] data)
    {
        var records = new List<byte[]>();
        if (data.Length < 7)
            return records;
        Assert.Equal(":W&B", Encoding.ASCII.GetString(data, 0, 4));
        Assert.Equal(0xBEE1, BitConverter.ToUInt16(data, 4));
        Assert.Equal(0, data[6]);
        List<byte>? open = null;
        for (int i = 7; ;)
        {
            int left = 32768 - i % 32768;
            if (left < 7)
            {
                Assert.All(data[i..Math.Min(i + left, data.Length)], b => Assert.Equal(0, b));
                i += left;
            }
            if (i + 7 > data.Length)
                return records;
            int length = BitConverter.ToUInt16(data, i + 4), kind = data[i + 6];
            Assert.InRange(kind, 1, 4);
            Assert.True(length <= 32768 - i % 32768 - 7, "A chunk reaches over the end of its block.");
            if (i + 7 + length > data.Length)
                return records;
            Assert.Equal(BitConverter.ToUInt32(data, i), Crc32(data[(i + 6)..(i + 7 + length)]));
            Assert.Equal(kind is 3 or 4, open is not null);
            open ??= [];
            open.AddRange(data[(i + 7)..(i + 7 + length)]);
            i += 7 + length;
            if (kind is 1 or 4)
            {
                records.Add([.. open]);
                open = null;
            }
        }
    }

    public static uint Crc32(byte[] data)
    {
        uint crc = 0xffffffff;
        foreach (byte b in data)
        {
            crc ^= b;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ (0xedb88320 & (0 - (crc & 1)));
        }
        return crc ^ 0xffffffff;
    }

    /// <summary>Items (key 1, value_json 16) of a message.</summary>
    public static Dictionary<string, string> Items(EventFileReader.Message message, int field = 1) =>
        message.AllNested(field).ToDictionary(i => i.Text(1), i => i.Text(16));
}
