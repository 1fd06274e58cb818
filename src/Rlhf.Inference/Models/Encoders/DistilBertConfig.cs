using System.Text.Json.Nodes;

namespace Rlhf.Models.Encoders;

/// <summary>DistilBERT's config.json. Defaults are those of distilbert-base-uncased.</summary>
public sealed record DistilBertConfig : EncoderConfig
{
    /// <summary>DistilBERT's defaults.</summary>
    public DistilBertConfig() => (NumHiddenLayers, ClassifierDropout) = (6, 0.2);

    /// <summary>Position embeddings begin as sines and cosines (they are trained like other weights).</summary>
    public bool SinusoidalPositions { get; init; }

    /// <inheritdoc/>
    public override int TokenTypes => 0;

    /// <inheritdoc/>
    public override string ModelType => "distilbert";

    /// <summary>Reads config.json of a model folder.</summary>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static DistilBertConfig Load(string folder) => Load(ModelConfig.Read(folder).Root);

    internal static DistilBertConfig Load(ConfigSection json) => Check(json, new DistilBertConfig
    {
        VocabSize = json.Int("vocab_size", 30522, 1, ConfigSection.MaxVocabulary),
        MaxPositionEmbeddings = json.Int("max_position_embeddings", 512, 1, 1 << 20),
        HiddenSize = json.Int("dim", 768, 1, ConfigSection.MaxWidth),
        NumHiddenLayers = json.Int("n_layers", 6, 1, ConfigSection.MaxLayers),
        NumAttentionHeads = json.Int("n_heads", 12, 1, ConfigSection.MaxWidth),
        IntermediateSize = json.Int("hidden_dim", 3072, 1, 4 * ConfigSection.MaxWidth),
        HiddenAct = json.Text("activation", "gelu"),
        HiddenDropout = json.Probability("dropout", 0.1),
        AttentionDropout = json.Probability("attention_dropout", 0.1),
        ClassifierDropout = json.Probability("seq_classif_dropout", 0.2),
        InitializerRange = json.Number("initializer_range", 0.02),
        SinusoidalPositions = json.Flag("sinusoidal_pos_embds", false),
        PadTokenId = json.Int("pad_token_id", 0, 0, ConfigSection.MaxVocabulary),
        Labels = LabelMaps.Read(json),
        ProblemType = LabelMaps.ReadProblemType(json),
    });

    private protected override void WriteSizes(JsonObject json)
    {
        json["activation"] = HiddenAct;
        json["attention_dropout"] = AttentionDropout;
        json["dim"] = HiddenSize;
        json["dropout"] = HiddenDropout;
        json["hidden_dim"] = IntermediateSize;
        json["n_heads"] = NumAttentionHeads;
        json["n_layers"] = NumHiddenLayers;
        json["seq_classif_dropout"] = ClassifierDropout ?? HiddenDropout;
        json["sinusoidal_pos_embds"] = SinusoidalPositions;
    }
}
