using System.Text.Json.Nodes;

namespace Rlhf.Models;

/// <summary>Shapes of well-known models, and two small ones, for benchmarks on random weights.</summary>
public static class KnownShapes
{
    private static readonly Dictionary<string, string> Configs = new()
    {
        ["gpt2"] = """{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}""",
        ["tiny"] = """
            {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 8000, "n_positions": 128, "n_embd": 256,
             "n_layer": 6, "n_head": 8}
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
