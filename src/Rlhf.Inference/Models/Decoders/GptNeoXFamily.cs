using System.Text.Json.Nodes;

namespace Rlhf.Models.Decoders;

/// <summary>GPT-NeoX and Pythia: layer norms, attention and feed-forward layer side by side, projections joined head by head.</summary>
internal sealed class GptNeoXFamily() : DecoderFamily("gpt_neox", "GPTNeoXForCausalLM")
{
    private protected override DecoderGgufTraits GgufTraits => new("gptneox")
    {
        TakesQkvBias = true,
        TakesOutputBias = true,
        TakesMlpBias = true,
        NeedsBias = true,
        TakesPartialRotation = true,
        NeedsOutput = true,
        Activations = DecoderGgufTraits.Gelu,
    };

    protected override DecoderShape Read(ConfigSection root)
    {
        bool hasBias = root.Flag("attention_bias", true);
        var shape = Usual(root);
        int size = shape.Sizes.HeadSize;
        if (shape.Sizes.KeyValueHeads != shape.Sizes.Heads)
            throw root.Refuse("num_key_value_heads", "keys and values have as many heads as queries in this family");
        return shape with
        {
            Sizes = shape.Sizes with { IsGated = false },
            Names = DecoderNames.GptNeoX,
            Ropes = [RopeReader.Read(root, size, shape.Sizes.MaxPositions, 10_000, partial: 0.25)],
            Norm = NormKind.Layer,
            NormEpsilon = root.Positive("layer_norm_eps", 1e-5),
            Qkv = QkvLayout.ByHead,
            HasQkvBias = hasBias,
            HasOutputBias = hasBias,
            HasMlpBias = true,
            IsParallel = root.Flag("use_parallel_residual", true),
            Activation = root.Text("hidden_act", "gelu"),
            ResidualDropout = root.Probability("hidden_dropout", 0),
            EmbeddingDropout = root.Probability("hidden_dropout", 0),
        };
    }

    protected override void AddNew(JsonObject json)
    {
        json.Remove("num_key_value_heads");
        json["intermediate_size"] = 4 * (int)json["hidden_size"]!;
        json["hidden_act"] = "gelu";
        json["rope_parameters"] =
            new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 10_000.0, ["partial_rotary_factor"] = 0.25 };
    }
}
