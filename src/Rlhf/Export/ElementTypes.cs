using TorchSharp;

namespace Rlhf.Export;

/// <summary>Names of element types: transformers' (float32) and llama.cpp's (f32) are taken alike.</summary>
internal static class ElementTypes
{
    /// <summary>The element type as it is stored.</summary>
    public const string Auto = "auto";

    /// <summary>Types that safetensors files of weights have.</summary>
    public static readonly IReadOnlyList<string> Torch = ["float32", "float16", "bfloat16", "float64", Auto];

    private static readonly (string Long, string Short)[] Alike =
        [("float32", "f32"), ("float16", "f16"), ("bfloat16", "bf16"), ("float64", "f64"), ("float16", "half"), ("float32", "fp32"), ("float16", "fp16")];

    /// <summary>A format's own name of a type; null where it does not store it.</summary>
    public static string? Find(IExportFormat format, string type)
    {
        string lower = type.ToLowerInvariant();
        return format.Types.FirstOrDefault(t => t == lower || Standard(t) == Standard(lower));
    }

    /// <summary>The type that options name, or the format's default.</summary>
    public static string Of(IExportFormat format, ExportOptions options) =>
        options.Type is null ? format.Types[0] : Find(format, options.Type)!;

    /// <summary>libtorch's type; null for <see cref="Auto"/>.</summary>
    public static torch.ScalarType? ToTorch(string type) => type switch
    {
        "float16" => torch.ScalarType.Float16,
        "bfloat16" => torch.ScalarType.BFloat16,
        "float64" => torch.ScalarType.Float64,
        "float32" => torch.ScalarType.Float32,
        _ => null,
    };

    private static string Standard(string type) => Alike.FirstOrDefault(a => a.Short == type).Long ?? type;
}
