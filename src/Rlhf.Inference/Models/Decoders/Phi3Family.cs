namespace Rlhf.Models.Decoders;

/// <summary>Phi-3 and Phi-4: Llama with joined projections, and rotary positions on a part of each head in some sizes.</summary>
internal sealed class Phi3Family() : DecoderFamily("phi3", "Phi3ForCausalLM")
{
    private protected override DecoderGgufTraits GgufTraits => new("phi3") { TakesPartialRotation = true, TakesLongRope = true };

    protected override DecoderShape Read(ConfigSection root)
    {
        var shape = Usual(root, epsilon: 1e-5, positions: 4096);
        return WithWindows(shape, Window(root), [.. shape.Layers.Select(_ => true)]) with
        {
            Qkv = QkvLayout.Joined,
            JoinsGateAndUp = true,
            HasQkvBias = false,
            HasOutputBias = false,
            HasMlpBias = false,
            ResidualDropout = root.Probability("resid_pdrop", 0),
            EmbeddingDropout = root.Probability("embd_pdrop", 0),
        };
    }
}
