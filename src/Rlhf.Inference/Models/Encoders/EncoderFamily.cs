using Rlhf.Runtime;
using Rlhf.Weights;

namespace Rlhf.Models.Encoders;

/// <summary>A family of encoders in BERT's manner, which classify.</summary>
internal sealed class EncoderFamily : ModelFamily
{
    private readonly Func<ConfigSection, EncoderConfig> read;
    private readonly Func<EncoderConfig> usual;

    private EncoderFamily(string modelType, Func<ConfigSection, EncoderConfig> read, Func<EncoderConfig> usual) =>
        (ModelType, this.read, this.usual) = (modelType, read, usual);

    public static EncoderFamily DistilBert { get; } = new("distilbert", DistilBertConfig.Load, () => new DistilBertConfig());

    public static EncoderFamily Bert { get; } = new("bert", BertConfig.Load, () => new BertConfig());

    public static EncoderFamily Roberta { get; } = new("roberta", RobertaConfig.Load, () => new RobertaConfig());

    public override string ModelType { get; }

    public override bool HasCausalLM => false;

    public override ModelShape Shape(ModelConfig config) => read(config.Root).Shape;

    public override SequenceClassifier CreateClassifier(ModelConfig config, ComputePlan plan) => Create(read(config.Root), plan, config);

    /// <summary>The classifier of a configuration.</summary>
    public static SequenceClassifier Create(EncoderConfig config, ComputePlan? plan, ModelConfig? source) => config switch
    {
        DistilBertConfig distilBert => new DistilBertForSequenceClassification(distilBert, plan) { Source = source },
        RobertaConfig roberta => new RobertaForSequenceClassification(roberta, plan) { Source = source },
        BertConfig bert => new BertForSequenceClassification(bert, plan) { Source = source },
        _ => throw new ArgumentException($"There is no classifier for {config.GetType().Name}."),
    };

    public override IReadOnlyList<string> LoraTargetModules(ModelConfig config) =>
        (this == DistilBert ? EncoderLayout.DistilBert : EncoderLayout.Bert) is var layout
        ? [layout.Query[(layout.Query.LastIndexOf('.') + 1)..], layout.Value[(layout.Value.LastIndexOf('.') + 1)..]] : [];

    public override ModelConfig NewConfig(NewModelSizes sizes)
    {
        var config = usual();
        int pad = sizes.PadTokenId ?? config.PadTokenId, width = sizes.HiddenSize ?? config.HiddenSize;
        config = config with
        {
            VocabSize = sizes.VocabSize ?? config.VocabSize,
            // RoBERTa's positions begin after the padding token's id.
            MaxPositionEmbeddings = sizes.MaxPositions is not { } longest ? config.MaxPositionEmbeddings
                : config is RobertaConfig ? longest + pad + 1 : longest,
            HiddenSize = width,
            NumHiddenLayers = sizes.Layers ?? config.NumHiddenLayers,
            NumAttentionHeads = sizes.Heads ?? config.NumAttentionHeads,
            IntermediateSize = sizes.IntermediateSize ?? 4 * width,
            HiddenDropout = sizes.Dropout ?? config.HiddenDropout,
            AttentionDropout = sizes.Dropout ?? config.AttentionDropout,
            PadTokenId = pad,
            Labels = sizes.Labels ?? config.Labels,
        };
        config.ThrowIfInvalid();
        return ModelConfig.Of(config.ToJson());
    }
}
