namespace Rlhf.Models.Decoders;

/// <summary>Llama 1 to 3, SmolLM 1 and 2, TinyLlama, and all that took over the shape.</summary>
internal sealed class LlamaFamily() : DecoderFamily("llama", "LlamaForCausalLM")
{
    private protected override DecoderGgufTraits GgufTraits => DecoderGgufTraits.Llama;

    protected override DecoderShape Read(ConfigSection root) => Usual(root);
}
