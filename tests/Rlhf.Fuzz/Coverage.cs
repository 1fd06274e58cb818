using System.Numerics;
using System.Runtime.InteropServices;
using SharpFuzz.Common;

namespace Rlhf.Fuzz;

/// <summary>
/// Which branches of the instrumented assemblies an input took, and how often, in AFL's form: one byte for each pair of
/// successive branches, counts by orders of magnitude.
/// </summary>
internal sealed unsafe class Coverage
{
    private const int Size = 1 << 16;
    // Never freed: instrumented code always writes somewhere.
    private readonly byte* map = (byte*)NativeMemory.AlignedAlloc(Size, 64);
    private readonly byte[] seen = new byte[Size];

    /// <summary>Pairs of branches that any input took.</summary>
    public int Edges => Size - seen.AsSpan().Count((byte)0);

    public void Begin()
    {
        new Span<byte>(map, Size).Clear();
        Trace.SharedMem = map;
        Trace.PrevLocation = 0;
    }

    /// <summary>True when the input did what none did before.</summary>
    public bool End()
    {
        bool isNew = false;
        for (int at = 0; at < Size; at += Vector<byte>.Count)
        {
            if (Vector.EqualsAll(*(Vector<byte>*)(map + at), Vector<byte>.Zero))
                continue;
            for (int i = at; i < at + Vector<byte>.Count; i++)
            {
                byte bit = Magnitude(map[i]);
                isNew |= (seen[i] & bit) != bit;
                seen[i] |= bit;
            }
        }
        return isNew;
    }

    private static byte Magnitude(byte count) => count switch
    {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        <= 7 => 8,
        <= 15 => 16,
        <= 31 => 32,
        <= 127 => 64,
        _ => 128,
    };
}
