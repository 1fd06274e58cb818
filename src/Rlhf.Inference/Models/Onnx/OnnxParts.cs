using static TorchSharp.torch;

namespace Rlhf.Models.Onnx;

/// <summary>Element types, under their numbers in onnx.proto (TensorProto.DataType).</summary>
internal enum OnnxType
{
    Float = 1,
    Int32 = 6,
    Int64 = 7,
    Bool = 9,
    Float16 = 10,
}

/// <summary>A value of a graph: what an input, an initializer or a node gives.</summary>
/// <param name="Name">Its name, which no other value of the graph has.</param>
internal readonly record struct OnnxValue(string Name);

/// <summary>An attribute of a node.</summary>
/// <param name="Name">The operator's name of it.</param>
/// <param name="Value">A long, float, string or array of long.</param>
internal readonly record struct OnnxAttribute(string Name, object Value);

/// <summary>An operator of ONNX's standard set, with what goes in and comes out.</summary>
internal sealed record OnnxNode(
    string Operator, IReadOnlyList<OnnxValue> Inputs, IReadOnlyList<OnnxValue> Outputs, IReadOnlyList<OnnxAttribute> Attributes);

/// <summary>An input or output of the whole graph.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Its element type.</param>
/// <param name="Dimensions">A long where a dimension is fixed, and a name where callers choose it.</param>
internal sealed record OnnxPort(string Name, OnnxType Type, IReadOnlyList<object> Dimensions);

/// <summary>A value that the file holds: a constant, or a weight of the model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Its element type in the file.</param>
/// <param name="Shape">Its shape in the file.</param>
internal sealed record OnnxInitializer(string Name, OnnxType Type, IReadOnlyList<long> Shape)
{
    /// <summary>A constant's elements, little-endian; null for a weight.</summary>
    public byte[]? Constant { get; init; }

    /// <summary>A weight; null for a constant.</summary>
    public Tensor? Weight { get; init; }

    /// <summary>The file holds the weight's transpose.</summary>
    public bool IsTransposed { get; init; }

    /// <summary>Bytes of its elements in the file.</summary>
    public long Bytes => Constant?.Length ?? Weight!.numel() * (Type == OnnxType.Float16 ? 2 : 4);
}
