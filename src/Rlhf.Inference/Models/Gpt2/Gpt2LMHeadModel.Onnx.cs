using Rlhf.Models.Onnx;

namespace Rlhf.Models.Gpt2;

public sealed partial class Gpt2LMHeadModel
{
    internal override OnnxValue Graph(OnnxGraph graph, OnnxRows rows)
    {
        OnnxValue x;
        using (graph.In("embeddings"))
            x = graph.Add(graph.Embed(wte, rows.Ids), graph.Embed(wpe, rows.Positions));
        for (int i = 0; i < blocks.Length; i++)
            using (graph.In($"h.{i}"))
                x = blocks[i].Graph(graph, x, rows, i);
        return graph.LayerNorm(x, lnWeight, lnBias, Config.LayerNormEpsilon);
    }
}
