using System.Text.Json.Nodes;
using Rlhf.Runtime;

namespace Rlhf.Models.Decoders;

/// <summary>
/// A family of decoders in Llama's manner: it reads its config.json into a <see cref="DecoderShape"/>. What every family names alike is
/// read here.
/// </summary>
internal abstract class DecoderFamily(string modelType, string architecture) : ModelFamily
{
    public override string ModelType => modelType;

    public override ModelShape Shape(ModelConfig config) => Decoder(config).Sizes;

    public override CausalLM CreateCausalLM(ModelConfig config, ComputePlan plan) =>
        new DecoderForCausalLM(Decoder(config), architecture, config, plan);

    protected override CausalLM CreateTrunk(ModelConfig config, ComputePlan plan) =>
        new DecoderForCausalLM(Decoder(config), architecture, config, plan, hasHead: false);

    public override IReadOnlyList<string> LoraTargetModules(ModelConfig config) => Decoder(config) is { Qkv: QkvLayout.Separate } shape
        ? [shape.Names.Query, shape.Names.Value] : [Decoder(config).Names.Qkv];

    /// <summary>The shape that a configuration describes.</summary>
    /// <exception cref="InvalidDataException">It is malformed, or asks for something that is not supported.</exception>
    internal DecoderShape Decoder(ModelConfig config)
    {
        var root = config.Root;
        if (root.Has("quantization_config"))
            throw root.Refuse("quantization_config", "quantized weights are not supported; take the checkpoint they were made from");
        if (root.Flag("use_bidirectional_attention", false))
            throw root.Refuse("use_bidirectional_attention", "attention in both directions is not supported");
        if (root.Flag("is_decoder", true) == false && ModelType != "gpt_neox")
            throw root.Refuse("is_decoder", "must be true");
        var shape = Read(root).Counted();
        if (!Activations.IsKnown(shape.Activation))
            throw root.Refuse("hidden_act", $"'{shape.Activation}' is not supported; known are {Activations.Known}");
        if (shape.Sizes.Parameters > ClassifierConfig.MaxParameters)
            throw root.Refuse("sizes and settings",
                $"they make {shape.Sizes.Parameters:N0} weights, more than {ClassifierConfig.MaxParameters:N0}");
        return shape;
    }

    /// <summary>What llama.cpp's code of the family does.</summary>
    private protected abstract DecoderGgufTraits GgufTraits { get; }

    public override GgufMap Gguf(ModelConfig config) => DecoderGguf.Map(Decoder(config), config, GgufTraits);

    /// <summary>Reads config.json.</summary>
    protected abstract DecoderShape Read(ConfigSection root);

    /// <summary>What most families name alike.</summary>
    /// <param name="root">config.json.</param>
    /// <param name="isTied">Is the output layer usually the embedding's?</param>
    /// <param name="headSize">Usual width of a head; null: the width by the heads.</param>
    /// <param name="epsilon">Usual epsilon of normalizations.</param>
    /// <param name="theta">Usual base of rotary positions.</param>
    /// <param name="positions">Usual longest row.</param>
    protected static DecoderShape Usual(
        ConfigSection root, bool isTied = false, int? headSize = null, double epsilon = 1e-6, double theta = 10_000, int positions = 2048)
    {
        int width = root.RequiredInt("hidden_size", 1, ConfigSection.MaxWidth);
        int heads = root.RequiredInt("num_attention_heads", 1, ConfigSection.MaxWidth);
        int keyHeads = root.Int("num_key_value_heads", heads, 1, ConfigSection.MaxWidth);
        int layers = root.RequiredInt("num_hidden_layers", 1, ConfigSection.MaxLayers);
        positions = root.Int("max_position_embeddings", positions, 1, ConfigSection.MaxLength);
        if (heads % keyHeads != 0)
            throw root.Refuse("num_key_value_heads", $"{keyHeads} do not divide num_attention_heads = {heads}");
        int? given = root.OptionalInt("head_dim", 1, ConfigSection.MaxWidth) ?? headSize;
        if (given is null && width % heads != 0)
            throw root.Refuse("num_attention_heads", $"{heads} heads do not divide the width hidden_size = {width}");
        int size = given ?? width / heads;
        bool hasBias = root.Flag("attention_bias", false);
        var rope = RopeReader.Read(root, size, positions, theta);
        return new DecoderShape
        {
            Sizes = new ModelShape
            {
                Layers = layers,
                Width = width,
                InnerWidth = root.RequiredInt("intermediate_size", 1, 4 * ConfigSection.MaxWidth),
                IsGated = true,
                Heads = heads,
                KeyValueHeads = keyHeads,
                HeadSize = size,
                VocabSize = root.RequiredInt("vocab_size", 1, ConfigSection.MaxVocabulary),
                // What dynamic scaling is for: texts beyond the configuration's.
                MaxPositions = rope.Type == RopeType.Dynamic
                    ? (int)Math.Min(ConfigSection.MaxLength, positions * rope.Factor) : positions,
                DropsAttention = root.Probability("attention_dropout", 0) > 0,
                Parameters = 0,
                LayerParameters = 0,
            },
            Layers = [.. Enumerable.Repeat(new LayerSettings(null, 0), layers)],
            Ropes = [rope],
            IsTied = root.Flag("tie_word_embeddings", isTied),
            NormEpsilon = root.Positive("rms_norm_eps", epsilon),
            HasQkvBias = hasBias,
            HasOutputBias = hasBias,
            HasMlpBias = root.Flag("mlp_bias", false),
            Activation = root.Text("hidden_act", "silu"),
            AttentionDropout = root.Probability("attention_dropout", 0),
            InitializerRange = root.Number("initializer_range", 0.02),
        };
    }

