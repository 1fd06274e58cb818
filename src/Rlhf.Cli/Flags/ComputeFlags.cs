using System.ComponentModel;
using Rlhf.Cli.Settings;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Memory;
using TorchSharp;

namespace Rlhf.Cli.Flags;

/// <summary>Where a verb computes.</summary>
internal sealed record ComputeFlags
{
    [Description("Where to compute; auto takes CUDA when there is one.")]
    [ValueName("auto|cpu|cuda|cuda:N")]
    [MayChange]
    public string Device { get; init; } = "auto";

    [Description("CPU threads (default: one per physical core).")]
    [ValueName("N")]
    [MayChange]
    public int? Threads { get; init; }

    [Description("What matrices are multiplied in: float32, or bfloat16 with float32 sums and weights, faster and less exact.")]
    public MatrixPrecision MatmulPrecision { get; init; }

    [Description("Begin even if the models look too large for the memory that is free.")]
    [NotRecorded]
    public bool IgnoreMemory { get; init; }

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

    /// <summary>As <see cref="Start"/>, for models that are only read and must fit into memory together.</summary>
    /// <exception cref="ConfigurationException">They do not; the message shows the sum.</exception>
    public torch.Device StartToRead(string task, params IEnumerable<string?> folders)
    {
        var device = Start();
        CheckMemory(MemoryPlan.ForReading(task, folders.OfType<string>().Select(ModelShape.Of)), device);
        return device;
    }

    /// <summary>As <see cref="StartToRead(string, IEnumerable{string})"/>, for one model that is kept as the flags say.</summary>
    /// <exception cref="ConfigurationException">It does not fit; the message shows the sum.</exception>
    public torch.Device StartToRead(MemoryFlags memory, string task, string folder)
    {
        var device = Start();
        memory.RequireOn(device);
        CheckMemory(MemoryPlan.ForReading(task, [ModelShape.Of(folder)], memory.BaseDtype), device);
        return device;
    }

    /// <summary>Refuses models that are too large for the memory that is free, before they are loaded.</summary>
    /// <exception cref="ConfigurationException">They are; the message shows the sum.</exception>
    public void CheckMemory(MemoryPlan plan, torch.Device device)
    {
        if (!IgnoreMemory)
            plan.ThrowIfTooLarge(MachineMemory.Available(device));
    }
}
