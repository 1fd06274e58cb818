using System.Runtime.InteropServices;

namespace Rlhf.Runtime;

/// <summary>Settings of the C allocator that libtorch's CPU tensors come from.</summary>
internal static partial class Allocator
{
    private const int TrimThreshold = -1, TopPad = -2, MmapMax = -4;

    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int MallOpt(int parameter, int value);

    /// <summary>
    /// glibc gives large blocks back to the kernel when they are freed and faults them in again at the next step, which cost
    /// a quarter of a training step where it was measured. This keeps freed memory in the process.
    /// Does nothing where the C library is not glibc, or when RLHF_ALLOCATOR=default is set.
    /// </summary>
    public static void KeepFreedMemory()
    {
        if (!OperatingSystem.IsLinux() || Environment.GetEnvironmentVariable("RLHF_ALLOCATOR") == "default")
            return;
        try
        {
            MallOpt(MmapMax, 0);
            MallOpt(TrimThreshold, int.MaxValue);
            MallOpt(TopPad, 256 << 20);
        }
        catch (Exception e) when (e is EntryPointNotFoundException or DllNotFoundException)
        {
            // Not glibc (musl, for instance): there is nothing to tune.
        }
    }
}
