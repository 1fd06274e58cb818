namespace Rlhf.Tests.Data;

/// <summary>
/// numpy's legacy generator (np.random.seed): MT19937 (Matsumoto, Nishimura 1998) with masked rejection for intervals.
/// </summary>
internal sealed class LegacyNumpy
{
    private readonly uint[] state = new uint[624];
    private int index = 624;

    public LegacyNumpy(uint seed)
    {
        state[0] = seed;
        for (uint i = 1; i < 624; i++)
            state[i] = 1812433253u * (state[i - 1] ^ (state[i - 1] >> 30)) + i;
    }

    /// <summary>np.random.choice over a list of this length: an index.</summary>
    public int Choose(int count) => (int)Interval((uint)count - 1);

    /// <summary>np.random.permutation(count).</summary>
    public int[] Permutation(int count)
    {
        var order = Enumerable.Range(0, count).ToArray();
        for (int i = count - 1; i > 0; i--)
        {
            int j = (int)Interval((uint)i);
            (order[i], order[j]) = (order[j], order[i]);
        }
        return order;
    }

    private uint Interval(uint maximum)
    {
        if (maximum == 0)
            return 0;
        uint mask = uint.MaxValue >> System.Numerics.BitOperations.LeadingZeroCount(maximum);
        uint value;
        do value = Next() & mask;
        while (value > maximum);
        return value;
    }

    private uint Next()
    {
        if (index == 624)
        {
            for (int i = 0; i < 624; i++)
            {
                uint y = (state[i] & 0x80000000u) | (state[(i + 1) % 624] & 0x7fffffffu);
                state[i] = state[(i + 397) % 624] ^ (y >> 1) ^ ((y & 1) * 0x9908b0dfu);
            }
            index = 0;
        }
        uint z = state[index++];
        z ^= z >> 11;
        z ^= (z << 7) & 0x9d2c5680u;
        z ^= (z << 15) & 0xefc60000u;
        return z ^ (z >> 18);
    }
}
