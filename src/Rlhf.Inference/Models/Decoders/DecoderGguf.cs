namespace Rlhf.Models.Decoders;

/// <summary>What llama.cpp's code of a family does. Defaults are those of its Llama-shaped families.</summary>
/// <param name="Architecture">llama.cpp's name of the family.</param>
internal sealed record DecoderGgufTraits(string Architecture)
{
    /// <summary>Rotates neighboring numbers of a head and not number i with number i + R / 2: rows of queries and keys change places.</summary>
    public bool Interleaves { get; init; }

    public bool TakesQkvBias { get; init; }

    public bool TakesOutputBias { get; init; }

    public bool TakesMlpBias { get; init; }

    /// <summary>Biases of attention and feed-forward layers have to be in the file.</summary>
    public bool NeedsBias { get; init; }

    /// <summary>All heads together may be wider or narrower than the hidden states.</summary>
    public bool TakesAnyHeadSize { get; init; }

    /// <summary>A part of each head may be rotated.</summary>
    public bool TakesPartialRotation { get; init; }

    /// <summary>Reads <c>rope_freqs.weight</c>, a divisor of each frequency.</summary>
    public bool TakesFrequencyTable { get; init; }

    /// <summary>Reads <c>rope_factors_short.weight</c> and <c>rope_factors_long.weight</c>.</summary>
    public bool TakesLongRope { get; init; }

    /// <summary>The output layer has to be in the file, tied or not.</summary>
    public bool NeedsOutput { get; init; }

    /// <summary>The output layer is always the embedding.</summary>
    public bool IsAlwaysTied { get; init; }

    /// <summary>Usual period of layers that slide, of which the last sees everything; null: none slides in llama.cpp.</summary>
    public int? SlidingPeriod { get; init; }

    /// <summary>Every layer whose number, counted from 1, this divides has no rotary positions; null: all have.</summary>
    public int? NoRopeStep { get; init; }

    /// <summary>Activations that llama.cpp computes.</summary>
    public IReadOnlyList<string> Activations { get; init; } = ["silu", "swish"];

    /// <summary>What llama.cpp multiplies products of queries and keys with; null is 1 / √(head size).</summary>
    public Func<ModelShape, double>? AttentionScale { get; init; }

    /// <summary>Caps of scores and logits are always on.</summary>
    public bool NeedsCaps { get; init; }

    /// <summary>llama.cpp's family <c>llama</c>, which Mistral's models belong to as well.</summary>
    public static DecoderGgufTraits Llama { get; } = new("llama")
    {
        Interleaves = true,
        TakesQkvBias = true,
        TakesOutputBias = true,
        TakesMlpBias = true,
        TakesAnyHeadSize = true,
        TakesFrequencyTable = true,
        TakesLongRope = true,
    };

    /// <summary>GELU in llama.cpp: the tanh form.</summary>
    public static readonly IReadOnlyList<string> Gelu = ["gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu"];
}

/// <summary>Writes a decoder's settings and names as llama.cpp reads them.</summary>
internal sealed class DecoderGguf
{
    private const double Equal = 1e-9;

    private readonly DecoderShape shape;
    private readonly ConfigSection root;
    private readonly DecoderGgufTraits traits;
    private readonly List<KeyValuePair<string, object>> metadata = [];
    private readonly List<GgufTensor> tensors = [];
    private readonly List<KeyValuePair<string, float[]>> tables = [];
    private readonly List<string> notes = [];

    private DecoderGguf(DecoderShape shape, ConfigSection root, DecoderGgufTraits traits) =>
        (this.shape, this.root, this.traits) = (shape, root, traits);

    /// <summary>The map of a configuration.</summary>
    /// <exception cref="InvalidDataException">llama.cpp's family does not do what the configuration asks for.</exception>
    public static GgufMap Map(DecoderShape shape, ModelConfig config, DecoderGgufTraits traits)
    {
        var map = new DecoderGguf(shape, config.Root, traits);
        map.CheckWeights();
        map.WriteSizes();
        map.WriteRope();
        map.WriteTensors();
        return new(traits.Architecture, map.metadata, map.tensors) { Tables = map.tables, Notes = map.notes };
    }

    private ModelShape Sizes => shape.Sizes;

    private InvalidDataException Refuse(string key, string what) =>
        root.Refuse(key, $"{what}, which llama.cpp does not do in its family '{traits.Architecture}'");

    private void Set(string key, object value) => metadata.Add(new($"{traits.Architecture}.{key}", value));

