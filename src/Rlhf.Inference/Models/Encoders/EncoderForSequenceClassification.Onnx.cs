using Rlhf.Models.Onnx;

namespace Rlhf.Models.Encoders;

public abstract partial class EncoderForSequenceClassification
{
    internal sealed override OnnxValue Graph(OnnxGraph graph, OnnxRows rows)
    {
        var first = encoder.FirstTokens(graph, rows, PositionIds(graph, rows));
        using var part = graph.In("head");
        return Head(graph, first);
    }

    /// <summary><see cref="Head(TorchSharp.torch.Tensor)"/> in ONNX's operators.</summary>
    private protected abstract OnnxValue Head(OnnxGraph graph, OnnxValue first);

    /// <summary><see cref="PositionIds(PackedBatch)"/> in ONNX's operators: [B, T].</summary>
    private protected virtual OnnxValue PositionIds(OnnxGraph graph, OnnxRows rows) => rows.Positions;
}
