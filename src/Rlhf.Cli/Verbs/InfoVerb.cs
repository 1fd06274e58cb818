using System.CommandLine;
using System.Runtime.InteropServices;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Settings;
using Rlhf.Hub;
using TorchSharp;

namespace Rlhf.Cli.Verbs;

/// <summary><c>rlhf info</c>: what this machine offers.</summary>
internal static class InfoVerb
{
    public static Command Create() => new VerbCommand(
        "info", "shows the version, the device and the libraries that a run would use.",
        ["rlhf info", "rlhf info --json"],
        new SettingsBinder().Add("Compute", new ComputeFlags(), o => o.Validate(), nameof(ComputeFlags.IgnoreMemory)),
        Run);

    private static int Run(VerbContext context)
    {
        var device = context.Settings.Get<ComputeFlags>().Start();
        var hub = HubOptions.FromEnvironment();
        var info = new
        {
            Version = typeof(Runtime.Native.LibTorch).Assembly.GetName().Version?.ToString(3) ?? "unknown",
            Libtorch = torch.__version__,
            Device = device.ToString(),
            Threads = torch.get_num_threads(),
            Cuda = torch.cuda_is_available() ? torch.cuda.device_count() : 0,
            Dotnet = RuntimeInformation.FrameworkDescription,
            System = $"{RuntimeInformation.OSDescription} ({RuntimeInformation.RuntimeIdentifier})",
            Cores = Environment.ProcessorCount,
            HubCache = hub.CacheFolder,
            HubOffline = hub.Offline,
            MemoryGib = Math.Round(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / Math.Pow(2, 30), 1),
        };
        if (context.Screen.Json)
            context.Screen.WriteJson(info);
        else
            context.Screen.Facts("rlhf " + info.Version,
            [
                ("device", info.Device), ("threads", $"{info.Threads} of {info.Cores} cores"),
                ("memory", $"{info.MemoryGib} GiB"),
                ("CUDA devices", info.Cuda.ToString()), ("libtorch", info.Libtorch), (".NET", info.Dotnet),
                ("Hub cache", info.HubCache + (info.HubOffline ? " (offline)" : "")), ("system", info.System),
            ]);
        return 0;
    }
}
