using System.Text.Json.Nodes;

namespace Rlhf.Models.Encoders;

/// <summary>What the config.json of DistilBERT, BERT and RoBERTa have in common. Defaults are those of the "base" size.</summary>
public abstract record EncoderConfig : ClassifierConfig
{
    /// <summary>V, number of token ids.</summary>
    public int VocabSize { get; init; } = 30522;

    /// <summary>Rows of the position embedding.</summary>
    public int MaxPositionEmbeddings { get; init; } = 512;

    /// <summary>D, width of hidden states.</summary>
    public int HiddenSize { get; init; } = 768;

    /// <summary>Number of layers; DistilBERT has 6, the others 12.</summary>
    public int NumHiddenLayers { get; init; } = 12;

    /// <summary>Attention heads; must divide <see cref="HiddenSize"/>.</summary>
    public int NumAttentionHeads { get; init; } = 12;

    /// <summary>Width inside the feed-forward layers.</summary>
    public int IntermediateSize { get; init; } = 3072;

    /// <summary>gelu (exact, erf), gelu_new (tanh form), relu or silu.</summary>
    public string HiddenAct { get; init; } = "gelu";

    /// <summary>Dropout on embeddings and residual branches, while training.</summary>
    public double HiddenDropout { get; init; } = 0.1;

    /// <summary>Dropout on attention weights, while training.</summary>
    public double AttentionDropout { get; init; } = 0.1;

    /// <summary>Dropout before the last layer of the head, while training; null takes <see cref="HiddenDropout"/>.</summary>
    public double? ClassifierDropout { get; init; }

    /// <summary>Added to the variance in layer normalization.</summary>
    public double LayerNormEps { get; init; } = 1e-12;

    /// <summary>Standard deviation of initial weights.</summary>
    public double InitializerRange { get; init; } = 0.02;

    /// <summary>Padding token.</summary>
    public int PadTokenId { get; init; }

    /// <summary>Number of token types (segments); 0 when the architecture has none.</summary>
    public abstract int TokenTypes { get; }

    /// <summary>Longest row in tokens.</summary>
    public virtual int MaxLength => MaxPositionEmbeddings;

    /// <summary><c>model_type</c> of config.json.</summary>
    public abstract string ModelType { get; }

    /// <inheritdoc/>
    public override long ParameterCount =>
        ((long)VocabSize + MaxPositionEmbeddings + TokenTypes + 2) * HiddenSize + NumHiddenLayers * LayerParameters;

    /// <summary>The model's sizes.</summary>
    internal ModelShape Shape => new()
    {
        Layers = NumHiddenLayers,
        Width = HiddenSize,
        InnerWidth = IntermediateSize,
        Heads = NumAttentionHeads,
        KeyValueHeads = NumAttentionHeads,
        HeadSize = HiddenSize / NumAttentionHeads,
        VocabSize = VocabSize,
        MaxPositions = MaxLength,
        Parameters = ParameterCount,
        LayerParameters = LayerParameters,
        IsCausal = false,
        DropsAttention = AttentionDropout > 0,
    };

    /// <summary>Weights of one layer: attention, feed-forward layer and two normalizations.</summary>
    private long LayerParameters
    {
        get
        {
            long d = HiddenSize, f = IntermediateSize;
            return 4 * d * (d + 1) + 2 * d * f + f + 5 * d;
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        foreach (var (name, value) in new[] {
            (nameof(VocabSize), VocabSize), (nameof(MaxPositionEmbeddings), MaxPositionEmbeddings),
            (nameof(HiddenSize), HiddenSize), (nameof(NumHiddenLayers), NumHiddenLayers),
            (nameof(NumAttentionHeads), NumAttentionHeads),
            (nameof(IntermediateSize), IntermediateSize), (nameof(MaxLength), MaxLength) })
            if (value < 1) yield return $"{name} is {value}; it must be at least 1.";
        if (NumAttentionHeads > 0 && HiddenSize % NumAttentionHeads != 0)
            yield return $"{NumAttentionHeads} attention heads do not divide the width of {HiddenSize}.";
        if (PadTokenId < 0 || PadTokenId >= VocabSize)
            yield return $"The padding token {PadTokenId} is outside the vocabulary of {VocabSize}.";
        if (!Activations.IsKnown(HiddenAct))
            yield return $"The activation '{HiddenAct}' is not supported; known are {Activations.Known}.";
        foreach (var (name, p) in new[] { (nameof(HiddenDropout), HiddenDropout), (nameof(AttentionDropout), AttentionDropout),
            (nameof(ClassifierDropout), ClassifierDropout ?? 0) })
            if (!(p is >= 0 and < 1)) yield return $"{name} is {p}; it must be at least 0 and below 1.";
        if (!(LayerNormEps > 0)) yield return $"LayerNormEps is {LayerNormEps}; it must be above 0.";
        if (!(InitializerRange >= 0)) yield return $"InitializerRange is {InitializerRange}; it must be 0 or more.";
    }

    /// <summary>What config.json holds.</summary>
    internal JsonObject ToJson()
    {
        var json = new JsonObject
        {
            ["model_type"] = ModelType,
            ["vocab_size"] = VocabSize,
            ["max_position_embeddings"] = MaxPositionEmbeddings,
            ["initializer_range"] = InitializerRange,
            ["pad_token_id"] = PadTokenId,
        };
        WriteSizes(json);
        LabelMaps.Write(json, Labels, ProblemType);
        return json;
    }

    /// <summary>Adds what the architecture names in its own way.</summary>
    private protected abstract void WriteSizes(JsonObject json);
}
