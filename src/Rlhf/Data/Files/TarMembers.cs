using System.Text;
using Rlhf.Runtime.Text;

namespace Rlhf.Data.Files;

/// <summary>A regular file inside an archive.</summary>
internal readonly record struct TarMember(string Name, byte[] Content);

/// <summary>
/// Reads a tar stream member by member (POSIX ustar and pax, GNU long names). Only regular files that the caller wants are
/// read into memory; links, devices and everything else are passed over. All sizes are checked before anything is allocated,
/// which the runtime's own reader does not do for extended headers.
/// </summary>
internal sealed class TarMembers
{
    private const int BlockSize = 512, MaxExtendedHeader = 1 << 16;

    private readonly Stream stream;
    private readonly string file;
    private readonly long maxTotal;
    private readonly byte[] block = new byte[BlockSize];
    private long total;

    private TarMembers(Stream stream, string file, long maxTotal) =>
        (this.stream, this.file, this.maxTotal) = (stream, file, maxTotal);

    /// <summary>The wanted members in their order.</summary>
    /// <param name="stream">The tar stream, already decompressed.</param>
    /// <param name="file">The archive's name for messages.</param>
    /// <param name="wanted">Whether a member of this name is returned.</param>
    /// <param name="maxMember">Largest wanted member, in bytes; a larger one is refused.</param>
    /// <param name="maxTotal">How much the stream may hold altogether, in bytes; more is refused.</param>
    /// <exception cref="InvalidDataException">Damaged, cut off, or beyond a limit.</exception>
    public static IEnumerable<TarMember> Read(Stream stream, string file, Func<string, bool> wanted, int maxMember, long maxTotal)
    {
        var reader = new TarMembers(stream, file, maxTotal);
        string? longName = null;
        while (reader.ReadHeader() is { } header)
        {
            switch (header.Type)
            {
                case 'x':
                    longName = PaxPath(reader.ReadContent(header, MaxExtendedHeader)) ?? longName;
                    break;
                case 'L':
                    longName = CString(reader.ReadContent(header, MaxExtendedHeader));
                    break;
                case '0' or '\0' or '7' when wanted(longName ?? header.Name):
                    var name = longName ?? header.Name;
                    longName = null;
                    yield return new TarMember(name, reader.ReadContent(header with { Name = name }, maxMember));
                    break;
                case >= '1' and <= '6':
                    longName = null; // links, devices and folders have no content, whatever their size field says
                    break;
                default:
                    if (header.Type is not ('g' or 'K'))
                        longName = null;
                    reader.Skip(header.Size);
                    reader.Skip(Padding(header.Size));
                    break;
            }
        }
    }

    private readonly record struct Header(string Name, long Size, char Type);

    private Header? ReadHeader()
    {
        Fill(block);
        if (!block.AsSpan().ContainsAnyExcept((byte)0))
        {
            Drain();
            return null;
        }
        long expected = Octal(block.AsSpan(148, 8)), sum = 8 * ' ';
        for (int i = 0; i < BlockSize; i++)
            sum += i is >= 148 and < 156 ? 0 : block[i];
        long size = Octal(block.AsSpan(124, 12));
        if (sum != expected || size < 0)
            throw Bad($"no tar header at byte {total - BlockSize:N0} of the unpacked data");
        bool hasPrefix = block.AsSpan(257, 6).SequenceEqual("ustar\0"u8);
        var prefix = hasPrefix ? CString(block.AsSpan(345, 155)) : "";
        var name = CString(block.AsSpan(0, 100));
        return new Header(prefix.Length > 0 ? $"{prefix}/{name}" : name, size, (char)block[156]);
    }

    private byte[] ReadContent(Header header, int maxLength)
    {
        if (header.Size > maxLength)
            throw new InvalidDataException(
                $"{file}, member {UntrustedText.Clean(header.Name)}: "
                + $"{header.Size:N0} bytes are more than the {maxLength:N0} that are accepted.");
        var content = new byte[header.Size];
        Fill(content);
        Skip(Padding(header.Size));
        return content;
    }

    private void Skip(long count)
    {
        for (; count > 0; count -= BlockSize)
            Fill(block.AsSpan(0, (int)Math.Min(count, BlockSize)));
    }

    /// <summary>
    /// Reads the rest, which holds nothing more, so that the checksum at the end of a compressed stream is verified.
    /// </summary>
    private void Drain()
    {
        while (ReadSome(block) is > 0 and int read)
            Count(read);
    }

    private void Fill(Span<byte> target)
    {
        Count(target.Length);
        while (target.Length > 0)
        {
            int read = ReadSome(target);
            if (read == 0)
                throw Bad("it ends in the middle");
            target = target[read..];
        }
    }

    private int ReadSome(Span<byte> target)
    {
        try
        {
            return stream.Read(target);
        }
        catch (InvalidDataException error)
        {
            throw Bad("the compressed data are damaged", error);
        }
    }

    private void Count(int bytes)
    {
        total += bytes;
        if (total > maxTotal)
            throw new InvalidDataException(
                $"{file} unpacks to more than the {maxTotal:N0} bytes that are accepted; raise the limit if it is genuine.");
    }

    private InvalidDataException Bad(string what, Exception? inner = null) =>
        new($"{file} is not a whole tar archive: {what}. Download it again.", inner);

    private static long Padding(long size) => (BlockSize - size % BlockSize) % BlockSize;

    /// <summary>
    /// An octal field that ends with NUL or space; -1 when it is no such number (larger files use another form).
    /// </summary>
    private static long Octal(ReadOnlySpan<byte> field)
    {
        long value = 0;
        foreach (byte b in field.Trim(" \0"u8))
        {
            if (b is < (byte)'0' or > (byte)'7')
                return -1;
            value = value * 8 + b - '0';
        }
        return value;
    }

    private static string CString(ReadOnlySpan<byte> field)
    {
        int end = field.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? field : field[..end]);
    }

    /// <summary>The path among a pax header's records "LENGTH KEY=VALUE\n".</summary>
    private static string? PaxPath(ReadOnlySpan<byte> records)
    {
        while (records.IndexOf((byte)' ') is > 0 and <= 6 and int space
            && int.TryParse(records[..space], out int length) && length > space + 1 && length <= records.Length)
        {
            var record = records[(space + 1)..(length - 1)];
            if (record.StartsWith("path="u8))
                return Encoding.UTF8.GetString(record[5..]);
            records = records[length..];
        }
        return null;
    }
}
