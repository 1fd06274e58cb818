using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Loader;
using TorchSharp;

namespace Rlhf.Runtime.Native;

/// <summary>Loads libtorch wherever it can run, and tunes the process for it.</summary>
/// <remarks>
/// TorchSharp's native library asks for a newer libstdc++ than Debian 12, Ubuntu 22.04 or RHEL 9 carry. Where the plain load
/// fails for that reason alone, a patched copy from a per-user cache is loaded instead (<see cref="LibStdCxxPatch"/>); the
/// original file is never touched.
/// </remarks>
public static class LibTorch
{
    private static readonly Lock Gate = new();
    private static bool initialized;
    private static volatile int computing;

    [ModuleInitializer]
    [System.Diagnostics.CodeAnalysis.SuppressMessage("Usage", "CA2255",
        Justification = "Must run before TorchSharp's first native call.")]
    internal static void RegisterResolver()
    {
        // Notebooks and scripts load assemblies into contexts of their own.
        if (OperatingSystem.IsLinux() && AssemblyLoadContext.GetLoadContext(typeof(torch).Assembly) is { } context)
            context.ResolvingUnmanagedDll += ResolveTorchSharp;
    }

    /// <summary>
    /// Loads libtorch, tunes the allocator and sets the number of threads. Safe to call more than once;
    /// models call it by themselves.
    /// </summary>
    /// <param name="threads">Threads for matrix products; null keeps the default: one per physical core,
    /// and no more than the process may use at once.</param>
    /// <exception cref="PlatformNotSupportedException">libtorch cannot be loaded here; the message says
    /// what is missing.</exception>
    public static void Initialize(int? threads = null)
    {
        lock (Gate)
        {
            if (!initialized)
            {
                Allocator.KeepFreedMemory();
                try
                {
                    torch.InitializeDeviceType(DeviceType.CPU);
                }
                catch (Exception e) when (e is NotSupportedException or DllNotFoundException or TypeInitializationException)
                {
                    throw new PlatformNotSupportedException(
                        $"libtorch could not be loaded on {RuntimeInformation.OSDescription} " +
                        $"({NativeFiles.Platform}). " +
                        Remedy(NativeFiles.Platform, HasLibTorch(), loadFailure ?? e.GetBaseException().Message), e);
                }
                initialized = true;
                // libtorch counts cores; .NET also knows a container's quota.
                if (torch.get_num_threads() > Environment.ProcessorCount)
                    torch.set_num_threads(Environment.ProcessorCount);
                computing = torch.get_num_threads();
                _ = BarrierSpin.Watch(() => computing);
            }
            if (threads is { } n)
            {
                ArgumentOutOfRangeException.ThrowIfLessThan(n, 1, nameof(threads));
                torch.set_num_threads(n);
                computing = n;
            }
        }
    }

    private static string? loadFailure;

    /// <summary>What to do about a libtorch that could not be loaded.</summary>
    /// <param name="platform">What <see cref="NativeFiles.Platform"/> says.</param>
    /// <param name="present">Whether the library lies where it is looked for.</param>
    /// <param name="failure">Why it could not be loaded.</param>
    internal static string Remedy(string platform, bool present, string failure)
    {
        if (platform.StartsWith("linux-musl", StringComparison.Ordinal))
            return "libtorch needs glibc, which this Linux lacks: use Debian, Ubuntu, Fedora or another with glibc.";
        if (platform is not ("linux-x64" or "win-x64" or "win-arm64" or "osx-arm64"))
            return $"libtorch {Version} has packages for linux-x64, win-x64, win-arm64 and osx-arm64 only.";
        if (!present)
            return $"The program carries no libtorch. Add it: dotnet add package libtorch-cpu-{platform} --version {Version}";
        return failure + (platform switch
        {
            "linux-x64" => " Install libstdc++6 and libgomp1.",
            "win-x64" or "win-arm64" => " Install the Microsoft Visual C++ Redistributable.",
            _ => "",
        }) + $" The package libtorch-cpu-{platform} must have version {Version}.";
    }

    /// <summary>The version of libtorch that this build's TorchSharp is made for.</summary>
    internal static string Version => typeof(LibTorch).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(metadata => metadata.Key == "LibTorchVersion").Value!;

    private static bool HasLibTorch() => NativeFiles.Find(
        OperatingSystem.IsWindows() ? "torch_cpu.dll" : OperatingSystem.IsMacOS() ? "libtorch_cpu.dylib" : "libtorch_cpu.so",
        AppContext.BaseDirectory, Path.GetDirectoryName(typeof(torch).Assembly.Location)) is not null;

    private static nint ResolveTorchSharp(Assembly assembly, string name)
    {
        if (name != "LibTorchSharp" || assembly.GetName().Name != "TorchSharp")
            return 0;
        try
        {
            return LibStdCxxPatch.TryLoad(assembly, out loadFailure);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            loadFailure = e.Message;
            return 0;
        }
    }
}
