using System.Buffers.Binary;
using Rlhf.Runtime.Files;

namespace Rlhf.Tracking.Wandb;

/// <summary>
/// The transaction log of a Weights &amp; Biases run: LevelDB's log format with a header of its own. Records lie in blocks of 32 KiB, in
/// chunks with a checksum each; a record that does not fit a block is split.
/// </summary>
internal sealed class WandbLog : IDisposable
{
    private const int BlockBytes = 32 << 10, HeaderBytes = 7, MostRecordBytes = 64 << 20;
    private const byte Full = 1, First = 2, Middle = 3, Last = 4;
    private static readonly byte[] FileHeader = [.. ":W&B"u8, 0xE1, 0xBE, 0];
    private readonly FileStream file;

    private WandbLog(FileStream file) => this.file = file;

    /// <summary>Begins a new log.</summary>
    public static WandbLog Create(string path)
    {
        var log = new WandbLog(Open(path, FileMode.CreateNew));
        log.file.Write(FileHeader);
        return log;
    }

    /// <summary>Goes on with a log after this many of its bytes; what follows them is removed.</summary>
    public static WandbLog Continue(string path, long length)
    {
        var log = new WandbLog(Open(path, FileMode.Open));
        log.file.SetLength(length);
        log.file.Position = length;
        return log;
    }

    /// <summary>
    /// The whole records of a log, each with the file's length up to its end. Reading ends at the first record that is cut off or damaged.
    /// </summary>
    public static IEnumerable<(byte[] Record, long End)> Read(string path)
    {
        using var file = RegularFile.Open(path, FileShare.ReadWrite | FileShare.Delete);
        var header = new byte[HeaderBytes];
        if (file.ReadAtLeast(header, HeaderBytes, throwOnEndOfStream: false) < HeaderBytes || !header.AsSpan().SequenceEqual(FileHeader))
            yield break;
        var record = new List<byte>();
        bool isOpen = false;
        while (true)
        {
            long left = BlockBytes - file.Position % BlockBytes;
            if (left < HeaderBytes)
                file.Position += left;
            if (file.ReadAtLeast(header, HeaderBytes, throwOnEndOfStream: false) < HeaderBytes)
                yield break;
            var (crc, length, kind) = (BinaryPrimitives.ReadUInt32LittleEndian(header),
                BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(4)), header[6]);
            var chunk = new byte[length];
            if (file.ReadAtLeast(chunk, length, throwOnEndOfStream: false) < length || Checksum(kind, chunk) != crc
                || kind is not (Full or First or Middle or Last) || isOpen != kind is Middle or Last
                || record.Count + length > MostRecordBytes)
                yield break;
            record.AddRange(chunk);
            isOpen = kind is First or Middle;
            if (isOpen)
                continue;
            yield return ([.. record], file.Position);
            record.Clear();
        }
    }

    /// <summary>Hands a record to the operating system: all of it, or nothing where the disk is full.</summary>
    public void Append(ReadOnlySpan<byte> record)
    {
        long end = file.Length;
        using var chunks = new MemoryStream();
        Split(record, end, chunks);
        try
        {
            file.Write(chunks.GetBuffer().AsSpan(0, (int)chunks.Length));
        }
        catch (IOException)
        {
            file.SetLength(end);
            file.Position = end;
            throw;
        }
    }

    public void Dispose() => file.Dispose();

    private static FileStream Open(string path, FileMode mode) =>
        new(path, mode, FileAccess.Write, FileShare.Read | FileShare.Delete, bufferSize: 0);

    private static void Split(ReadOnlySpan<byte> record, long position, MemoryStream chunks)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        for (bool isFirst = true; isFirst || record.Length > 0; isFirst = false)
        {
            int left = BlockBytes - (int)(position % BlockBytes);
            if (left < HeaderBytes)
            {
                chunks.Write(new byte[left]);
                (position, left) = (position + left, BlockBytes);
            }
            var chunk = record[..Math.Min(record.Length, left - HeaderBytes)];
            record = record[chunk.Length..];
            byte kind = (isFirst, record.Length == 0) switch
            {
                (true, true) => Full,
                (true, false) => First,
                (false, false) => Middle,
                _ => Last,
            };
            BinaryPrimitives.WriteUInt32LittleEndian(header, Checksum(kind, chunk));
            BinaryPrimitives.WriteUInt16LittleEndian(header[4..], (ushort)chunk.Length);
            header[6] = kind;
            chunks.Write(header);
            chunks.Write(chunk);
            position += HeaderBytes + chunk.Length;
        }
    }

    private static uint Checksum(byte kind, ReadOnlySpan<byte> chunk)
    {
        uint crc = uint.MaxValue;
        crc = Step(crc, kind);
        foreach (byte b in chunk)
            crc = Step(crc, b);
        return ~crc;
    }

    private static uint Step(uint crc, byte b) => Table[(byte)(crc ^ b)] ^ (crc >> 8);

    // CRC-32 of zlib and Ethernet, byte by byte.
    private static readonly uint[] Table = [.. Enumerable.Range(0, 256).Select(i =>
        Enumerable.Range(0, 8).Aggregate((uint)i, (crc, _) => (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320 : crc >> 1))];
}
