using System.Text.Json.Nodes;

namespace Rlhf.Models;

/// <summary>Shapes of well-known models, and two small ones, for benchmarks on random weights.</summary>
internal static class KnownShapes
{
    private static readonly Dictionary<string, string> Configs = new()
    {
        ["gpt2"] = """{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}""",
        ["tiny"] = """
            {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 8000, "n_positions": 128, "n_embd": 256,
             "n_layer": 6, "n_head": 8}
            """,
        ["smollm2-135m"] = """
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49152, "hidden_size": 576,
             "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
             "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000, "tie_word_embeddings": true}
            """,
        ["qwen2.5-0.5b"] = """
            {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151936, "hidden_size": 896,
             "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
             "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000, "tie_word_embeddings": true}
            """,
        ["distilbert"] = """{"model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"]}""",
        ["tiny-reward"] = """
            {"model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"], "vocab_size": 8000,
             "max_position_embeddings": 256, "dim": 192, "n_layers": 2, "n_heads": 6, "hidden_dim": 768}
            """,
    };

    /// <summary>The names.</summary>
    public static IReadOnlyCollection<string> Names => Configs.Keys;

    /// <summary>The configuration of a name, or null.</summary>
    public static ModelConfig? Find(string name) =>
        Configs.TryGetValue(name, out var json) ? ModelConfig.Of((JsonObject)JsonNode.Parse(json)!) : null;
}
