namespace Rlhf.Models.Decoders;

/// <summary>OLMo 2: normalizations behind attention and feed-forward layer, and over all queries and all keys.</summary>
internal sealed class Olmo2Family() : DecoderFamily("olmo2", "Olmo2ForCausalLM")
{
    private protected override DecoderGgufTraits GgufTraits => new("olmo2") { NeedsOutput = true };

    protected override DecoderShape Read(ConfigSection root) => Usual(root, epsilon: 1e-5) with
    {
        Names = DecoderNames.Olmo2,
        Placement = NormPlacement.After,
        QueryKeyNorm = QueryKeyNorm.Whole,
        HasMlpBias = false,
    };
}
