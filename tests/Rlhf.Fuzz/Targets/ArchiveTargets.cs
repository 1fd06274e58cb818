using System.IO.Compression;
using System.Text;
using Rlhf.Data.Files;

namespace Rlhf.Fuzz;

/// <summary>tar archives, plain and compressed.</summary>
internal static class ArchiveTargets
{
    private const int Block = 512, LargestMember = 1 << 16;
    private const long LargestTotal = 4 << 20;

    public static IEnumerable<FuzzTarget> Make()
    {
        byte[] tar =
        [
            .. Member("aclImdb/train/pos/1_9.txt", "good", '0'), .. Member("x", "30 path=aclImdb/train/neg/1_1\n", 'x'),
            .. Member("long", "bad", '0'), .. Member("y", "aclImdb/train/neg/2_1.txt\0", 'L'), .. Member("long", "worse", '0'),
            .. Member("../../etc/passwd", "", '2'), .. new byte[2 * Block],
        ];
        var tokens = AllTargets.Latin1("ustar\0", "../", "/etc/passwd", "77777777777", "00000000000", "\u0080\0\0\0\0\0\0\u00ff",
            "12 path=a\n",
            "999999 path=", "x", "L", "g", "K", "0", "1", "2", "5");
        var refused = typeof(InvalidDataException);
        yield return new("tar", input => Read(new MemoryStream(WithChecksums(input))), [tar], tokens, refused)
        { MaxLength = 16 * Block };
        yield return new("tar-gz", input => Read(new GZipStream(new MemoryStream(input), CompressionMode.Decompress)),
            [Compressed(tar), Compressed(new byte[1 << 20])], tokens, refused)
        { MaxLength = 16 * Block };
    }

    private static void Read(Stream stream)
    {
        long total = 0;
        foreach (var member in TarMembers.Read(
            stream, FuzzTarget.FileName, name => !name.Contains("skip", StringComparison.Ordinal), LargestMember, LargestTotal))
        {
            WrongResultException.Unless(member.Content.Length <= LargestMember, "a member beyond the limit");
            total += member.Content.Length;
        }
        WrongResultException.Unless(total <= LargestTotal, "an archive beyond the limit");
    }

    private static byte[] Member(string name, string content, char type)
    {
        var bytes = Encoding.UTF8.GetBytes(content);
        var blocks = new byte[Block + (bytes.Length + Block - 1) / Block * Block];
        Encoding.ASCII.GetBytes(name, blocks);
        Encoding.ASCII.GetBytes(Convert.ToString(bytes.Length, 8).PadLeft(11, '0'), blocks.AsSpan(124));
        blocks[156] = (byte)type;
        "ustar\0"u8.CopyTo(blocks.AsSpan(257));
        bytes.CopyTo(blocks, Block);
        return WithChecksums(blocks);
    }

    /// <summary>Mutations would all end at the checksum: it is made right for what looks like a header.</summary>
    private static byte[] WithChecksums(byte[] tar)
    {
        tar = (byte[])tar.Clone();
        for (int at = 0; at + Block <= tar.Length; at += Block)
        {
            var header = tar.AsSpan(at, Block);
            if (!header.Slice(257, 5).SequenceEqual("ustar"u8))
                continue;
            header.Slice(148, 8).Fill((byte)' ');
            int sum = 0;
            foreach (byte b in header)
                sum += b;
            Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0", header.Slice(148, 7));
        }
        return tar;
    }

    private static byte[] Compressed(byte[] content)
    {
        var stream = new MemoryStream();
        using (var zip = new GZipStream(stream, CompressionLevel.SmallestSize))
            zip.Write(content);
        return stream.ToArray();
    }
}
