using Rlhf.Models.Onnx;

namespace Rlhf.Models.Decoders;

internal sealed partial class DecoderBlock
{
    /// <summary>The block in ONNX's operators: [B, T, D] to [B, T, D].</summary>
    public OnnxValue Graph(OnnxGraph graph, OnnxValue x, DecoderOnnxPass pass, int layer)
    {
        OnnxValue attended;
        using (graph.In("attn"))
            attended = Normed(attentionOutputNorm, graph.Linear(AttendOver(graph, Normed(attentionNorm, x), pass, layer), output));
        using (graph.In("mlp"))
        {
            if (shape.IsParallel)
                return graph.Add(graph.Add(x, attended), FeedForward(graph, Normed(mlpNorm, x)));
            x = graph.Add(x, attended);
            return graph.Add(x, Normed(mlpOutputNorm, FeedForward(graph, Normed(mlpNorm, x))));
        }

        OnnxValue Normed(DecoderNorm? norm, OnnxValue value) => norm is null ? value : norm.Graph(graph, value);
    }

    private OnnxValue AttendOver(OnnxGraph graph, OnnxValue x, DecoderOnnxPass pass, int layer)
    {
        var (q, k, v) = Project(graph, x);
        if (shape.QueryKeyNorm == QueryKeyNorm.PerHead)
            (q, k) = (queryNorm!.Graph(graph, q), keyNorm!.Graph(graph, k));
        (q, k) = (pass.Rotate(q, settings.Rope, headSize), pass.Rotate(k, settings.Rope, headSize));
        var (keys, values) = pass.Rows.Keep(layer, graph.Kept(k), graph.Kept(v));
        return graph.Attend(q, keys, values, pass.Rows.Seen(settings.Window), (heads, keyHeads, headSize),
            shape.AttentionScale ?? 1 / Math.Sqrt(headSize), shape.AttentionCap);
    }

    /// <summary>Queries [B, T, H, head size], keys and values [B, T, K, head size].</summary>
    private (OnnxValue Q, OnnxValue K, OnnxValue V) Project(OnnxGraph graph, OnnxValue x)
    {
        int width = heads * headSize, kv = keyHeads * headSize;
        if (shape.Qkv == QkvLayout.ByHead)
        {
            var each = graph.Split(graph.Heads(graph.Linear(x, qkv!), heads, 3 * headSize), 3, headSize, headSize, headSize);
            return (each[0], each[1], each[2]);
        }
        OnnxValue[] parts = qkv is not null ? graph.Split(graph.Linear(x, qkv), 2, width, kv, kv)
            : [graph.Linear(x, query!), graph.Linear(x, key!), graph.Linear(x, value!)];
        if (shape.QueryKeyNorm == QueryKeyNorm.Whole)
            (parts[0], parts[1]) = (queryNorm!.Graph(graph, parts[0]), keyNorm!.Graph(graph, parts[1]));
        return (graph.Heads(parts[0], heads, headSize), graph.Heads(parts[1], keyHeads, headSize), graph.Heads(parts[2], keyHeads, headSize));
    }

    private OnnxValue FeedForward(OnnxGraph graph, OnnxValue x)
    {
        if (gateUp is not null)
        {
            int inner = shape.Sizes.InnerWidth;
            var both = graph.Split(graph.Linear(x, gateUp), 2, inner, inner);
            return graph.Linear(graph.Multiply(graph.Activate(shape.Activation, both[0]), both[1]), down);
        }
        var widened = graph.Linear(x, up!);
        return graph.Linear(gate is null ? graph.Activate(shape.Activation, widened)
            : graph.Multiply(graph.Activate(shape.Activation, graph.Linear(x, gate)), widened), down);
    }
}
