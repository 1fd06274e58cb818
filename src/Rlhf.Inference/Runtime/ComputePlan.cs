using System.Diagnostics.CodeAnalysis;
using TorchSharp;

namespace Rlhf.Runtime;

/// <summary>Where and how a model computes.</summary>
/// <param name="Device">Device of its weights.</param>
/// <param name="Weights">Element type of its weights and activations; logits and losses are float32 whatever it is.</param>
/// <param name="RecomputesActivations">While training, keep each block's input alone and compute the block again in the backward pass:
/// about a third more arithmetic for a fraction of the memory. Families that cannot do it refuse.</param>
/// <param name="Base">What the matrices are kept as, where they are only read: for models that answer, and for the base of an adapter. On the
/// CPU; families that cannot do it refuse. <paramref name="Weights"/> is then float32.</param>
public sealed record ComputePlan(
    torch.Device Device, torch.ScalarType Weights = torch.ScalarType.Float32, bool RecomputesActivations = false,
    BaseStorage Base = BaseStorage.Float32)
{
    /// <summary>float32 on the CPU.</summary>
    public static ComputePlan Default => new(torch.CPU);

    /// <summary>float32 on a device; null stays null.</summary>
    [return: NotNullIfNotNull(nameof(device))]
    public static implicit operator ComputePlan?(torch.Device? device) => device is null ? null : new ComputePlan(device);
}
