using Rlhf.Models.Layers;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Onnx;

/// <summary>Layers that families share, in ONNX's operators.</summary>
/// <remarks>B rows, T new tokens and S tokens in all of the longest row, D width, H heads of queries, K heads of keys and values.</remarks>
internal static class OnnxLayers
{
    /// <summary>Rows of an embedding [V, D] by token: float32 [.., D].</summary>
    public static OnnxValue Embed(this OnnxGraph graph, Parameter table, OnnxValue numbers)
    {
        var found = graph.Gather(graph.StoredWeight(table), numbers);
        return graph.IsHalf(table) ? graph.Cast(found, OnnxType.Float) : found;
    }

    /// <summary>A linear layer: [B, T, in] to [B, T, out], or [B, in] to [B, out].</summary>
    /// <exception cref="NotSupportedException">An adapter's update is beside its weight.</exception>
    public static OnnxValue Linear(this OnnxGraph graph, OnnxValue x, Linear layer)
    {
        if (layer.Adapter is not null)
            throw new NotSupportedException($"{layer.Name} has an adapter beside it; merge the adapter (rlhf merge) before exporting.");
        // The embedding serves as output layer, too: it is stored once.
        var product = graph.HasStored(layer.Weight) ? Tied(graph, x, layer)
            : graph.Product(x, graph.Weight(layer.Weight, layer.Name + ".weight", isTransposed: !layer.IsConv1D));
        return layer.Bias is { } bias ? graph.Add(product, graph.Weight(bias, layer.Name + ".bias")) : product;
    }

    /// <summary>Logits [B, T, V] of hidden states [B, T, D].</summary>
    public static OnnxValue Logits(this OnnxGraph graph, OnnxValue hidden, OutputHead head)
    {
        using var part = graph.In("head");
        var logits = graph.Scale(graph.Linear(hidden, head.Layer), head.Scale / (head.Cap ?? 1));
        return head.Cap is { } cap ? graph.Scale(graph.Node("Tanh", [logits]), cap) : logits;
    }

    /// <summary>Layer normalization over the last dimension.</summary>
    public static OnnxValue LayerNorm(this OnnxGraph graph, OnnxValue x, Parameter weight, Parameter bias, double epsilon) =>
        graph.Node("LayerNormalization", [x, graph.Weight(weight), graph.Weight(bias)],
            new OnnxAttribute("axis", -1L), new OnnxAttribute("epsilon", (float)epsilon));

    /// <summary>x / √(mean of squares + ε) · w, or · (1 + w), over the last dimension.</summary>
    public static OnnxValue RmsNorm(this OnnxGraph graph, OnnxValue x, Parameter weight, double epsilon, bool addsOne)
    {
        var gain = graph.Weight(weight);
        if (addsOne)
            gain = graph.Add(gain, graph.Number(1));
        var squares = graph.Node("Pow", [x, graph.Number(2)]);
        var mean = graph.Node("ReduceMean", [squares, graph.Longs(-1)], new OnnxAttribute("keepdims", 1L));
        var root = graph.Node("Sqrt", [graph.Add(mean, graph.Number(epsilon))]);
        return graph.Multiply(graph.Node("Div", [x, root]), gain);
    }

    /// <summary>An activation function under transformers' name (<see cref="Activations"/>).</summary>
    public static OnnxValue Activate(this OnnxGraph graph, string name, OnnxValue x) => name switch
    {
        "gelu" => graph.Node("Gelu", [x], new OnnxAttribute("approximate", "none")),
        "gelu_new" or "gelu_pytorch_tanh" => graph.Node("Gelu", [x], new OnnxAttribute("approximate", "tanh")),
        "relu" => graph.Node("Relu", [x]),
        "silu" or "swish" => graph.Multiply(x, graph.Node("Sigmoid", [x])),
        "tanh" => graph.Node("Tanh", [x]),
        _ => throw new ArgumentException($"Unknown activation '{name}'; known are {Activations.Known}."),
    };

    /// <summary>Attention: softmax of scale · q kᵀ over the tokens that are seen, times v.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="queries">[B, T, H, head size].</param>
    /// <param name="keys">[B, K, S, head size]; K divides H.</param>
    /// <param name="values">[B, K, S, head size].</param>
    /// <param name="seen">[B, 1, T or 1, S], bool.</param>
    /// <param name="sizes">H, K and the head size.</param>
    /// <param name="scale">What products of queries and keys are multiplied with.</param>
    /// <param name="cap">Soft cap c of scores: c · tanh(score / c); null: none.</param>
    /// <returns>[B, T, H · head size].</returns>
    public static OnnxValue Attend(this OnnxGraph graph, OnnxValue queries, OnnxValue keys, OnnxValue values, OnnxValue seen,
        (int Heads, int KeyHeads, int HeadSize) sizes, double scale, double? cap = null)
    {
        var (heads, keyHeads, size) = sizes;
        bool isShared = heads != keyHeads;
        if (isShared)
        {
            // [B, K, H / K, T, head size]: the queries that share a head of keys stand side by side.
            queries = graph.Transpose(graph.Reshape(queries, 0, 0, keyHeads, heads / keyHeads, size), 0, 2, 3, 1, 4);
            (keys, values, seen) = (graph.Unsqueeze(keys, 2), graph.Unsqueeze(values, 2), graph.Unsqueeze(seen, 2));
        }
        else
            queries = graph.Transpose(queries, 0, 2, 1, 3);
        var turned = isShared ? graph.Transpose(keys, 0, 1, 2, 4, 3) : graph.Transpose(keys, 0, 1, 3, 2);
        var scores = graph.Product(graph.Scale(queries, scale / (cap ?? 1)), turned);
        if (cap is { } most)
            scores = graph.Scale(graph.Node("Tanh", [scores]), most);
        // Not minus infinity: a row of padding alone would become NaN, and spread.
        scores = graph.Where(seen, scores, graph.Number(float.MinValue));
        var mixed = graph.Product(graph.Node("Softmax", [scores], new OnnxAttribute("axis", -1L)), values);
        return graph.Reshape(isShared ? graph.Transpose(mixed, 0, 3, 1, 2, 4) : graph.Transpose(mixed, 0, 2, 1, 3), 0, 0, heads * size);
    }

    /// <summary>[B, T, heads · size] to [B, T, heads, size].</summary>
    public static OnnxValue Heads(this OnnxGraph graph, OnnxValue x, int heads, int size) => graph.Reshape(x, 0, 0, heads, size);

    /// <summary>[B, T, heads, size] to [B, heads, T, size], as keys and values are kept.</summary>
    public static OnnxValue Kept(this OnnxGraph graph, OnnxValue x) => graph.Transpose(x, 0, 2, 1, 3);

    /// <summary>The product with the transpose of a matrix [out, in] that is stored as it is.</summary>
    private static OnnxValue Tied(OnnxGraph graph, OnnxValue x, Linear layer)
    {
        var flat = graph.Reshape(x, -1, layer.Inputs);
        var product = graph.Node("Gemm", [flat, graph.Weight(layer.Weight)], new OnnxAttribute("transB", 1L));
        return graph.Node("Reshape", [product, graph.Concat(0, graph.Sizes(x, 0, -1), graph.Longs(layer.Outputs))]);
    }
}
