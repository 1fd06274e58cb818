using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Runtime.Files;

namespace Rlhf.Export.Onnx;

/// <summary>Writes genai_config.json, by which ONNX Runtime GenAI runs a language model.</summary>
/// <seealso href="https://onnxruntime.ai/docs/genai/reference/config.html"/>
internal static class GenAiConfig
{
    public const string FileName = "genai_config.json";

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>
    /// What it calls decoders of its own list, where that is the name in config.json; all others are of its type decoder, which is computed
    /// alike. Its gpt2 is another form, with keys and values in one tensor.
    /// </summary>
    private static readonly HashSet<string> KnownTypes = ["gemma2", "gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"];

    /// <summary>Writes the file.</summary>
    /// <param name="folder">The folder of <see cref="OnnxModel.FileName"/>.</param>
    /// <param name="model">The model.</param>
    /// <param name="maxLength">Longest text in tokens.</param>
    public static void Write(string folder, CausalLM model, int maxLength)
    {
        var (config, shape) = (model.Configuration, model.Shape);
        var ends = model.EosTokenIds;
        var search = new JsonObject
        {
            ["do_sample"] = config.Generation?.Flag("do_sample", false) ?? false,
            ["max_length"] = maxLength,
            ["num_beams"] = 1,
            ["past_present_share_buffer"] = false,
        };
        foreach (string key in (string[])["temperature", "top_k", "top_p", "repetition_penalty"])
            if (config.Generation?.OptionalNumber(key) is { } value)
                search[key] = value;
        var json = new JsonObject
        {
            ["model"] = new JsonObject
            {
                ["type"] = KnownTypes.Contains(config.ModelType) ? config.ModelType : "decoder",
                ["vocab_size"] = shape.VocabSize,
                ["context_length"] = maxLength,
                ["bos_token_id"] = config.BosTokenId ?? (ends is [var end, ..] ? end : 0),
                ["eos_token_id"] = ends.Count == 1 ? ends[0] : new JsonArray([.. ends.Select(e => (JsonNode)e)]),
                // Rows of a batch are padded with it; what it is means nothing to the model.
                ["pad_token_id"] = config.PadTokenId ?? (ends is [var first, ..] ? first : 0),
                ["decoder"] = new JsonObject
                {
                    ["session_options"] = new JsonObject { ["log_id"] = "onnxruntime-genai", ["provider_options"] = new JsonArray() },
                    ["filename"] = OnnxModel.FileName,
                    ["head_size"] = shape.HeadSize,
                    ["hidden_size"] = shape.Width,
                    ["num_attention_heads"] = shape.Heads,
                    ["num_hidden_layers"] = shape.Layers,
                    ["num_key_value_heads"] = shape.KeyValueHeads,
                    ["inputs"] = new JsonObject
                    {
                        ["input_ids"] = "input_ids",
                        ["attention_mask"] = "attention_mask",
                        ["past_key_names"] = "past_key_values.%d.key",
                        ["past_value_names"] = "past_key_values.%d.value",
                    },
                    ["outputs"] = new JsonObject
                    {
                        ["logits"] = "logits",
                        ["present_key_names"] = "present.%d.key",
                        ["present_value_names"] = "present.%d.value",
                    },
                },
            },
            ["search"] = search,
        };
        AtomicFile.WriteAllText(Path.Combine(folder, FileName), json.ToJsonString(Indented) + "\n");
    }
}
