using Rlhf.Models.Onnx;

namespace Rlhf.Models.Gpt2;

internal sealed partial class Gpt2Block
{
    /// <summary>The block in ONNX's operators: [B, T, D] to [B, T, D].</summary>
    public OnnxValue Graph(OnnxGraph graph, OnnxValue x, OnnxRows rows, int layer)
    {
        int heads = Config.NHead, width = Config.NEmbd;
        using (graph.In("attn"))
        {
            var normed = graph.LayerNorm(x, ln1Weight, ln1Bias, Config.LayerNormEpsilon);
            var parts = graph.Split(graph.Linear(normed, attn), 2, width, width, width);
            var (keys, values) = rows.Keep(layer,
                graph.Kept(graph.Heads(parts[1], heads, headSize)), graph.Kept(graph.Heads(parts[2], heads, headSize)));
            var attended = graph.Attend(graph.Heads(parts[0], heads, headSize), keys, values, rows.Seen(null),
                (heads, heads, headSize), AttentionScale);
            x = graph.Add(x, graph.Linear(attended, attnProj));
        }
        using (graph.In("mlp"))
        {
            var normed = graph.LayerNorm(x, ln2Weight, ln2Bias, Config.LayerNormEpsilon);
            return graph.Add(x, graph.Linear(graph.Activate(Config.ActivationFunction, graph.Linear(normed, fc)), proj));
        }
    }
}
