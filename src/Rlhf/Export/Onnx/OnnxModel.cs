using System.Globalization;
using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Onnx;
using Rlhf.Runtime;

namespace Rlhf.Export.Onnx;

/// <summary>
/// Writes models as ONNX, which ONNX Runtime and programs built on it run without this library. The file holds the forward pass in
/// standard operators (opset 20), and computes in float32.
/// </summary>
/// <remarks>B rows, T tokens of the longest row, V vocabulary.</remarks>
public static class OnnxModel
{
    /// <summary>Name of the file in its folder.</summary>
    public const string FileName = "model.onnx";

    /// <summary>
    /// Writes a classifier or reward model as model.onnx: <c>input_ids</c> and <c>attention_mask</c> [B, T], int64, become <c>logits</c>
    /// [B, labels], float32. Padding may stand on either side: rows are read as if they had none, as this library reads them. The file's
    /// metadata name the <c>architecture</c>, the <c>labels</c> (a JSON list) and the <c>max_length</c> of a row in tokens.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="folder">The folder; made when it does not exist.</param>
    /// <param name="storesHalf">Store matrices as float16, in half of the room.</param>
    /// <returns>Number of weights, and bytes of the files.</returns>
    /// <exception cref="NotSupportedException">The architecture has no form in ONNX, an adapter is not merged, or weights are kept as int8.</exception>
    /// <exception cref="ConfigurationException">A weight is too large for float16.</exception>
    /// <exception cref="IOException">The disk is full, or a file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static (long Parameters, long Bytes) Save(SequenceClassifier model, string folder, bool storesHalf = false) =>
        Save(model, folder, storesHalf, OnnxFile.MostBytes);

    internal static (long Parameters, long Bytes) Save(SequenceClassifier model, string folder, bool storesHalf, long mostBytes)
    {
        var graph = Graph(model, storesHalf);
        var rows = new OnnxRows(graph, model.MaxPositions);
        graph.Output("logits", model.Graph(graph, rows), OnnxType.Float, "batch", (long)model.Labels.Count);
        return Write(graph, folder, mostBytes, new()
        {
            ["architecture"] = model.Architecture,
            ["labels"] = new JsonArray([.. model.Labels.Select(l => (JsonNode)l)]).ToJsonString(),
            ["max_length"] = rows.MaxPositions.ToString(CultureInfo.InvariantCulture),
        });
    }

    /// <summary>
    /// Writes a language model as model.onnx, and the genai_config.json by which ONNX Runtime GenAI runs it: <c>input_ids</c> [B, T] and
    /// <c>attention_mask</c> [B, S], int64, with <c>past_key_values.N.key</c> and <c>.value</c> [B, key/value heads, S - T, head size] of each
    /// layer become <c>logits</c> [B, T, V] and <c>present.N.key</c> and <c>.value</c> of all S tokens, float32. Positions follow from the
    /// mask. Models that turn their rotary positions otherwise in long texts are written for texts up to that length.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="folder">The folder; made when it does not exist. The tokenizer's files belong beside.</param>
    /// <param name="storesHalf">Store matrices as float16, in half of the room.</param>
    /// <returns>Number of weights, bytes of the files, and the longest text in tokens.</returns>
    /// <exception cref="NotSupportedException">The architecture has no form in ONNX, an adapter is not merged, or weights are kept as int8.</exception>
    /// <exception cref="ConfigurationException">A weight is too large for float16.</exception>
    /// <exception cref="IOException">The disk is full, or a file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static (long Parameters, long Bytes, int MaxLength) Save(CausalLM model, string folder, bool storesHalf = false) =>
        Save(model, folder, storesHalf, OnnxFile.MostBytes);

    internal static (long Parameters, long Bytes, int MaxLength) Save(CausalLM model, string folder, bool storesHalf, long mostBytes)
    {
        var graph = Graph(model, storesHalf);
        var rows = new OnnxRows(graph, model.MaxPositions, (model.Shape.KeyValueHeads, model.Shape.HeadSize));
        var logits = graph.Logits(model.Graph(graph, rows), model.Head);
        graph.Output("logits", logits, OnnxType.Float, "batch", "length", (long)model.VocabSize);
        var (parameters, bytes) = Write(graph, folder, mostBytes, new()
        {
            ["architecture"] = model.Architecture,
            ["max_length"] = rows.MaxPositions.ToString(CultureInfo.InvariantCulture),
        });
        GenAiConfig.Write(folder, model, rows.MaxPositions);
        return (parameters, bytes, rows.MaxPositions);
    }

    private static OnnxGraph Graph(PretrainedModel model, bool storesHalf) => model.Plan.Base == BaseStorage.Int8
        ? throw new NotSupportedException("A model whose weights are kept as int8 is not exported, as they are not what its file held; load it in float32 first.")
        : new OnnxGraph(model.Parameters, storesHalf);

    private static (long Parameters, long Bytes) Write(OnnxGraph graph, string folder, long mostBytes, Dictionary<string, string> metadata)
    {
        Directory.CreateDirectory(folder);
        return (graph.WeightCount, OnnxFile.Write(Path.Combine(folder, FileName), graph, metadata, mostBytes));
    }
}
