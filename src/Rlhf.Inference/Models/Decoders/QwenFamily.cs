namespace Rlhf.Models.Decoders;

/// <summary>Qwen 2 and 2.5 (biases on queries, keys and values), and Qwen 3 (norms on queries and keys).</summary>
internal sealed class QwenFamily : DecoderFamily
{
    private readonly bool isThird;

    private QwenFamily(string modelType, string architecture, bool isThird) : base(modelType, architecture) => this.isThird = isThird;

    public static QwenFamily Qwen2 { get; } = new("qwen2", "Qwen2ForCausalLM", isThird: false);

    public static QwenFamily Qwen3 { get; } = new("qwen3", "Qwen3ForCausalLM", isThird: true);

    private protected override DecoderGgufTraits GgufTraits => isThird
        ? new("qwen3") { TakesAnyHeadSize = true } : new("qwen2") { TakesQkvBias = true };

    protected override DecoderShape Read(ConfigSection root)
    {
        var shape = Usual(root, headSize: isThird ? 128 : null, positions: 32_768);
        shape = isThird ? shape with { QueryKeyNorm = QueryKeyNorm.PerHead, HasMlpBias = false }
            : shape with { HasQkvBias = true, HasOutputBias = false, HasMlpBias = false };
        // sliding_window means nothing unless it is switched on; layers from max_window_layers on slide.
        if (!root.Flag("use_sliding_window", false))
            return shape;
        int first = root.Int("max_window_layers", 28, 0, ConfigSection.MaxLayers);
        return WithWindows(shape, Window(root, usual: 4096), Sliding(root, shape.Layers.Count, i => i >= first));
    }
}
