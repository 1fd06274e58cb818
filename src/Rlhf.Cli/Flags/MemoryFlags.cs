using System.ComponentModel;
using Rlhf.Cli.Settings;
using Rlhf.Models;
using Rlhf.Runtime;
using TorchSharp;

namespace Rlhf.Cli.Flags;

/// <summary>What a model takes less memory by.</summary>
internal sealed record MemoryFlags
{
    [Description("Keep the input of each block alone, and compute the block again in the backward pass: the same numbers in about a third more time, for a "
        + "fraction of the memory.")]
    [MayChange]
    public bool RecomputeActivations { get; init; }

    /// <summary>Where and how the model that is trained computes.</summary>
    public ComputePlan On(torch.Device device) => new(device, RecomputesActivations: RecomputeActivations);

    /// <summary>Refuses what a model cannot do.</summary>
    /// <param name="model">The model.</param>
    /// <param name="folder">Its folder, for the message.</param>
    /// <exception cref="ConfigurationException">It cannot.</exception>
    public void RequireFor(ModelShape model, string folder)
    {
        if (RecomputeActivations && !model.IsCausal)
            throw new ConfigurationException([$"--recompute-activations is for decoders, and {folder} is an encoder; leave it out."]);
    }
}
