namespace Rlhf.Models.Gpt2;

/// <summary>GPT-2's settings and names as llama.cpp reads them.</summary>
internal static class Gpt2Gguf
{
    /// <summary>The map of a configuration.</summary>
    /// <exception cref="InvalidDataException">llama.cpp does not do what the configuration asks for.</exception>
    public static GgufMap Map(Gpt2Config config, ConfigSection root)
    {
        const string Other = "which llama.cpp does not do in its family 'gpt2'";
        if (config.ActivationFunction is not ("gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" or "gelu"))
            throw root.Refuse("activation_function", $"'{config.ActivationFunction}' is the activation, {Other}");
        if (!config.ScaleAttnWeights || config.ScaleAttnByInverseLayerIdx)
            throw root.Refuse(config.ScaleAttnWeights ? "scale_attn_by_inverse_layer_idx" : "scale_attn_weights",
                $"attention scores are scaled otherwise than by 1 / √(head size), {Other}");
        var shape = config.Shape;
        KeyValuePair<string, object>[] metadata =
        [
            new("gpt2.vocab_size", (uint)shape.VocabSize),
            new("gpt2.context_length", (uint)shape.MaxPositions),
            new("gpt2.embedding_length", (uint)shape.Width),
            new("gpt2.block_count", (uint)shape.Layers),
            new("gpt2.feed_forward_length", (uint)shape.InnerWidth),
            new("gpt2.attention.head_count", (uint)shape.Heads),
            new("gpt2.attention.layer_norm_epsilon", (float)config.LayerNormEpsilon),
        ];
        List<GgufTensor> tensors =
        [
            new("token_embd.weight", "transformer.wte.weight"),
            new("position_embd.weight", "transformer.wpe.weight"),
        ];
        for (int i = 0; i < shape.Layers; i++)
        {
            string from = $"transformer.h.{i}.", to = $"blk.{i}.";
            Add(to + "attn_norm", from + "ln_1");
            Add(to + "attn_qkv", from + "attn.c_attn", isTransposed: true);
            Add(to + "attn_output", from + "attn.c_proj", isTransposed: true);
            Add(to + "ffn_norm", from + "ln_2");
            Add(to + "ffn_up", from + "mlp.c_fc", isTransposed: true);
            Add(to + "ffn_down", from + "mlp.c_proj", isTransposed: true);
        }
        Add("output_norm", "transformer.ln_f");
        if (!config.TiesWordEmbeddings)
            tensors.Add(new("output.weight", "lm_head.weight"));
        return new("gpt2", metadata, tensors) { Notes = config.ActivationFunction == "gelu" ? [GgufMap.GeluNote] : [] };

        void Add(string to, string from, bool isTransposed = false)
        {
            tensors.Add(new(to + ".weight", from + ".weight") { IsTransposed = isTransposed });
            tensors.Add(new(to + ".bias", from + ".bias"));
        }
    }
}