    private void CheckWeights()
    {
        if (!traits.Activations.Contains(shape.Activation))
            throw Refuse("hidden_act", $"'{shape.Activation}' is the activation");
        if (shape.Activation == "gelu")
            notes.Add(GgufMap.GeluNote);
        if (shape.HasQkvBias && !traits.TakesQkvBias || shape.HasOutputBias && !traits.TakesOutputBias)
            throw Refuse("attention_bias", "projections of attention have biases");
        if (shape.HasMlpBias && !traits.TakesMlpBias)
            throw Refuse("mlp_bias", "feed-forward layers have biases");
        if (traits.NeedsBias && !(shape.HasQkvBias && shape.HasOutputBias && shape.HasMlpBias))
            throw Refuse("attention_bias", "projections of attention have no biases");
        if (!traits.TakesAnyHeadSize && Sizes.Heads * Sizes.HeadSize != Sizes.Width)
            throw Refuse("head_dim", $"{Sizes.Heads} heads of {Sizes.HeadSize} are not as wide as hidden_size = {Sizes.Width}");
        if (traits.IsAlwaysTied && !shape.IsTied)
            throw Refuse("tie_word_embeddings", "the output layer has a weight of its own");
        if (traits.NeedsCaps && (shape.AttentionCap is null || shape.LogitCap is null))
            throw Refuse("attn_logit_softcapping", "attention scores or logits have no soft cap");
        if (!traits.NeedsCaps && (shape.AttentionCap is not null || shape.LogitCap is not null))
            throw Refuse("final_logit_softcapping", "attention scores or logits have a soft cap");
        for (int i = 0; i < Sizes.Layers; i++)
            if (shape.Layers[i].Rope is null != (traits.NoRopeStep is { } step && (i + 1) % step == 0))
                throw Refuse("no_rope_layers", $"layer {i} of {Sizes.Layers} is {(shape.Layers[i].Rope is null ? "" : "not ")}without rotary positions");
    }

