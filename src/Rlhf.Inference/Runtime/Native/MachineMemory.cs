using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;

namespace Rlhf.Runtime.Native;

/// <summary>How much memory this process can still have.</summary>
internal static class MachineMemory
{
    /// <summary>Bytes that are free for this process on a device, and whose they are; null where the system does not say.</summary>
    /// <param name="device">On the CPU the least of the machine's available memory and the limits of the control groups that the process is
    /// in (containers); on a GPU what its driver calls free.</param>
    public static (long Bytes, string Where)? Available(torch.Device device) => device.type == DeviceType.CUDA
        ? GpuFree(device.index < 0 ? 0 : device.index) is { } free ? (free, $"on {device}") : null
        : OperatingSystem.IsLinux() ? Host("/proc", "/sys/fs/cgroup") : Managed();

    /// <summary>The same from the files of Linux.</summary>
    /// <param name="proc">Where /proc is.</param>
    /// <param name="cgroups">Where the control groups are.</param>
    internal static (long Bytes, string Where)? Host(string proc, string cgroups)
    {
        var found = new List<(long Bytes, string Where)>();
        if (Field(Path.Combine(proc, "meminfo"), "MemAvailable:") is { } kilobytes)
            found.Add((kilobytes << 10, "on this machine"));
        foreach (var line in Lines(Path.Combine(proc, "self", "cgroup")))
        {
            // "0::/path" is the second version, "4:memory:/path" the first.
            string[] parts = line.Split(':', 3);
            if (parts.Length < 3)
                continue;
            bool second = parts[1].Length == 0;
            if (second)
                Limits(cgroups, parts[2], "memory.max", "memory.current", "inactive_file", found);
            else if (parts[1].Split(',').Contains("memory"))
                Limits(Path.Combine(cgroups, "memory"), parts[2], "memory.limit_in_bytes", "memory.usage_in_bytes",
                    "total_inactive_file", found);
        }
        return found.Count == 0 ? null : found.MinBy(f => f.Bytes);
    }

    /// <summary>The limits of a group and of those above it; files that are cached count as free.</summary>
    private static void Limits(string root, string group, string limitFile, string usedFile, string cachedField,
        List<(long Bytes, string Where)> found)
    {
        // Within a container the group's own path may not be there; the container's root then has its limit.
        for (string? path = group.TrimStart('/'); path is not null; path = path.Length == 0 ? null : Path.GetDirectoryName(path) ?? "")
        {
            string folder = Path.Combine(root, path);
            if (Number(Path.Combine(folder, limitFile)) is { } limit && Number(Path.Combine(folder, usedFile)) is { } used)
            {
                long cached = Field(Path.Combine(folder, "memory.stat"), cachedField) ?? 0;
                found.Add((Math.Max(0, limit - used + Math.Min(cached, used)), "within the limit of this container"));
            }
        }
    }

    private static long? Number(string file) => Lines(file).FirstOrDefault() is { } line
        && long.TryParse(line.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;

    private static long? Field(string file, string name)
    {
        foreach (var line in Lines(file))
            if (line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var key, var value, ..] && key == name
                && long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out long number))
                return number;
        return null;
    }

    private static string[] Lines(string file)
    {
        try
        {
            return File.Exists(file) ? File.ReadAllLines(file) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>What the runtime knows, on other systems.</summary>
    private static (long, string)? Managed()
    {
        GC.Collect(0); // the numbers are of the last collection
        var info = GC.GetGCMemoryInfo();
        long free = info.TotalAvailableMemoryBytes - info.MemoryLoadBytes;
        return free > 0 ? (free, "on this machine") : null;
    }

    /// <summary>Free bytes of a GPU by CUDA's driver, which counts devices as libtorch does; null when it does not answer.</summary>
    private static long? GpuFree(int index)
    {
        try
        {
            if (!NativeLibrary.TryLoad(OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1", out nint library))
                return null;
            T Function<T>(string name) where T : Delegate =>
                Marshal.GetDelegateForFunctionPointer<T>(NativeLibrary.GetExport(library, name));
            if (Function<Init>("cuInit")(0) != 0 || Function<DeviceGet>("cuDeviceGet")(out int device, index) != 0
                || Function<Retain>("cuDevicePrimaryCtxRetain")(out nint context, device) != 0)
                return null;
            try
            {
                if (Function<Push>("cuCtxPushCurrent_v2")(context) != 0)
                    return null;
                int result = Function<MemGetInfo>("cuMemGetInfo_v2")(out nuint free, out _);
                _ = Function<Pop>("cuCtxPopCurrent_v2")(out _);
                return result == 0 ? (long)free : null;
            }
            finally
            {
                _ = Function<Release>("cuDevicePrimaryCtxRelease_v2")(device);
            }
        }
        catch (Exception e) when (e is EntryPointNotFoundException or DllNotFoundException or BadImageFormatException)
        {
            return null;
        }
    }

    private delegate int Init(uint flags);

    private delegate int DeviceGet(out int device, int ordinal);

    private delegate int Retain(out nint context, int device);

    private delegate int Release(int device);

    private delegate int Push(nint context);

    private delegate int Pop(out nint context);

    private delegate int MemGetInfo(out nuint free, out nuint total);
}
