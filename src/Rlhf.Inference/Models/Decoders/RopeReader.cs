namespace Rlhf.Models.Decoders;

/// <summary>
/// Reads rotary settings as transformers 5 writes them (<c>rope_parameters</c>, nested by layer type where layers differ) and as
/// transformers 4 did (<c>rope_theta</c>, <c>rope_scaling</c> with <c>rope_type</c> or <c>type</c>).
/// </summary>
internal static class RopeReader
{
    /// <summary>The settings.</summary>
    /// <param name="root">config.json.</param>
    /// <param name="headSize">Width of a head.</param>
    /// <param name="positions">max_position_embeddings.</param>
    /// <param name="theta">The family's usual θ.</param>
    /// <param name="partial">The family's usual share of a head that is rotated.</param>
    /// <param name="layerType">full_attention or sliding_attention, where they may differ.</param>
    /// <exception cref="InvalidDataException">A type that is not known, or values that make no sense.</exception>
    public static RopeConfig Read(
        ConfigSection root, int headSize, int positions, double theta = 10_000, double partial = 1, string? layerType = null)
    {
        var parameters = root.Section("rope_parameters");
        if (layerType is not null && parameters?.Section(layerType) is { } nested)
            parameters = nested;
        var section = parameters ?? root.Section("rope_scaling");
        theta = section?.OptionalNumber("rope_theta") ?? root.OptionalNumber("rope_theta") ?? root.OptionalNumber("rotary_emb_base") ?? theta;
        if (!(theta > 1))
            throw root.Refuse("rope_theta", $"{theta} is not a number above 1");
        partial = section?.OptionalNumber("partial_rotary_factor") ?? root.OptionalNumber("partial_rotary_factor")
            ?? root.OptionalNumber("rotary_pct") ?? partial;
        int size = (int)(headSize * partial);
        if (size < 2 || size > headSize || size % 2 != 0)
            throw root.Refuse("partial_rotary_factor", $"{partial} of a head of {headSize} is not an even number of them");
        string type = section is null ? "default" : section.Text("rope_type", section.Text("type", "default"));
        var rope = new RopeConfig { Theta = theta, Size = size, OriginalLength = positions };
        if (type == "default" || section is null)
            return rope;
        rope = rope with { Factor = section.Number("factor", 1) };
        return type switch
        {
            "linear" => Stretched(rope) with { Type = RopeType.Linear },
            "dynamic" => size > 2 ? Stretched(rope) with { Type = RopeType.Dynamic }
                : throw section.Refuse("rope_type", "dynamic needs more than one rotated pair"),
            "llama3" => Llama3(Stretched(rope), section),
            "yarn" => Yarn(Stretched(rope), section),
            "longrope" or "su" => LongRope(rope, section, root, positions),
            _ => throw section.Refuse("rope_type", $"'{type}' is not supported; known are default, linear, dynamic, llama3, yarn and longrope"),
        };

        RopeConfig Stretched(RopeConfig given) =>
            given.Factor >= 1 ? given : throw section.Refuse("factor", $"{given.Factor} is not a number of 1 or more");
    }

    private static RopeConfig Llama3(RopeConfig rope, ConfigSection section)
    {
        rope = rope with
        {
            Type = RopeType.Llama3,
            OriginalLength = Original(section, null, rope.OriginalLength),
            LowFrequencyFactor = section.Positive("low_freq_factor", 1),
            HighFrequencyFactor = section.Positive("high_freq_factor", 4),
        };
        return rope.HighFrequencyFactor > rope.LowFrequencyFactor ? rope
            : throw section.Refuse("high_freq_factor", $"{rope.HighFrequencyFactor} is not above low_freq_factor {rope.LowFrequencyFactor}");
    }

    private static RopeConfig Yarn(RopeConfig rope, ConfigSection section)
    {
        double Scale(double by) => rope.Factor <= 1 ? 1 : 0.1 * by * Math.Log(rope.Factor) + 1;
        double usual = section.OptionalNumber("mscale") is > 0 and var m && section.OptionalNumber("mscale_all_dim") is > 0 and var all
            ? Scale(m) / Scale(all) : Scale(1);
        rope = rope with
        {
            Type = RopeType.Yarn,
            OriginalLength = Original(section, null, rope.OriginalLength),
            BetaFast = section.Positive("beta_fast", 32),
            BetaSlow = section.Positive("beta_slow", 1),
            Truncates = section.Flag("truncate", true),
            AttentionFactor = section.OptionalNumber("attention_factor") ?? usual,
        };
        return rope.BetaFast >= rope.BetaSlow ? rope
            : throw section.Refuse("beta_fast", $"{rope.BetaFast} is below beta_slow {rope.BetaSlow}");
    }

    private static RopeConfig LongRope(RopeConfig rope, ConfigSection section, ConfigSection root, int positions)
    {
        int original = Original(section, root, positions);
        // transformers: the factor is how much longer texts may be than in the first training.
        double factor = original < positions ? (double)positions / original : Math.Max(1, rope.Factor);
        return rope with
        {
            Type = RopeType.LongRope,
            OriginalLength = original,
            Factor = factor,
            ShortFactors = Factors("short_factor"),
            LongFactors = Factors("long_factor"),
            AttentionFactor = section.OptionalNumber("attention_factor")
                ?? (factor <= 1 ? 1 : Math.Sqrt(1 + Math.Log(factor) / Math.Log(Math.Max(2, original)))),
        };

        IReadOnlyList<double> Factors(string key) => section.Numbers(key) is { } list && list.Count == rope.Size / 2 && list.All(f => f > 0)
            ? list : throw section.Refuse(key, $"must be a list of {rope.Size / 2} numbers above 0, one per rotated pair");
    }

    private static int Original(ConfigSection section, ConfigSection? root, int positions) =>
        section.OptionalInt("original_max_position_embeddings", 1, ConfigSection.MaxLength)
        ?? root?.OptionalInt("original_max_position_embeddings", 1, ConfigSection.MaxLength) ?? positions;
}
