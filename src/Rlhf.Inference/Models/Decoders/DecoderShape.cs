namespace Rlhf.Models.Decoders;

/// <summary>Where a block normalizes.</summary>
internal enum NormPlacement
{
    /// <summary>What goes into attention and feed-forward layer (Llama).</summary>
    Before,

    /// <summary>What comes out of them (OLMo 2).</summary>
    After,

    /// <summary>Both (Gemma 2, 3).</summary>
    Around,
}

/// <summary>How a normalization computes.</summary>
internal enum NormKind
{
    /// <summary>x / rms(x) · w.</summary>
    Rms,

    /// <summary>x / rms(x) · (1 + w) (Gemma).</summary>
    RmsPlusOne,

    /// <summary>Layer normalization with bias (Pythia).</summary>
    Layer,
}

/// <summary>What is normalized of queries and keys.</summary>
internal enum QueryKeyNorm
{
    None,

    /// <summary>Each head by itself (Qwen 3, Gemma 3).</summary>
    PerHead,

    /// <summary>All heads together (OLMo 2).</summary>
    Whole,
}

/// <summary>How the projections to queries, keys and values are stored.</summary>
internal enum QkvLayout
{
    /// <summary>Three matrices.</summary>
    Separate,

    /// <summary>One matrix: all queries, all keys, all values (Phi-3).</summary>
    Joined,

    /// <summary>One matrix: query, key and value of each head in turn (Pythia).</summary>
    ByHead,
}

/// <summary>One layer's own settings.</summary>
/// <param name="Window">Tokens that a token sees, itself included; null: all before it.</param>
/// <param name="Rope">Index of its rotary settings in <see cref="DecoderShape.Ropes"/>; null: it has none.</param>
internal readonly record struct LayerSettings(int? Window, int? Rope);

/// <summary>
/// What differs among decoders in Llama's manner. A family reads its config.json into this; one block (<see cref="DecoderBlock"/>) serves
/// them all.
/// </summary>
internal sealed record DecoderShape
{
    public required ModelShape Sizes { get; init; }

    public DecoderNames Names { get; init; } = DecoderNames.Llama;

    public required IReadOnlyList<LayerSettings> Layers { get; init; }

    public required IReadOnlyList<RopeConfig> Ropes { get; init; }

    public required bool IsTied { get; init; }

    public double NormEpsilon { get; init; } = 1e-6;

    public NormKind Norm { get; init; }

    public NormPlacement Placement { get; init; }

    public QueryKeyNorm QueryKeyNorm { get; init; }

    public QkvLayout Qkv { get; init; }

    /// <summary>Gate and up projection are one matrix (Phi-3).</summary>
    public bool JoinsGateAndUp { get; init; }

    public bool HasQkvBias { get; init; }

    public bool HasOutputBias { get; init; }

    public bool HasMlpBias { get; init; }

    /// <summary>Attention and feed-forward layer read the same input (Pythia).</summary>
    public bool IsParallel { get; init; }

    public string Activation { get; init; } = "silu";

    /// <summary>What embeddings are multiplied with.</summary>
    public double EmbeddingScale { get; init; } = 1;

    /// <summary>What products of queries and keys are multiplied with; null is 1 / √(head size).</summary>
    public double? AttentionScale { get; init; }

    /// <summary>Soft cap of attention scores (Gemma 2).</summary>
    public double? AttentionCap { get; init; }

    /// <summary>Soft cap of logits (Gemma 2).</summary>
    public double? LogitCap { get; init; }

    public double AttentionDropout { get; init; }

    public double ResidualDropout { get; init; }

    public double EmbeddingDropout { get; init; }

    public double InitializerRange { get; init; } = 0.02;

    /// <summary>The CPU has a backward pass of its own for blocks of this shape (<see cref="DecoderFusedBlock"/>), as long as nothing drops out.</summary>
    public bool HasFusedBlocks =>
        Activation is "silu" or "swish" or "gelu" or "gelu_new" or "gelu_pytorch_tanh" && AttentionCap is null;

    /// <summary>The shape with the numbers of weights that follow from it.</summary>
    public DecoderShape Counted()
    {
        long d = Sizes.Width, f = Sizes.InnerWidth, q = (long)Sizes.Heads * Sizes.HeadSize, kv = Sizes.KeyValueWidth;
        long norm = Norm == NormKind.Layer ? 2 * d : d;
        long layer = d * (2 * q + 2 * kv) + (HasQkvBias ? q + 2 * kv : 0) + (HasOutputBias ? d : 0)
            + (Sizes.IsGated ? 3 : 2) * d * f + (HasMlpBias ? (Sizes.IsGated ? 2 : 1) * f + d : 0)
            + norm * (Placement == NormPlacement.Around ? 4 : 2)
            + (QueryKeyNorm == QueryKeyNorm.None ? 0 : QueryKeyNorm == QueryKeyNorm.Whole ? q + kv : 2L * Sizes.HeadSize);
        long output = IsTied ? 0 : Sizes.VocabSize * d;
        return this with
        {
            Sizes = Sizes with
            {
                HasFusedLayers = HasFusedBlocks && ResidualDropout == 0,
                HasFusedAdapters = HasFusedBlocks && ResidualDropout == 0,
                LayerParameters = layer,
                OutputParameters = output,
                Parameters = Sizes.VocabSize * d + output + Sizes.Layers * layer + norm,
            },
        };
    }
}

/// <summary>What a family calls its tensors.</summary>
internal sealed record DecoderNames(
    string Prefix, string Embedding, string FinalNorm, string Head, string Attention, string Query, string Key, string Value, string Qkv,
    string Output, string QueryNorm, string KeyNorm, string Gate, string Up, string GateUp, string Down,
    string AttentionNorm, string AttentionOutputNorm, string MlpNorm, string MlpOutputNorm)
{
    public static readonly DecoderNames Llama = new("model.", "embed_tokens", "norm", "lm_head", "self_attn.", "q_proj", "k_proj", "v_proj",
        "qkv_proj", "o_proj", "q_norm", "k_norm", "mlp.gate_proj", "mlp.up_proj", "mlp.gate_up_proj", "mlp.down_proj",
        "input_layernorm", "", "post_attention_layernorm", "");

    /// <summary>Gemma: four normalizations in a block.</summary>
    public static readonly DecoderNames Gemma = Llama with
    {
        AttentionOutputNorm = "post_attention_layernorm",
        MlpNorm = "pre_feedforward_layernorm",
        MlpOutputNorm = "post_feedforward_layernorm",
    };

    public static readonly DecoderNames Olmo2 = Llama with
    {
        AttentionOutputNorm = "post_attention_layernorm",
        MlpOutputNorm = "post_feedforward_layernorm",
    };

    public static readonly DecoderNames GptNeoX = Llama with
    {
        Prefix = "gpt_neox.",
        Embedding = "embed_in",
        FinalNorm = "final_layer_norm",
        Head = "embed_out",
        Attention = "attention.",
        Qkv = "query_key_value",
        Output = "dense",
        Up = "mlp.dense_h_to_4h",
        Down = "mlp.dense_4h_to_h",
    };
}
