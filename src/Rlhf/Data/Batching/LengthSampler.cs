using Rlhf.Runtime;

namespace Rlhf.Data.Batching;

/// <summary>
/// Draws lengths uniformly, as TRL's class of the same name does: <c>new LengthSampler(2, 8)</c> yields 2 to 7, because the
/// upper bound itself is never drawn.
/// </summary>
public sealed class LengthSampler
{
    /// <summary>A sampler of lengths from <paramref name="minValue"/> to <paramref name="maxValue"/> - 1.</summary>
    /// <exception cref="ArgumentException">A negative minimum, or no length between the bounds.</exception>
    public LengthSampler(int minValue, int maxValue)
    {
        if (minValue < 0)
            throw new ArgumentOutOfRangeException(nameof(minValue), minValue, "A length cannot be negative.");
        if (maxValue <= minValue)
            throw new ArgumentException(
                $"LengthSampler({minValue}, {maxValue}) has nothing to draw from: the upper bound is excluded, so it must be "
                + "above the lower one.",
                nameof(maxValue));
        (MinValue, MaxValue) = (minValue, maxValue);
    }

    /// <summary>The smallest length, in tokens.</summary>
    public int MinValue { get; }

    /// <summary>The bound above the largest length: the largest is one less.</summary>
    public int MaxValue { get; }

    /// <summary>One length; takes one number from the stream.</summary>
    public int Sample(RandomStream stream) => Sample(count => stream.NextInt32(0, count));

    /// <summary>As many lengths as asked for, in the order that single draws would give them.</summary>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is negative.</exception>
    public int[] Sample(RandomStream stream, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        var lengths = new int[count];
        for (int i = 0; i < count; i++)
            lengths[i] = Sample(stream);
        return lengths;
    }

    /// <summary>One length by a choice among n equally likely indices, which is how TRL maps its generator to lengths.</summary>
    internal int Sample(Func<int, int> choose) => MinValue + choose(MaxValue - MinValue);
}
