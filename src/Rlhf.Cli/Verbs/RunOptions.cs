using System.ComponentModel;
using Rlhf.Cli.Settings;
using Rlhf.Runtime;
using TorchSharp;

namespace Rlhf.Cli.Verbs;

/// <summary>Where a verb computes.</summary>
internal sealed record ComputeOptions
{
    [Description("Where to compute; auto takes CUDA when there is one.")]
    [ValueName("auto|cpu|cuda|cuda:N")]
    public string Device { get; init; } = "auto";

    [Description("CPU threads; unset: one per physical core.")]
    [ValueName("N")]
    public int? Threads { get; init; }

    [Description("What matrices are multiplied in: float32, or bfloat16 with float32 sums and weights, faster and less exact.")]
    public MatrixPrecision MatmulPrecision { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Threads is < 1 or > 4096) yield return $"Threads is {Threads}; it must be at least 1, or left out.";
        if (Device is null) yield return "Device has no value; use auto, cpu or cuda.";
    }

    /// <summary>Loads libtorch, sets the threads and finds the device.</summary>
    public torch.Device Start()
    {
        LibTorch.Initialize(Threads);
        MatrixProduct.Precision = MatmulPrecision;
        return Devices.Resolve(Device);
    }
}
