using System.Buffers.Binary;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Rlhf.Weights.PyTorch;

/// <summary>
/// Where the members of a zip file lie. torch stores them without compression, so that they can be read in place; a compressed
/// one is refused, and with it every zip bomb.
/// </summary>
internal sealed class ZipMembers
{
    private const int EndBytes = 22;
    private const int Zip64LocatorBytes = 20;
    private const int Zip64EndBytes = 56;
    private const int CentralBytes = 46;
    private const int LocalBytes = 30;
    private const int LongestComment = ushort.MaxValue;
    private const int MostDirectoryBytes = 256 << 20;

    private readonly SafeFileHandle file;
    private readonly string path;
    private readonly Dictionary<string, Member> members = [];
    private long directoryStart;

    private sealed record Member(ushort Flags, ushort Method, long Stored, long Size, long Header);

    private ZipMembers(SafeFileHandle file, string path) => (this.file, this.path) = (file, path);

    /// <summary>Names of all members.</summary>
    public IReadOnlyCollection<string> Names => members.Keys;

    /// <summary>Reads the directory at the file's end.</summary>
    /// <exception cref="InvalidDataException">There is none, or it is damaged.</exception>
    public static ZipMembers Read(SafeFileHandle file, long length, string path)
    {
        var zip = new ZipMembers(file, path);
        var (start, size) = zip.FindDirectory(length);
        zip.directoryStart = start;
        zip.ReadDirectory(zip.Bytes(start, (int)size));
        return zip;
    }

    /// <summary>Place and length of a member's content.</summary>
    /// <exception cref="InvalidDataException">
    /// There is no such member, it is compressed, or it reaches past the file's end.
    /// </exception>
    public (long Start, long Length) Locate(string name)
    {
        if (!members.TryGetValue(name, out var member))
            throw Refuse($"the member {Untrusted.Quote(name)} is missing.");
        if (member.Method != 0 || (member.Flags & 1) != 0 || member.Stored != member.Size)
            throw Refuse($"the member {Untrusted.Quote(name)} is compressed or encrypted; torch writes neither.");
        if (member.Header > directoryStart - LocalBytes)
            throw Refuse($"the member {Untrusted.Quote(name)} lies past the file's end.");
        var header = Bytes(member.Header, LocalBytes);
        if (UInt32(header, 0) != 0x04034b50)
            throw Refuse($"the member {Untrusted.Quote(name)} does not begin with a header.");
        var start = member.Header + LocalBytes + UInt16(header, 26) + UInt16(header, 28);
        if (start > directoryStart || member.Size > directoryStart - start)
            throw Refuse($"the member {Untrusted.Quote(name)} of {member.Size} bytes reaches past the file's end.");
        return (start, member.Size);
    }

    private InvalidDataException Refuse(string what) => Untrusted.Refuse(path, $"zip: {what}");

    private static ushort UInt16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint UInt32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    /// <summary>A 64-bit number that must be a possible place or length in a file.</summary>
    private long Number(ReadOnlySpan<byte> bytes, int at)
    {
        var value = BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);
        return value >= 0 ? value : throw Refuse("a place in the file is larger than any file.");
    }

    private byte[] Bytes(long start, int count)
    {
        var bytes = new byte[count];
        return Untrusted.Fill(file, bytes, start) ? bytes : throw Refuse("the file ends early.");
    }

    private (long Start, long Size) FindDirectory(long length)
    {
        var tailStart = Math.Max(0, length - EndBytes - LongestComment);
        var tail = Bytes(tailStart, (int)(length - tailStart));
        for (var at = tail.Length - EndBytes; at >= 0; at--)
        {
            if (UInt32(tail, at) != 0x06054b50 || at + EndBytes + UInt16(tail, at + 20) != tail.Length)
                continue;
            var (start, size) = Zip64Directory(tailStart + at) ?? (UInt32(tail, at + 16), UInt32(tail, at + 12));
            if (start > tailStart + at || size > tailStart + at - start || size > MostDirectoryBytes)
                throw Refuse("the directory at the file's end is damaged.");
            return (start, size);
        }
        throw Refuse("there is no directory at the file's end; the file is cut short or damaged, download it again.");
    }

    private (long Start, long Size)? Zip64Directory(long end)
    {
        if (end < Zip64LocatorBytes + Zip64EndBytes)
            return null;
        var locator = Bytes(end - Zip64LocatorBytes, Zip64LocatorBytes);
        if (UInt32(locator, 0) != 0x07064b50)
            return null;
        var place = Number(locator, 8);
        if (place > end - Zip64LocatorBytes - Zip64EndBytes)
            throw Refuse("the directory at the file's end is damaged.");
        var record = Bytes(place, Zip64EndBytes);
        if (UInt32(record, 0) != 0x06064b50)
            throw Refuse("the directory at the file's end is damaged.");
        return (Number(record, 48), Number(record, 40));
    }

    private void ReadDirectory(ReadOnlySpan<byte> directory)
    {
        while (!directory.IsEmpty)
        {
            if (directory.Length < CentralBytes || UInt32(directory, 0) != 0x02014b50)
                throw Refuse("the directory is damaged.");
            int nameLength = UInt16(directory, 28), extraLength = UInt16(directory, 30), commentLength = UInt16(directory, 32);
            if (directory.Length - CentralBytes < nameLength + extraLength + commentLength)
                throw Refuse("the directory is damaged.");
            var name = Encoding.UTF8.GetString(directory.Slice(CentralBytes, nameLength));
            var member = ReadMember(directory, directory.Slice(CentralBytes + nameLength, extraLength));
            if (!members.TryAdd(name, member))
                throw Refuse($"the member {Untrusted.Quote(name)} is there twice.");
            directory = directory[(CentralBytes + nameLength + extraLength + commentLength)..];
        }
    }

    private Member ReadMember(ReadOnlySpan<byte> entry, ReadOnlySpan<byte> extra)
    {
        // In a zip64 file, fields that are all ones stand, in this order, in the extra field 1.
        long size = UInt32(entry, 24), stored = UInt32(entry, 20), header = UInt32(entry, 42);
        var wide = ExtraField(extra, 1);
        size = Widen(size, ref wide);
        stored = Widen(stored, ref wide);
        header = Widen(header, ref wide);
        return new(UInt16(entry, 8), UInt16(entry, 10), stored, size, header);
    }

    private long Widen(long value, ref ReadOnlySpan<byte> wide)
    {
        if (value != uint.MaxValue)
            return value;
        if (wide.Length < sizeof(long))
            throw Refuse("the directory is damaged.");
        value = Number(wide, 0);
        wide = wide[sizeof(long)..];
        return value;
    }

    private static ReadOnlySpan<byte> ExtraField(ReadOnlySpan<byte> extra, ushort id)
    {
        while (extra.Length >= 4)
        {
            var length = Math.Min(UInt16(extra, 2), extra.Length - 4);
            if (UInt16(extra, 0) == id)
                return extra.Slice(4, length);
            extra = extra[(4 + length)..];
        }
        return [];
    }
}
