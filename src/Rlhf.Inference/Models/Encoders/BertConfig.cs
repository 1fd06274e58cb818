using System.Text.Json.Nodes;

namespace Rlhf.Models.Encoders;

/// <summary>BERT's config.json. Defaults are those of bert-base-uncased.</summary>
public record BertConfig : EncoderConfig
{
    /// <summary>Number of token types (segments).</summary>
    public int TypeVocabSize { get; init; } = 2;

    /// <inheritdoc/>
    public override int TokenTypes => TypeVocabSize;

    /// <inheritdoc/>
    public override string ModelType => "bert";

    /// <summary>Reads config.json of a model folder.</summary>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static BertConfig Load(string folder) => Load(ModelConfig.Read(folder).Root);

    internal static BertConfig Load(ConfigSection json) => Check(json, Read(json, new BertConfig()));

    private protected static T Read<T>(ConfigSection json, T defaults) where T : BertConfig
    {
        if (json.Text("position_embedding_type", "absolute") is var positions && positions != "absolute")
            throw json.Refuse("position_embedding_type", $"'{positions}' positions are not supported");
        if (json.Flag("is_decoder", false))
            throw json.Refuse("is_decoder", "a decoder cannot classify");
        return defaults with
        {
            VocabSize = json.Int("vocab_size", defaults.VocabSize, 1, ConfigSection.MaxVocabulary),
            MaxPositionEmbeddings = json.Int("max_position_embeddings", defaults.MaxPositionEmbeddings, 1, 1 << 20),
            HiddenSize = json.Int("hidden_size", 768, 1, ConfigSection.MaxWidth),
            NumHiddenLayers = json.Int("num_hidden_layers", 12, 1, ConfigSection.MaxLayers),
            NumAttentionHeads = json.Int("num_attention_heads", 12, 1, ConfigSection.MaxWidth),
            IntermediateSize = json.Int("intermediate_size", 3072, 1, 4 * ConfigSection.MaxWidth),
            HiddenAct = json.Text("hidden_act", "gelu"),
            HiddenDropout = json.Probability("hidden_dropout_prob", 0.1),
            AttentionDropout = json.Probability("attention_probs_dropout_prob", 0.1),
            ClassifierDropout = json.Has("classifier_dropout") ? json.Probability("classifier_dropout", 0.1) : null,
            LayerNormEps = json.Number("layer_norm_eps", defaults.LayerNormEps),
            InitializerRange = json.Number("initializer_range", 0.02),
            TypeVocabSize = json.Int("type_vocab_size", defaults.TypeVocabSize, 1, ConfigSection.MaxWidth),
            PadTokenId = json.Int("pad_token_id", defaults.PadTokenId, 0, ConfigSection.MaxVocabulary),
            Labels = LabelMaps.Read(json),
            ProblemType = LabelMaps.ReadProblemType(json),
        };
    }

    private protected override void WriteSizes(JsonObject json)
    {
        json["attention_probs_dropout_prob"] = AttentionDropout;
        json["classifier_dropout"] = ClassifierDropout;
        json["hidden_act"] = HiddenAct;
        json["hidden_dropout_prob"] = HiddenDropout;
        json["hidden_size"] = HiddenSize;
        json["intermediate_size"] = IntermediateSize;
        json["layer_norm_eps"] = LayerNormEps;
        json["num_attention_heads"] = NumAttentionHeads;
        json["num_hidden_layers"] = NumHiddenLayers;
        json["type_vocab_size"] = TypeVocabSize;
    }
}
