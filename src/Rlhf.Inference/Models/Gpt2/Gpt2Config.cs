using System.Text.Json.Nodes;

namespace Rlhf.Models.Gpt2;

/// <summary>GPT-2's config.json. Defaults are those of GPT-2 small.</summary>
public sealed record Gpt2Config
{
    /// <summary>V, number of token ids.</summary>
    public int VocabSize { get; init; } = 50257;

    /// <summary>Longest row in tokens.</summary>
    public int NPositions { get; init; } = 1024;

    /// <summary>D, width of hidden states.</summary>
    public int NEmbd { get; init; } = 768;

    /// <summary>Number of blocks.</summary>
    public int NLayer { get; init; } = 12;

    /// <summary>Attention heads; must divide <see cref="NEmbd"/>.</summary>
    public int NHead { get; init; } = 12;

    /// <summary>Width inside the feed-forward layers; null is 4 × <see cref="NEmbd"/>.</summary>
    public int? NInner { get; init; }

    /// <summary>gelu_new (tanh form), gelu, relu or silu.</summary>
    public string ActivationFunction { get; init; } = "gelu_new";

    /// <summary>Dropout on residual branches, while training.</summary>
    public double ResidPdrop { get; init; } = 0.1;

    /// <summary>Dropout on embeddings, while training.</summary>
    public double EmbdPdrop { get; init; } = 0.1;

    /// <summary>Dropout on attention weights, while training.</summary>
    public double AttnPdrop { get; init; } = 0.1;

    /// <summary>Added to the variance in layer normalization.</summary>
    public double LayerNormEpsilon { get; init; } = 1e-5;

    /// <summary>Standard deviation of initial weights.</summary>
    public double InitializerRange { get; init; } = 0.02;

    /// <summary>Divide attention scores by √(head size).</summary>
    public bool ScaleAttnWeights { get; init; } = true;

    /// <summary>Also divide them by the layer's number, counted from 1.</summary>
    public bool ScaleAttnByInverseLayerIdx { get; init; }

    /// <summary>Begin-of-sequence token.</summary>
    public int? BosTokenId { get; init; } = 50256;

    /// <summary>End-of-sequence token.</summary>
    public int? EosTokenId { get; init; } = 50256;

    /// <summary>The output layer's weight is the input embedding's.</summary>
    public bool TiesWordEmbeddings { get; init; } = true;

    /// <summary>Width inside the feed-forward layers.</summary>
    public int InnerSize => NInner ?? 4 * NEmbd;

    /// <summary>Weights of the trunk: embeddings and layers, without a head.</summary>
    internal long ParameterCount =>
        ((TiesWordEmbeddings ? 1L : 2L) * VocabSize + NPositions + 2) * NEmbd + NLayer * LayerParameters;

    /// <summary>Weights of one layer: attention, feed-forward layer and two normalizations.</summary>
    private long LayerParameters
    {
        get
        {
            long d = NEmbd, f = InnerSize;
            return 4 * d * (d + 1) + 2 * d * f + f + 5 * d;
        }
    }

    /// <summary>The model's sizes.</summary>
    internal ModelShape Shape => new()
    {
        Layers = NLayer,
        Width = NEmbd,
        InnerWidth = InnerSize,
        Heads = NHead,
        KeyValueHeads = NHead,
        HeadSize = NEmbd / NHead,
        VocabSize = VocabSize,
        MaxPositions = NPositions,
        Parameters = ParameterCount,
        OutputParameters = TiesWordEmbeddings ? 0 : (long)VocabSize * NEmbd,
        LayerParameters = LayerParameters,
        DropsAttention = AttnPdrop > 0,
        HasFusedLayers = ActivationFunction is "gelu" or "gelu_new" or "gelu_pytorch_tanh",
    };

    /// <summary>Reads config.json of a model folder.</summary>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static Gpt2Config Load(string path) => Load(ModelConfig.Read(path).Root);

    internal static Gpt2Config Load(ConfigSection json)
    {
        var config = new Gpt2Config
        {
            VocabSize = json.Int("vocab_size", 50257, 1, ConfigSection.MaxVocabulary),
            NPositions = json.Int("n_positions", 1024, 1, 1 << 20),
            NEmbd = json.Int("n_embd", 768, 1, ConfigSection.MaxWidth),
            NLayer = json.Int("n_layer", 12, 1, ConfigSection.MaxLayers),
            NHead = json.Int("n_head", 12, 1, ConfigSection.MaxWidth),
            NInner = json.OptionalInt("n_inner", 1, 4 * ConfigSection.MaxWidth),
            ActivationFunction = json.Text("activation_function", "gelu_new"),
            ResidPdrop = json.Probability("resid_pdrop", 0.1),
            EmbdPdrop = json.Probability("embd_pdrop", 0.1),
            AttnPdrop = json.Probability("attn_pdrop", 0.1),
            LayerNormEpsilon = json.Number("layer_norm_epsilon", 1e-5),
            InitializerRange = json.Number("initializer_range", 0.02),
            ScaleAttnWeights = json.Flag("scale_attn_weights", true),
            ScaleAttnByInverseLayerIdx = json.Flag("scale_attn_by_inverse_layer_idx", false),
            BosTokenId = json.OptionalInt("bos_token_id", 0, ConfigSection.MaxVocabulary),
            EosTokenId = json.Ints("eos_token_id", 0, ConfigSection.MaxVocabulary) is [var end, ..] ? end : null,
            TiesWordEmbeddings = json.Flag("tie_word_embeddings", true),
        };
        if (json.Flag("add_cross_attention", false))
            throw json.Refuse("add_cross_attention", "cross-attention is not supported");
        if (config.NEmbd % config.NHead != 0)
            throw json.Refuse("n_head", $"{config.NHead} heads do not divide the width n_embd = {config.NEmbd}");
        if (config.ParameterCount > ClassifierConfig.MaxParameters)
            throw json.Refuse("sizes and settings",
                $"they make {config.ParameterCount:N0} weights, more than {ClassifierConfig.MaxParameters:N0}");
        if (!Activations.IsKnown(config.ActivationFunction))
            throw json.Refuse("activation_function",
                $"'{config.ActivationFunction}' is not supported; known are {Activations.Known}");
        return config;
    }

    /// <summary>What config.json holds.</summary>
    internal JsonObject ToJson() => new()
    {
        ["activation_function"] = ActivationFunction,
        ["attn_pdrop"] = AttnPdrop,
        ["bos_token_id"] = BosTokenId,
        ["embd_pdrop"] = EmbdPdrop,
        ["eos_token_id"] = EosTokenId,
        ["initializer_range"] = InitializerRange,
        ["layer_norm_epsilon"] = LayerNormEpsilon,
        ["model_type"] = "gpt2",
        ["n_ctx"] = NPositions,
        ["n_embd"] = NEmbd,
        ["n_head"] = NHead,
        ["n_inner"] = NInner,
        ["n_layer"] = NLayer,
        ["n_positions"] = NPositions,
        ["resid_pdrop"] = ResidPdrop,
        ["scale_attn_by_inverse_layer_idx"] = ScaleAttnByInverseLayerIdx,
        ["scale_attn_weights"] = ScaleAttnWeights,
        ["tie_word_embeddings"] = TiesWordEmbeddings,
        ["use_cache"] = true,
        ["vocab_size"] = VocabSize,
    };
}
