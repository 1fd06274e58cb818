namespace Rlhf.Models.Fused;

/// <summary>Blocks as one native call each way, on devices and for shapes that have them.</summary>
internal static class FusedBlocks
{
    /// <summary>Take them where they are supported; tests and benchmarks compare with blocks composed of libtorch's operators.</summary>
    public static bool Enabled { get; set; } = true;
}
