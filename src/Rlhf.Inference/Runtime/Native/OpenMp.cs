using System.Runtime.InteropServices;

namespace Rlhf.Runtime.Native;

/// <summary>
/// The threads that libtorch computes on, for work in C#: they are awake between two of its operators, and threads of our own beside them
/// would wait for processors.
/// </summary>
internal static unsafe class OpenMp
{
    private static readonly Lazy<nint> Library = new(Load);
    private static readonly Lazy<nint> Parallel = new(() =>
        Library.Value != 0 && NativeLibrary.TryGetExport(Library.Value, "GOMP_parallel", out nint parallel) ? parallel : 0);

    /// <summary>The library that libtorch has loaded, libgomp; 0 where it uses another one.</summary>
    public static nint Handle => Library.Value;

    /// <summary>Runs work on up to so many threads and waits for all; false, and nothing is run, where libgomp is not used.</summary>
    /// <param name="threads">Most threads; there may be fewer, so that the work has to be shared out as it goes.</param>
    /// <param name="work">What each thread does.</param>
    public static bool TryRun(int threads, Action work)
    {
        if (Parallel.Value == 0)
            return false;
        var region = new Region(work);
        var handle = GCHandle.Alloc(region);
        try
        {
            ((delegate* unmanaged<nint, nint, uint, uint, void>)Parallel.Value)(
                (nint)(delegate* unmanaged<nint, void>)&Enter, GCHandle.ToIntPtr(handle), (uint)threads, 0);
        }
        finally
        {
            handle.Free();
        }
        if (region.Failure is { } failure)
            throw new InvalidOperationException("Work on libtorch's threads failed: " + failure.Message, failure);
        return true;
    }

    [UnmanagedCallersOnly]
    private static void Enter(nint handle)
    {
        var region = (Region)GCHandle.FromIntPtr(handle).Target!;
        try
        {
            region.Work();
        }
        catch (Exception error)
        {
            // No exception may travel through native code.
            region.Failure = error;
        }
    }

    private static nint Load()
    {
        if (!OperatingSystem.IsLinux())
            return 0;
        try
        {
            string? path = File.ReadLines("/proc/self/maps").Select(line => line[(line.LastIndexOf(' ') + 1)..])
                .FirstOrDefault(file => Path.GetFileName(file).StartsWith("libgomp", StringComparison.Ordinal));
            return path is not null && NativeLibrary.TryLoad(path, out nint gomp) ? gomp : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    private sealed class Region(Action work)
    {
        public Action Work { get; } = work;

        public Exception? Failure { get; set; }
    }
}
