using System.Globalization;
using Rlhf.Runtime.Native;
using TorchSharp;

namespace Rlhf.Runtime;

/// <summary>Chooses the device that a run computes on.</summary>
public static class Devices
{
    /// <summary>
    /// Resolves <c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; <c>auto</c> takes CUDA when there is one.
    /// </summary>
    /// <exception cref="ArgumentException">The name is not one of these, or CUDA was asked for and there is none.</exception>
    public static torch.Device Resolve(string name)
    {
        LibTorch.Initialize();
        switch (name.ToLowerInvariant())
        {
            case "auto":
                return HasCuda() ? torch.device("cuda:0") : torch.CPU;
            case "cpu":
                return torch.CPU;
            case var cuda when cuda == "cuda" || cuda.StartsWith("cuda:", StringComparison.Ordinal):
                if (!HasCuda())
                    throw new ArgumentException($"Device '{name}' was asked for, but no CUDA device is usable. " +
                        "Build with -p:RlhfCuda=true on a machine with an NVIDIA driver, or use --device cpu.");
                string number = cuda == "cuda" ? "0" : cuda["cuda:".Length..];
                if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
                    throw Unknown(name);
                if (index >= torch.cuda.device_count())
                    throw new ArgumentException($"Device '{name}' was asked for, but there are {torch.cuda.device_count()} " +
                        "CUDA devices, counted from 0.");
                return torch.device(DeviceType.CUDA, index);
            default:
                throw Unknown(name);
        }
    }

    private static ArgumentException Unknown(string name) => new($"Unknown device '{name}': use auto, cpu, cuda or cuda:N.");

    private static bool HasCuda()
    {
        try
        {
            return torch.cuda_is_available();
        }
        catch (Exception e) when (e is NotSupportedException or DllNotFoundException)
        {
            return false;
        }
    }
}
