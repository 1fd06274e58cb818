using System.Text.Json.Nodes;

namespace Rlhf.Models.Encoders;

/// <summary>
/// RoBERTa's config.json: BERT's, with positions that begin after the padding token's id. Defaults are those of roberta-base.
/// </summary>
public sealed record RobertaConfig : BertConfig
{
    /// <summary>RoBERTa's defaults.</summary>
    public RobertaConfig() =>
        (VocabSize, MaxPositionEmbeddings, TypeVocabSize, PadTokenId, LayerNormEps) = (50265, 514, 1, 1, 1e-5);

    /// <summary>Begin-of-sequence token, <c>&lt;s&gt;</c>.</summary>
    public int BosTokenId { get; init; }

    /// <summary>End-of-sequence token, <c>&lt;/s&gt;</c>.</summary>
    public int EosTokenId { get; init; } = 2;

    /// <summary>Longest row in tokens: positions up to the padding token's id are not used.</summary>
    public override int MaxLength => MaxPositionEmbeddings - PadTokenId - 1;

    /// <inheritdoc/>
    public override string ModelType => "roberta";

    /// <summary>Reads config.json of a model folder.</summary>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static new RobertaConfig Load(string folder) => Load(ModelConfig.Read(folder).Root);

    internal static new RobertaConfig Load(ConfigSection json)
    {
        // transformers gives every key that a file lacks the default of BERT's sizes: 512 positions, two segments, eps 1e-12.
        var defaults = new RobertaConfig { MaxPositionEmbeddings = 512, TypeVocabSize = 2, LayerNormEps = 1e-12 };
        return Check(json, Read(json, defaults) with
        {
            BosTokenId = json.Int("bos_token_id", 0, 0, ConfigSection.MaxVocabulary),
            EosTokenId = json.Int("eos_token_id", 2, 0, ConfigSection.MaxVocabulary),
        });
    }

    private protected override void WriteSizes(JsonObject json)
    {
        base.WriteSizes(json);
        json["bos_token_id"] = BosTokenId;
        json["eos_token_id"] = EosTokenId;
    }
}
