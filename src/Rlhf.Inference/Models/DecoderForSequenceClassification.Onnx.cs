using Rlhf.Models.Onnx;

namespace Rlhf.Models;

public sealed partial class DecoderForSequenceClassification
{
    internal override OnnxValue Graph(OnnxGraph graph, OnnxRows rows)
    {
        var hidden = trunk.Graph(graph, rows);
        using var part = graph.In("head");
        return graph.Linear(rows.Pick(hidden, rows.Last(PadTokenId)), score);
    }
}
