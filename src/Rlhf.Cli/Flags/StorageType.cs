using TorchSharp;

namespace Rlhf.Cli.Flags;

/// <summary>How weights are stored in a file.</summary>
internal enum StorageType
{
    Float32,
    Float16,
    Bfloat16,
}

/// <summary>What libtorch calls them.</summary>
internal static class StorageTypes
{
    /// <summary>libtorch's name of a storage type; null keeps float32.</summary>
    public static torch.ScalarType? ToScalarType(this StorageType storage) => storage switch
    {
        StorageType.Float16 => torch.ScalarType.Float16,
        StorageType.Bfloat16 => torch.ScalarType.BFloat16,
        _ => null,
    };
}
