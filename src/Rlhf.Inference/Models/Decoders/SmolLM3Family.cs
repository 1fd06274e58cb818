namespace Rlhf.Models.Decoders;

/// <summary>SmolLM3: Llama, of which some layers (every fourth) have no rotary positions.</summary>
internal sealed class SmolLM3Family() : DecoderFamily("smollm3", "SmolLM3ForCausalLM")
{
    private protected override DecoderGgufTraits GgufTraits => DecoderGgufTraits.Llama with
    {
        Architecture = "smollm3",
        NoRopeStep = 4,
        TakesFrequencyTable = false,
        TakesLongRope = false,
    };

    protected override DecoderShape Read(ConfigSection root)
    {
        var shape = Usual(root, isTied: true, theta: 2_000_000, positions: 32_768);
        int layers = shape.Layers.Count;
        int interval = root.Int("no_rope_layer_interval", 4, 1, ConfigSection.MaxLayers);
        // In no_rope_layers, 1 means with.
        var marks = root.Ints("no_rope_layers", 0, 1);
        if (marks.Count > 0 && marks.Count != layers)
            throw root.Refuse("no_rope_layers", $"{marks.Count} entries for num_hidden_layers = {layers}");
        bool[] turns = [.. Enumerable.Range(0, layers).Select(i => marks.Count > 0 ? marks[i] == 1 : (i + 1) % interval != 0)];
        shape = shape with { Layers = [.. shape.Layers.Select((l, i) => turns[i] ? l : l with { Rope = null })] };
        return root.Flag("use_sliding_window", false)
            ? WithWindows(shape, Window(root), Sliding(root, layers, i => !turns[i])) : shape;
    }
}
