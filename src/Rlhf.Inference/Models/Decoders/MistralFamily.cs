namespace Rlhf.Models.Decoders;

/// <summary>Mistral: Llama with a window in every layer.</summary>
internal sealed class MistralFamily() : DecoderFamily("mistral", "MistralForCausalLM")
{
    private protected override DecoderGgufTraits GgufTraits => DecoderGgufTraits.Llama;

    protected override DecoderShape Read(ConfigSection root)
    {
        var shape = Usual(root, positions: 131_072);
        return WithWindows(shape with { HasQkvBias = false, HasOutputBias = false, HasMlpBias = false },
            Window(root, usual: 4096), [.. shape.Layers.Select(_ => true)]);
    }
}
