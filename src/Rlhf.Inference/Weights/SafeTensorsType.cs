using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>
/// An element type of the safetensors format, with its size and libtorch's type for it where TorchSharp has one.
/// </summary>
internal sealed record SafeTensorsType(string Name, int Bits, ScalarType? Torch, int Order)
{
    /// <summary>All types, in the order by which writers sort tensors (the last one comes first in a file).</summary>
    private static readonly SafeTensorsType[] All = new (string Name, int Bits, ScalarType? Torch)[]
    {
        ("BOOL", 8, ScalarType.Bool), ("F4", 4, null), ("F6_E2M3", 6, null), ("F6_E3M2", 6, null), ("U8", 8, ScalarType.Byte),
        ("I8", 8, ScalarType.Int8), ("F8_E5M2", 8, null), ("F8_E4M3", 8, null), ("F8_E8M0", 8, null), ("F8_E4M3FNUZ", 8, null),
        ("F8_E5M2FNUZ", 8, null), ("I16", 16, ScalarType.Int16), ("U16", 16, null), ("F16", 16, ScalarType.Float16),
        ("BF16", 16, ScalarType.BFloat16), ("I32", 32, ScalarType.Int32), ("U32", 32, null), ("F32", 32, ScalarType.Float32),
        ("C64", 64, ScalarType.ComplexFloat32), ("F64", 64, ScalarType.Float64), ("I64", 64, ScalarType.Int64), ("U64", 64, null),
    }.Select((type, order) => new SafeTensorsType(type.Name, type.Bits, type.Torch, order)).ToArray();

    public static SafeTensorsType? Find(string name) => Array.Find(All, type => type.Name == name);

    public static SafeTensorsType? Find(ScalarType torch) => Array.Find(All, type => type.Torch == torch);

    public static string Names => string.Join(", ", All.Select(type => type.Name));
}