    /// <summary>Which layers slide: by <c>layer_types</c>, or else by the family's rule.</summary>
    protected static IReadOnlyList<bool> Sliding(ConfigSection root, int layers, Func<int, bool> rule)
    {
        if (root.Texts("layer_types") is not { } types)
            return [.. Enumerable.Range(0, layers).Select(rule)];
        if (types.Count != layers)
            throw root.Refuse("layer_types", $"{types.Count} entries for num_hidden_layers = {layers}");
        return [.. types.Select(t => t switch
        {
            "sliding_attention" => true,
            "full_attention" => false,
            _ => throw root.Refuse("layer_types", $"'{t}' is not supported; known are full_attention and sliding_attention"),
        })];
    }

    /// <summary>The window of layers that slide; null where none is set.</summary>
    protected static int? Window(ConfigSection root, int? usual = null) =>
        root.Keys.Contains("sliding_window") ? root.OptionalInt("sliding_window", 1, ConfigSection.MaxLength) : usual;

    /// <summary>The shape with windows on layers that slide.</summary>
    protected static DecoderShape WithWindows(DecoderShape shape, int? window, IReadOnlyList<bool> slides) => shape with
    {
        Layers = [.. shape.Layers.Select((l, i) => slides[i] ? l with { Window = window } : l)],
    };

    public override ModelConfig NewConfig(NewModelSizes sizes)
    {
        int width = sizes.HiddenSize ?? 576, heads = sizes.Heads ?? Math.Max(1, width / 64);
        var json = new JsonObject
        {
            ["architectures"] = new JsonArray(architecture),
            ["model_type"] = modelType,
            ["vocab_size"] = sizes.VocabSize ?? 49_152,
            ["hidden_size"] = width,
            // Two thirds of four times the width, as a gate adds a third matrix; a multiple of 16.
            ["intermediate_size"] = sizes.IntermediateSize ?? Math.Max(16, width * 8 / 3 / 16 * 16),
            ["num_hidden_layers"] = sizes.Layers ?? 12,
            ["num_attention_heads"] = heads,
            ["num_key_value_heads"] = sizes.KeyValueHeads ?? heads,
            ["head_dim"] = width / heads,
            ["max_position_embeddings"] = sizes.MaxPositions ?? 2048,
            ["initializer_range"] = 0.02,
            ["tie_word_embeddings"] = true,
            ["bos_token_id"] = sizes.BosTokenId,
            ["eos_token_id"] = sizes.EosTokenId,
            ["pad_token_id"] = sizes.PadTokenId,
        };
        if (sizes.Dropout is > 0 and var dropout)
            json["attention_dropout"] = dropout;
        AddNew(json);
        return ModelConfig.Of(json);
    }

    /// <summary>Adds what a new model of the family says beyond the usual.</summary>
    protected virtual void AddNew(JsonObject json) => json["rope_parameters"] =
        new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 10_000.0 };
}
