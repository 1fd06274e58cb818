using Rlhf.Runtime;

namespace Rlhf.Models.Gpt2;

/// <summary>GPT-2 and its distilled relatives.</summary>
internal sealed class Gpt2Family : ModelFamily
{
    public override string ModelType => "gpt2";

    public override ModelShape Shape(ModelConfig config) => Gpt2Config.Load(config.Root).Shape;

    public override CausalLM CreateCausalLM(ModelConfig config, ComputePlan plan) =>
        new Gpt2LMHeadModel(Gpt2Config.Load(config.Root), plan, config);

    protected override CausalLM CreateTrunk(ModelConfig config, ComputePlan plan) =>
        new Gpt2LMHeadModel(Gpt2Config.Load(config.Root) with { TiesWordEmbeddings = true }, plan, config);

    public override IReadOnlyList<string> LoraTargetModules(ModelConfig config) => ["c_attn"];

    public override GgufMap Gguf(ModelConfig config) => Gpt2Gguf.Map(Gpt2Config.Load(config.Root), config.Root);

    public override ModelConfig NewConfig(NewModelSizes sizes)
    {
        var usual = new Gpt2Config();
        int vocabulary = sizes.VocabSize ?? usual.VocabSize;
        int? end = sizes.EosTokenId ?? (sizes.VocabSize is null || usual.EosTokenId < vocabulary ? usual.EosTokenId : null);
        return ModelConfig.Of((usual with
        {
            VocabSize = vocabulary,
            NPositions = sizes.MaxPositions ?? usual.NPositions,
            NEmbd = sizes.HiddenSize ?? usual.NEmbd,
            NLayer = sizes.Layers ?? usual.NLayer,
            NHead = sizes.Heads ?? usual.NHead,
            NInner = sizes.IntermediateSize,
            ResidPdrop = sizes.Dropout ?? usual.ResidPdrop,
            EmbdPdrop = sizes.Dropout ?? usual.EmbdPdrop,
            AttnPdrop = sizes.Dropout ?? usual.AttnPdrop,
            BosTokenId = sizes.BosTokenId ?? end,
            EosTokenId = end,
        }).ToJson());
    }
}
