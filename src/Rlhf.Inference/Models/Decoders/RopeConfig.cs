namespace Rlhf.Models.Decoders;

/// <summary>How rotary frequencies are stretched for texts longer than those of the first training.</summary>
internal enum RopeType
{
    Default,
    Linear,
    Llama3,
    Dynamic,
    Yarn,
    LongRope,
}

/// <summary>
/// Rotary position embedding (https://arxiv.org/abs/2104.09864): pairs of a head's numbers are turned by position times a frequency.
/// </summary>
/// <remarks>R numbers of a head are rotated, in R / 2 pairs: number i with number i + R / 2. θ is the base.</remarks>
internal sealed record RopeConfig
{
    public RopeType Type { get; init; }

    /// <summary>θ.</summary>
    public double Theta { get; init; } = 10_000;

    /// <summary>R.</summary>
    public required int Size { get; init; }

    public double Factor { get; init; } = 1;

    /// <summary>Longest text of the first training.</summary>
    public int OriginalLength { get; init; }

    /// <summary>Llama 3: wavelengths beyond the original length over this are stretched by the whole factor.</summary>
    public double LowFrequencyFactor { get; init; } = 1;

    /// <summary>Llama 3: wavelengths below the original length over this stay.</summary>
    public double HighFrequencyFactor { get; init; } = 4;

    /// <summary>YaRN: from this many turns over the original length on, a pair stays.</summary>
    public double BetaFast { get; init; } = 32;

    /// <summary>YaRN: up to this many turns, a pair is stretched by the whole factor.</summary>
    public double BetaSlow { get; init; } = 1;

    /// <summary>YaRN: round the pairs between which the ramp runs.</summary>
    public bool Truncates { get; init; } = true;

    /// <summary>LongRoPE: divisors [R / 2] for texts of at most the original length.</summary>
    public IReadOnlyList<double> ShortFactors { get; init; } = [];

    /// <summary>LongRoPE: divisors [R / 2] for longer texts.</summary>
    public IReadOnlyList<double> LongFactors { get; init; } = [];

    /// <summary>What sines and cosines are multiplied with.</summary>
    public double AttentionFactor { get; init; } = 1;

    /// <summary>Do the frequencies depend on how long the longest text of a batch is?</summary>
    public bool DependsOnLength => Type is RopeType.Dynamic or RopeType.LongRope;

    /// <summary>Angles per position [R / 2], float32 as in transformers.</summary>
    /// <param name="length">Tokens of the longest text of the batch.</param>
    public float[] Frequencies(int length) => Type switch
    {
        RopeType.Linear => Plain(Theta, i => Factor),
        // NTK-aware (https://arxiv.org/abs/2309.00071, section 3.1): the base grows with the text.
        RopeType.Dynamic => length <= OriginalLength ? Plain(Theta) : Plain(
            Theta * Math.Pow(Factor * length / OriginalLength - (Factor - 1), Size / (Size - 2.0))),
        RopeType.Llama3 => [.. Plain(Theta).Select(Llama3)],
        RopeType.Yarn => Yarn(),
        RopeType.LongRope => Plain(Theta, i => (length > OriginalLength ? LongFactors : ShortFactors)[i]),
        _ => Plain(Theta),
    };

    /// <summary>1 / (divisor · θ^(2i / R)).</summary>
    private float[] Plain(double theta, Func<int, double>? divisor = null) =>
        [.. Enumerable.Range(0, Size / 2).Select(i => (float)(1 / ((divisor?.Invoke(i) ?? 1) * Math.Pow(theta, 2.0 * i / Size))))];

    private float Llama3(float frequency)
    {
        double wavelength = 2 * Math.PI / frequency;
        if (wavelength < OriginalLength / HighFrequencyFactor)
            return frequency;
        if (wavelength > OriginalLength / LowFrequencyFactor)
            return (float)(frequency / Factor);
        double smooth = (OriginalLength / wavelength - LowFrequencyFactor) / (HighFrequencyFactor - LowFrequencyFactor);
        return (float)((1 - smooth) * frequency / Factor + smooth * frequency);
    }

    /// <summary>https://arxiv.org/abs/2309.00071, section 3.2: a ramp from stretched to kept frequencies.</summary>
    private float[] Yarn()
    {
        double low = PairOf(BetaFast), high = PairOf(BetaSlow);
        if (Truncates)
            (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, Size - 1));
        if (low == high)
            high += 0.001;
        return [.. Plain(Theta).Select((frequency, i) =>
        {
            double stretched = Math.Clamp((i - low) / (high - low), 0, 1);
            return (float)(frequency / Factor * stretched + frequency * (1 - stretched));
        })];

        // The pair that turns so often over the original length.
        double PairOf(double turns) => Size * Math.Log(OriginalLength / (turns * 2 * Math.PI)) / (2 * Math.Log(Theta));
    }
}
