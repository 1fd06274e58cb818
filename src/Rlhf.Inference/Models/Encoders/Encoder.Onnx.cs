using Rlhf.Models.Layers;
using Rlhf.Models.Onnx;
using static TorchSharp.torch;

namespace Rlhf.Models.Encoders;

internal sealed partial class Encoder
{
    /// <summary><see cref="FirstTokens(PackedBatch, Tensor, bool)"/> in ONNX's operators: [B, D].</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="rows">The rows.</param>
    /// <param name="positionIds">Positions [B, T], int64.</param>
    public OnnxValue FirstTokens(OnnxGraph graph, OnnxRows rows, OnnxValue positionIds)
    {
        OnnxValue x;
        using (graph.In("embeddings"))
        {
            x = graph.Add(graph.Embed(words, rows.Ids), graph.Embed(positions, positionIds));
            if (tokenTypes is not null)
                x = graph.Add(x, graph.Embed(tokenTypes, graph.Long(0)));
            x = norm.Graph(graph, x);
        }
        for (int i = 0; i < layers.Length; i++)
            using (graph.In($"layer.{i}"))
                x = layers[i].Graph(graph, x, rows, isLast: i == layers.Length - 1);
        return x;
    }

    private sealed partial class Layer
    {
        /// <summary>[B, T, D] to [B, T, D]; of the last layer, each row's first token alone: [B, D].</summary>
        public OnnxValue Graph(OnnxGraph graph, OnnxValue x, OnnxRows rows, bool isLast)
        {
            int heads = config.NumAttentionHeads, size = config.HiddenSize / heads;
            OnnxValue Heads(Linear layer, OnnxValue of) => graph.Heads(graph.Linear(of, layer), heads, size);
            OnnxValue keys = graph.Kept(Heads(key, x)), values = graph.Kept(Heads(value, x));
            if (isLast)
                x = graph.Unsqueeze(rows.Pick(x, rows.First), 1);
            var attended = graph.Attend(Heads(query, x), keys, values, rows.SeenByAll, (heads, heads, size), 1 / Math.Sqrt(size));
            x = attentionNorm.Graph(graph, graph.Add(x, graph.Linear(attended, attentionOutput)));
            var inner = graph.Activate(config.HiddenAct, graph.Linear(x, intermediate));
            x = outputNorm.Graph(graph, graph.Add(x, graph.Linear(inner, output)));
            return isLast ? graph.Reshape(x, 0, config.HiddenSize) : x;
        }
    }
}