    private void WriteSizes()
    {
        Set("vocab_size", (uint)Sizes.VocabSize);
        Set("context_length", (uint)Positions());
        Set("embedding_length", (uint)Sizes.Width);
        Set("block_count", (uint)Sizes.Layers);
        Set("feed_forward_length", (uint)Sizes.InnerWidth);
        Set("attention.head_count", (uint)Sizes.Heads);
        Set("attention.head_count_kv", (uint)Sizes.KeyValueHeads);
        Set("attention.key_length", (uint)Sizes.HeadSize);
        Set("attention.value_length", (uint)Sizes.HeadSize);
        Set(shape.Norm == NormKind.Layer ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", (float)shape.NormEpsilon);
        if (shape.AttentionCap is { } scores)
            Set("attn_logit_softcapping", (float)scores);
        if (shape.LogitCap is { } logits)
            Set("final_logit_softcapping", (float)logits);
        if (shape.Norm == NormKind.Layer)
            Set("use_parallel_residual", shape.IsParallel);
        if (traits.SlidingPeriod is { } usual)
            WriteWindows(usual);
    }

    /// <summary>Layers slide in llama.cpp by a period, of which the last layer sees everything.</summary>
    private void WriteWindows(int usual)
    {
        bool[] slides = [.. shape.Layers.Select((l, i) => shape.Ropes.Count > 1 ? l.Rope == 1 : l.Window is not null)];
        int?[] periods = [usual, .. Enumerable.Range(1, Sizes.Layers + 1).Select(p => (int?)p)];
        int? period = periods.FirstOrDefault(p => !slides.Where((s, i) => s != (i % p < p - 1)).Any());
        // Without any window, and with one set of frequencies, a window as long as the context is none.
        if (!slides.Contains(true) && shape.Ropes.Count == 1)
            period = usual;
        if (period is not { } regular)
            throw Refuse("layer_types", "layers slide in an irregular order");
        int[] windows = [.. shape.Layers.Where(l => l.Window is not null).Select(l => l.Window!.Value).Distinct()];
        Set("attention.sliding_window", (uint)(windows is [var window] ? window : Sizes.MaxPositions));
        if (regular != usual)
            Set("attention.sliding_window_pattern", (uint)regular);
    }

    /// <summary>Within this many tokens llama.cpp computes what the model computes.</summary>
    private int Positions()
    {
        int positions = Sizes.MaxPositions;
        if (shape.Ropes[0] is { Type: RopeType.Dynamic } rope && rope.OriginalLength < positions)
        {
            positions = rope.OriginalLength;
            notes.Add($"llama.cpp does not scale rotary positions dynamically: the context ends at {positions:N0} tokens, as in the first training.");
        }
        if (traits.SlidingPeriod is null && shape.Layers.Min(l => l.Window) is { } window && window < positions)
        {
            positions = window;
            notes.Add($"llama.cpp has no sliding window in its family '{traits.Architecture}': the context ends at the window's {window:N0} tokens, "
                + $"within which nothing slides (the model's own is {Sizes.MaxPositions:N0}).");
        }
        return positions;
    }

    private void WriteRope()
    {
        var rope = shape.Ropes[0];
        if (rope.Size != Sizes.HeadSize && !traits.TakesPartialRotation)
            throw Refuse("partial_rotary_factor", $"{rope.Size} of a head's {Sizes.HeadSize} numbers are rotated");
        Set("rope.dimension_count", (uint)rope.Size);
        Set("rope.freq_base", (float)rope.Theta);
        if (shape.Ropes.Count > 1)
            WriteLocalRope(shape.Ropes[1]);
        switch (rope.Type)
        {
            case RopeType.Linear:
                Set("rope.scaling.type", "linear");
                Set("rope.scaling.factor", (float)rope.Factor);
                break;
            case RopeType.Llama3:
                if (!traits.TakesFrequencyTable)
                    throw Refuse("rope_type", "rotary positions are scaled as Llama 3's");
                tables.Add(new("rope_freqs.weight", Divisors(rope)));
                break;
            case RopeType.Yarn:
                WriteYarn(rope);
                break;
            case RopeType.LongRope:
                if (!traits.TakesLongRope)
                    throw Refuse("rope_type", "rotary positions are scaled as Phi-3's");
                Set("rope.scaling.type", "longrope");
                Set("rope.scaling.original_context_length", (uint)rope.OriginalLength);
                Set("rope.scaling.attn_factor", (float)rope.AttentionFactor);
                tables.Add(new("rope_factors_long.weight", [.. rope.LongFactors.Select(f => (float)f)]));
                tables.Add(new("rope_factors_short.weight", [.. rope.ShortFactors.Select(f => (float)f)]));
                if (rope.OriginalLength < Sizes.MaxPositions)
                    notes.Add($"llama.cpp chooses the rotary factors by the context that it is opened with: up to {rope.OriginalLength:N0} tokens "
                        + "the short ones, beyond them the long ones for every text.");
                break;
        }
    }

    private void WriteLocalRope(RopeConfig local)
    {
        if (local.Type != RopeType.Default || local.Size != shape.Ropes[0].Size)
            throw Refuse("rope_parameters", "rotary positions of layers that slide are scaled");
        Set("rope.freq_base_swa", (float)local.Theta);
    }

    /// <summary>
    /// https://arxiv.org/abs/2309.00071. llama.cpp's own attention factor is the paper's, 0.1 ln(factor) + 1, and so are its ends of the ramp,
    /// whatever a file says; others are written as a table of frequencies.
    /// </summary>
    private void WriteYarn(RopeConfig rope)
    {
        if (rope is { BetaFast: 32, BetaSlow: 1, Truncates: true })
        {
            Set("rope.scaling.type", "yarn");
            Set("rope.scaling.factor", (float)rope.Factor);
            Set("rope.scaling.original_context_length", (uint)rope.OriginalLength);
            double ratio = rope.AttentionFactor / (0.1 * Math.Log(Math.Max(1, rope.Factor)) + 1);
            if (Math.Abs(ratio - 1) > Equal)
                Set("rope.scaling.attn_factor", (float)ratio);
            return;
        }
        if (!traits.TakesFrequencyTable)
            throw Refuse("beta_fast", "YaRN's ramp ends elsewhere than at beta_fast 32 and beta_slow 1, rounded to whole pairs");
        tables.Add(new("rope_freqs.weight", Divisors(rope)));
        Set("rope.scaling.attn_factor", (float)rope.AttentionFactor);
    }

    /// <summary>What llama.cpp divides each frequency of θ by to get the scaled one [R / 2].</summary>
    private float[] Divisors(RopeConfig rope)
    {
        var scaled = rope.Frequencies(Sizes.MaxPositions);
        var plain = (rope with { Type = RopeType.Default }).Frequencies(Sizes.MaxPositions);
        return [.. plain.Zip(scaled, (p, s) => p / s)];
    }

    private void WriteTensors()
    {
        var names = shape.Names;
        Add("token_embd", names.Prefix + names.Embedding);
        for (int i = 0; i < Sizes.Layers; i++)
            WriteBlock($"{names.Prefix}layers.{i}.", $"blk.{i}.");
        AddNorm("output_norm", names.Prefix + names.FinalNorm);
        if (!shape.IsTied)
            Add("output", names.Head);
        else if (traits.NeedsOutput)
            Add("output", names.Prefix + names.Embedding);
    }

    private void WriteBlock(string from, string to)
    {
        var names = shape.Names;
        string attention = from + names.Attention;
        bool before = shape.Placement != NormPlacement.After, after = shape.Placement != NormPlacement.Before;
        if (before)
            AddNorm(to + "attn_norm", from + names.AttentionNorm);
        double scale = QueryScale();
        bool scalesNorm = shape.QueryKeyNorm == QueryKeyNorm.PerHead;
        if (shape.Qkv == QkvLayout.Separate)
        {
            Add(to + "attn_q", attention + names.Query, shape.HasQkvBias, Interleaved(Sizes.Heads), scalesNorm ? 1 : scale);
            Add(to + "attn_k", attention + names.Key, shape.HasQkvBias, Interleaved(Sizes.KeyValueHeads));
            Add(to + "attn_v", attention + names.Value, shape.HasQkvBias);
        }
        else
            Add(to + "attn_qkv", attention + names.Qkv, shape.HasQkvBias, shape.Qkv == QkvLayout.ByHead ? ByPart() : null);
        Add(to + "attn_output", attention + names.Output, shape.HasOutputBias);
        if (shape.QueryKeyNorm != QueryKeyNorm.None)
        {
            AddNorm(to + "attn_q_norm", attention + names.QueryNorm, scalesNorm ? scale : 1);
            AddNorm(to + "attn_k_norm", attention + names.KeyNorm);
        }
        if (after)
            AddNorm(to + "post_attention_norm", from + names.AttentionOutputNorm);
        if (before)
            AddNorm(to + "ffn_norm", from + names.MlpNorm);
        if (shape.JoinsGateAndUp)
            Add(to + "ffn_up", from + names.GateUp, shape.HasMlpBias);
        else
        {
            if (Sizes.IsGated)
                Add(to + "ffn_gate", from + names.Gate, shape.HasMlpBias);
            Add(to + "ffn_up", from + names.Up, shape.HasMlpBias);
        }
        Add(to + "ffn_down", from + names.Down, shape.HasMlpBias);
        if (after)
            AddNorm(to + "post_ffw_norm", from + names.MlpOutputNorm);
    }

    private void Add(string to, string from, bool hasBias = false, int[]? rows = null, double scale = 1)
    {
        tensors.Add(new(to + ".weight", from + ".weight") { Rows = rows, Scale = scale });
        if (hasBias)
            tensors.Add(new(to + ".bias", from + ".bias") { Rows = rows, Scale = scale });
    }

    private void AddNorm(string to, string from, double scale = 1)
    {
        tensors.Add(new(to + ".weight", from + ".weight") { Add = shape.Norm == NormKind.RmsPlusOne ? 1 : 0, Scale = scale });
        if (shape.Norm == NormKind.Layer)
            tensors.Add(new(to + ".bias", from + ".bias"));
    }

    /// <summary>What queries are multiplied with beforehand, so that the scale of llama.cpp's family makes the model's.</summary>
    private double QueryScale()
    {
        double usual = 1 / Math.Sqrt(Sizes.HeadSize), own = shape.AttentionScale ?? usual;
        double ratio = own / (traits.AttentionScale?.Invoke(Sizes) ?? usual);
        return Math.Abs(ratio - 1) > Equal ? ratio : 1;
    }

    /// <summary>Rows of heads whose rotated pairs lie half a head apart, in the order in which they are neighbors; null: no change.</summary>
    private int[]? Interleaved(int heads)
    {
        if (!traits.Interleaves)
            return null;
        int size = Sizes.HeadSize, half = size / 2;
        return [.. Enumerable.Range(0, heads * size).Select(row => row / size * size + row % 2 * half + row % size / 2)];
    }

    /// <summary>Query, key and value of each head in turn, in the order of all queries, all keys, all values.</summary>
    private int[] ByPart()
    {
        int size = Sizes.HeadSize, heads = Sizes.Heads;
        return [.. Enumerable.Range(0, 3 * heads * size).Select(row =>
        {
            var (part, head, at) = (row / (heads * size), row / size % heads, row % size);
            return (head * 3 + part) * size + at;
        })];
    }
}
