namespace Rlhf.Models.Onnx;

/// <summary>ONNX's operators as methods, with the attributes that models need.</summary>
internal static class OnnxOperators
{
    public static OnnxValue Cast(this OnnxGraph graph, OnnxValue x, OnnxType to) => graph.Node("Cast", [x], new OnnxAttribute("to", (long)to));

    public static OnnxValue Add(this OnnxGraph graph, OnnxValue a, OnnxValue b) => graph.Node("Add", [a, b]);

    public static OnnxValue Subtract(this OnnxGraph graph, OnnxValue a, OnnxValue b) => graph.Node("Sub", [a, b]);

    public static OnnxValue Multiply(this OnnxGraph graph, OnnxValue a, OnnxValue b) => graph.Node("Mul", [a, b]);

    /// <summary>The product with a number; nothing at all where it is 1.</summary>
    public static OnnxValue Scale(this OnnxGraph graph, OnnxValue x, double by) => by == 1 ? x : graph.Multiply(x, graph.Number(by));

    public static OnnxValue Product(this OnnxGraph graph, OnnxValue a, OnnxValue b) => graph.Node("MatMul", [a, b]);

    public static OnnxValue Transpose(this OnnxGraph graph, OnnxValue x, params long[] order) =>
        graph.Node("Transpose", [x], new OnnxAttribute("perm", order));

    /// <summary>Another shape: 0 keeps a dimension, -1 takes what is left.</summary>
    public static OnnxValue Reshape(this OnnxGraph graph, OnnxValue x, params long[] shape) => graph.Node("Reshape", [x, graph.Longs(shape)]);

    public static OnnxValue Unsqueeze(this OnnxGraph graph, OnnxValue x, params long[] axes) => graph.Node("Unsqueeze", [x, graph.Longs(axes)]);

    /// <summary>Parts of the given sizes along an axis.</summary>
    public static OnnxValue[] Split(this OnnxGraph graph, OnnxValue x, long axis, params long[] sizes) =>
        graph.Node("Split", sizes.Length, [x, graph.Longs(sizes)], new OnnxAttribute("axis", axis));

    public static OnnxValue Concat(this OnnxGraph graph, long axis, params OnnxValue[] parts) =>
        graph.Node("Concat", parts, new OnnxAttribute("axis", axis));

    /// <summary>Rows of a table, by their numbers.</summary>
    public static OnnxValue Gather(this OnnxGraph graph, OnnxValue table, OnnxValue numbers) =>
        graph.Node("Gather", [table, numbers], new OnnxAttribute("axis", 0L));

    /// <summary>Sizes [end - start] of some dimensions.</summary>
    public static OnnxValue Sizes(this OnnxGraph graph, OnnxValue x, long start, long end) =>
        graph.Node("Shape", [x], new OnnxAttribute("start", start), new OnnxAttribute("end", end));

    public static OnnxValue And(this OnnxGraph graph, OnnxValue a, OnnxValue b) => graph.Node("And", [a, b]);

    public static OnnxValue Where(this OnnxGraph graph, OnnxValue condition, OnnxValue yes, OnnxValue no) => graph.Node("Where", [condition, yes, no]);
}
