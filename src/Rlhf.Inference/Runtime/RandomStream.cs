using System.Text;

namespace Rlhf.Runtime;

/// <summary>
/// A named stream of random numbers: the n-th number is a pure function of (seed, name, n), so a stream is resumed by
/// remembering <see cref="Position"/> alone, and streams of different names never disturb each other.
/// </summary>
/// <remarks>SplitMix64 over a counter (Steele, Lea, Flood 2014), keyed by an FNV-1a hash of the name.</remarks>
public sealed class RandomStream
{
    private readonly ulong key;

    /// <summary>A stream for a run's seed and a purpose, for example <c>"data/shuffle"</c>.</summary>
    public RandomStream(long seed, string name)
    {
        ulong hash = 0xcbf29ce484222325;
        foreach (byte b in Encoding.UTF8.GetBytes(name))
            hash = (hash ^ b) * 0x100000001b3;
        key = Mix(Mix((ulong)seed + 0x9e3779b97f4a7c15) ^ hash);
    }

    private RandomStream(ulong key) => this.key = key;

    /// <summary>How many numbers were drawn; set it to resume.</summary>
    public long Position { get; set; }

    /// <summary>An independent stream for one item, for example one row of one step.</summary>
    public RandomStream Fork(long index) => new(Mix(key ^ Mix((ulong)index + 0x632be59bd9b4e019)));

    /// <summary>The next 64 random bits.</summary>
    public ulong NextUInt64() => Mix(key + (ulong)++Position * 0x9e3779b97f4a7c15);

    /// <summary>Uniform in [0, 1), with 53 random bits.</summary>
    public double NextDouble() => (NextUInt64() >> 11) * (1.0 / (1ul << 53));

    /// <summary>Uniform in [<paramref name="minimum"/>, <paramref name="maximum"/>): the upper bound is excluded.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The interval is empty.</exception>
    public int NextInt32(int minimum, int maximum)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(minimum, maximum);
        return (int)(minimum + (long)(((UInt128)NextUInt64() * (ulong)((long)maximum - minimum)) >> 64));
    }

    /// <summary>One number of the standard normal distribution (Box and Muller).</summary>
    public double NextGaussian()
    {
        double u = 1.0 - NextDouble(), v = NextDouble();
        return Math.Sqrt(-2.0 * Math.Log(u)) * Math.Cos(2.0 * Math.PI * v);
    }

    /// <summary>A uniform permutation of 0..<paramref name="count"/>-1 (Fisher and Yates).</summary>
    public int[] NextPermutation(int count)
    {
        var order = Enumerable.Range(0, count).ToArray();
        for (int i = count - 1; i > 0; i--)
        {
            int j = NextInt32(0, i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }
        return order;
    }

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
}
