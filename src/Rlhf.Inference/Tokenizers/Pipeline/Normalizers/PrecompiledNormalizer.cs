using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Rlhf.Tokenizers.Pipeline.Normalizers;

/// <summary>
/// SentencePiece's precompiled rules: a double-array trie (darts-clone) of what is replaced, and the replacements, each ended by a zero byte.
/// </summary>
internal sealed class PrecompiledNormalizer : Normalizer
{
    /// <summary>Longer clusters are looked up character by character only.</summary>
    private const int LongestCluster = 6;

    private readonly uint[] trie;
    private readonly byte[] replacements;

    /// <exception cref="ArgumentException">The rules are cut off or point outside themselves.</exception>
    public PrecompiledNormalizer(byte[] rules)
    {
        int size = rules.Length >= 4 ? BinaryPrimitives.ReadInt32LittleEndian(rules) : -1;
        if (size < 4 || size % 4 != 0 || size > rules.Length - 4)
            throw new ArgumentException("are cut off");
        trie = new uint[size / 4];
        for (int i = 0; i < trie.Length; i++)
            trie[i] = BinaryPrimitives.ReadUInt32LittleEndian(rules.AsSpan(4 + 4 * i));
        replacements = rules[(4 + size)..];
    }

    public override string Normalize(string text, bool continues)
    {
        var result = new StringBuilder(text.Length + 8);
        for (int at = 0; at < text.Length;)
        {
            int length = StringInfo.GetNextTextElementLength(text, at);
            var cluster = text.AsSpan(at, length);
            at += length;
            if (Encoding.UTF8.GetByteCount(cluster) < LongestCluster && Replacement(cluster) is { } whole)
            {
                result.Append(whole);
                continue;
            }
            foreach (var rune in cluster.EnumerateRunes())
                result.Append(Replacement(rune.ToString()) ?? rune.ToString());
        }
        return result.ToString();
    }

    /// <summary>What stands for a text: the rule of its shortest beginning that has one, as in the reference.</summary>
    private string? Replacement(ReadOnlySpan<char> text)
    {
        Span<byte> bytes = stackalloc byte[8];
        int count = Encoding.UTF8.GetBytes(text, bytes), node = 0;
        if (!Unit(node, out uint unit))
            return null;
        node ^= Offset(unit);
        foreach (byte b in bytes[..count])
        {
            node ^= b;
            if (b == 0 || !Unit(node, out unit) || (unit & 0x800000FFu) != b)
                return null;
            node ^= Offset(unit);
            if ((unit >> 8 & 1) == 1 && Unit(node, out uint leaf))
                return ReplacementAt((int)(leaf & 0x7FFFFFFF));
        }
        return null;
    }

    private string? ReplacementAt(int start)
    {
        if (start >= replacements.Length)
            return null;
        var rest = replacements.AsSpan(start);
        int end = rest.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? rest : rest[..end]);
    }

    private bool Unit(int node, out uint unit)
    {
        bool known = (uint)node < (uint)trie.Length;
        unit = known ? trie[node] : 0;
        return known;
    }

    private static int Offset(uint unit) => (int)((unit >> 10) << (int)((unit & (1u << 9)) >> 6));
}
