using Rlhf.Models.Onnx;

namespace Rlhf.Models.Decoders;

/// <summary>What all layers share in a graph: cosines and sines of the positions, and masks by window.</summary>
/// <remarks>R rotated numbers of a head.</remarks>
internal sealed class DecoderOnnxPass
{
    private readonly OnnxGraph graph;
    private readonly (OnnxValue Cos, OnnxValue Sin)?[] turns;
    private readonly IReadOnlyList<RopeConfig> ropes;

    public DecoderOnnxPass(OnnxGraph graph, DecoderShape shape, OnnxRows rows)
    {
        (this.graph, Rows, ropes) = (graph, rows, shape.Ropes);
        turns = new (OnnxValue, OnnxValue)?[ropes.Count];
        foreach (int used in shape.Layers.Select(l => l.Rope).OfType<int>().Distinct())
            using (graph.In($"rope.{used}"))
                turns[used] = Turn(ropes[used]);
    }

    public OnnxRows Rows { get; }

    /// <summary>Turns the first R numbers of each head [B, T, heads, head size] by their token's angles.</summary>
    public OnnxValue Rotate(OnnxValue x, int? rope, int headSize)
    {
        if (rope is not { } index || turns[index] is not var (cos, sin))
            return x;
        int half = ropes[index].Size / 2, rest = headSize - 2 * half;
        var parts = graph.Split(x, 3, rest > 0 ? [half, half, rest] : [half, half]);
        OnnxValue first = graph.Subtract(graph.Multiply(parts[0], cos), graph.Multiply(parts[1], sin));
        OnnxValue second = graph.Add(graph.Multiply(parts[1], cos), graph.Multiply(parts[0], sin));
        return graph.Concat(3, rest > 0 ? [first, second, parts[2]] : [first, second]);
    }

    /// <summary>Cosines and sines [B, T, 1, R / 2]: the same for all heads.</summary>
    private (OnnxValue Cos, OnnxValue Sin) Turn(RopeConfig rope)
    {
        var positions = graph.Unsqueeze(graph.Cast(Rows.Positions, OnnxType.Float), 2, 3);
        var angles = graph.Multiply(positions, Frequencies(rope));
        return (graph.Scale(graph.Node("Cos", [angles]), rope.AttentionFactor), graph.Scale(graph.Node("Sin", [angles]), rope.AttentionFactor));
    }

    /// <summary>Angles per position [R / 2].</summary>
    private OnnxValue Frequencies(RopeConfig rope)
    {
        if (!rope.DependsOnLength)
            return graph.Numbers(rope.Frequencies(rope.OriginalLength));
        if (Rows.KeepsKeys)
        {
            // Keys of earlier tokens are turned already when a text outgrows the length, and cannot be turned anew.
            Rows.LimitTo(rope.OriginalLength);
            return graph.Numbers(rope.Frequencies(rope.OriginalLength));
        }
        var longest = Rows.Longest;
        if (rope.Type == RopeType.LongRope)
            return graph.Where(graph.Node("Greater", [longest, graph.Long(rope.OriginalLength)]),
                graph.Numbers(rope.Frequencies(rope.OriginalLength + 1)), graph.Numbers(rope.Frequencies(rope.OriginalLength)));
        // Dynamic: the base grows with the text, so that each frequency is divided by a power of (factor · length / original - (factor - 1)).
        var length = graph.Cast(graph.Node("Max", [longest, graph.Long(rope.OriginalLength)]), OnnxType.Float);
        var growth = graph.Subtract(graph.Scale(length, rope.Factor / rope.OriginalLength), graph.Number(rope.Factor - 1));
        float[] powers = [.. Enumerable.Range(0, rope.Size / 2).Select(i => (float)(-2.0 * i / (rope.Size - 2.0)))];
        return graph.Multiply(graph.Numbers(rope.Frequencies(rope.OriginalLength)), graph.Node("Pow", [growth, graph.Numbers(powers)]));
    }
}
