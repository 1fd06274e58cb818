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

    [Description("What the model's matrices are kept as where they are only read, as the base of --lora is: 4, 2 or 1 bytes a weight. They are multiplied in float32. "
        + "bfloat16 keeps the weights of a bfloat16 file as they are; int8 rounds them.")]
    public BaseStorage BaseDtype { get; init; }

    /// <summary>Where and how a model computes.</summary>
    /// <exception cref="ConfigurationException">It cannot there.</exception>
    public ComputePlan On(torch.Device device)
    {
        RequireOn(device);
        return new(device, RecomputesActivations: RecomputeActivations, Base: BaseDtype);
    }

    /// <summary>Refuses what a device cannot do.</summary>
    /// <exception cref="ConfigurationException">It cannot.</exception>
    public void RequireOn(torch.Device device)
    {
        if (BaseDtype != BaseStorage.Float32 && device.type != DeviceType.CPU)
            throw new ConfigurationException([$"--base-dtype is for the CPU, and the run computes on {device}; add --device cpu, or leave it out."]);
    }

    /// <summary>Refuses what a model cannot do.</summary>
    /// <param name="model">The model.</param>
    /// <param name="folder">Its folder, for the message.</param>
    /// <exception cref="ConfigurationException">It cannot.</exception>
    public void RequireFor(ModelShape model, string folder)
    {
        if (model.IsCausal)
            return;
        string? flag = RecomputeActivations ? "--recompute-activations" : BaseDtype != BaseStorage.Float32 ? "--base-dtype" : null;
        if (flag is not null)
            throw new ConfigurationException([$"{flag} is for decoders, and {folder} is an encoder; leave it out."]);
    }

    /// <summary>A check of verbs that train: weights that are trained are float32.</summary>
    public static IEnumerable<string> Problems(BoundSettings settings) =>
        settings.Get<MemoryFlags>().BaseDtype != BaseStorage.Float32 && !settings.Get<LoraFlags>().Lora
            ? ["--base-dtype is for the base of an adapter, and all weights are trained here, in float32; add --lora, or leave it out."] : [];
}

/// <summary>Adds <see cref="MemoryFlags"/> to a verb.</summary>
internal static class MemoryFlagsBinding
{
    /// <summary>To one that only reads its model.</summary>
    public static SettingsBinder AddMemoryToRead(this SettingsBinder binder) =>
        binder.Add("Memory", new MemoryFlags(), validate: null, nameof(MemoryFlags.RecomputeActivations));
}
