using Rlhf.Models.Onnx;

namespace Rlhf.Models.Decoders;

internal sealed partial class DecoderForCausalLM
{
    internal override OnnxValue Graph(OnnxGraph graph, OnnxRows rows)
    {
        var pass = new DecoderOnnxPass(graph, shape, rows);
        OnnxValue x;
        using (graph.In("embeddings"))
            x = graph.Scale(graph.Embed(embedding, rows.Ids), shape.EmbeddingScale);
        for (int i = 0; i < blocks.Length; i++)
            using (graph.In($"layers.{i}"))
                x = blocks[i].Graph(graph, x, pass, i);
        return norm.Graph(graph, x);
    }
}
