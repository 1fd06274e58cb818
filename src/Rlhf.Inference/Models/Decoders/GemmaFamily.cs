using System.Text.Json.Nodes;

namespace Rlhf.Models.Decoders;

/// <summary>
/// Gemma 2 (soft caps; every other layer slides) and the text models of Gemma 3 (norms on queries and keys; most layers slide, with
/// rotary settings of their own).
/// </summary>
internal sealed class GemmaFamily : DecoderFamily
{
    private readonly bool isThird;

    private GemmaFamily(string modelType, string architecture, bool isThird) : base(modelType, architecture) => this.isThird = isThird;

    public static GemmaFamily Gemma2 { get; } = new("gemma2", "Gemma2ForCausalLM", isThird: false);

    public static GemmaFamily Gemma3 { get; } = new("gemma3_text", "Gemma3ForCausalLM", isThird: true);

    private protected override DecoderGgufTraits GgufTraits => new(isThird ? "gemma3" : "gemma2")
    {
        TakesAnyHeadSize = true,
        IsAlwaysTied = true,
        NeedsCaps = !isThird,
        SlidingPeriod = isThird ? 6 : 2,
        Activations = DecoderGgufTraits.Gelu,
        // llama.cpp knows the models of 27 billion weights by their number of layers.
        AttentionScale = sizes => 1 / Math.Sqrt(sizes.Layers == (isThird ? 62 : 46) ? sizes.Width / sizes.Heads : sizes.HeadSize),
    };

    protected override DecoderShape Read(ConfigSection root)
    {
        const string Full = "full_attention", Slides = "sliding_attention";
        var shape = Usual(root, isTied: true, headSize: 256, theta: isThird ? 1_000_000 : 10_000, positions: isThird ? 131_072 : 8192);
        int layers = shape.Layers.Count, size = shape.Sizes.HeadSize, positions = shape.Sizes.MaxPositions;
        int pattern = root.OptionalInt("sliding_window_pattern", 1, ConfigSection.MaxLayers)
            ?? root.Int("_sliding_window_pattern", isThird ? 6 : 2, 1, ConfigSection.MaxLayers);
        var slides = Sliding(root, layers, i => (i + 1) % pattern != 0);
        shape = WithWindows(shape, Window(root, usual: 4096), slides) with
        {
            Names = DecoderNames.Gemma,
            Norm = NormKind.RmsPlusOne,
            Placement = NormPlacement.Around,
            HasMlpBias = false,
            Activation = root.Text("hidden_activation", root.Text("hidden_act", "gelu_pytorch_tanh")),
            EmbeddingScale = Math.Sqrt(shape.Sizes.Width),
            AttentionScale = 1 / Math.Sqrt(root.Positive("query_pre_attn_scalar", 256)),
            AttentionCap = Cap(root, "attn_logit_softcapping", isThird ? null : 50),
            LogitCap = Cap(root, "final_logit_softcapping", isThird ? null : 30),
        };
        if (!isThird)
            return shape;
        // Layers that slide turn by a base of their own, without scaling; transformers 4 calls it rope_local_base_freq.
        var local = root.Section("rope_parameters")?.Section(Slides) is not null
            ? RopeReader.Read(root, size, positions, 10_000, layerType: Slides)
            : new RopeConfig { Theta = root.Positive("rope_local_base_freq", 10_000), Size = size, OriginalLength = positions };
        return shape with
        {
            QueryKeyNorm = QueryKeyNorm.PerHead,
            Ropes = [RopeReader.Read(root, size, positions, 1_000_000, layerType: Full), local],
            Layers = [.. shape.Layers.Select((l, i) => l with { Rope = slides[i] ? 1 : 0 })],
        };
    }

    protected override void AddNew(JsonObject json)
    {
        json["query_pre_attn_scalar"] = (int)json["head_dim"]!;
        json["hidden_activation"] = "gelu_pytorch_tanh";
        if (!isThird)
            base.AddNew(json);
        else
            json["rope_parameters"] = new JsonObject
            {
                ["full_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 1_000_000.0 },
                ["sliding_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 10_000.0 },
            };
    }

    /// <summary>A soft cap: the family's usual one where the key is absent, none where it is null.</summary>
    private static double? Cap(ConfigSection root, string key, double? usual) => !root.Keys.Contains(key) ? usual
        : root.OptionalNumber(key) is not { } cap ? null : cap > 0 ? cap : throw root.Refuse(key, $"{cap} is not a number above 0");
}
