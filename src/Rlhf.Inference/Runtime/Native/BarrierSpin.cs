using System.Runtime.InteropServices;

namespace Rlhf.Runtime.Native;

/// <summary>
/// Makes libtorch's threads sleep at barriers, instead of spinning, for as long as other programs compete for the processor.
/// </summary>
/// <remarks>
/// libtorch's threads (OpenMP, libgomp) wait for one another several thousand times a second by spinning up to some milliseconds. On an idle
/// machine that is fastest. Beside one busy program on two cores it makes a step about three times slower: a thread that spins takes the core from the thread it
/// waits for. libgomp spins 100 turns only while it manages more threads than there are processors, so this class gives it one team of
/// sleeping threads more while the machine is crowded. The number of threads that compute stays, and with it every bit of the results.
/// Measurements are in benchmarks/README.md. Where libgomp is not used (Windows, macOS), this does nothing.
/// </remarks>
internal sealed unsafe class BarrierSpin
{
    /// <summary>How often the machine is looked at.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    /// <summary>Looks in a row that find other programs in the way, after which threads sleep; and that find none, after which they spin.</summary>
    private const int CrowdedLooks = 2, QuietLooks = 8;

    private readonly delegate* unmanaged<nint, nint, uint, uint, void> parallel;
    private readonly nint nothing;
    private readonly Lock gate = new();
    private SemaphoreSlim? release;
    private int crowdedLooks, quietLooks;

    private BarrierSpin(nint gomp)
    {
        parallel = (delegate* unmanaged<nint, nint, uint, uint, void>)NativeLibrary.GetExport(gomp, "GOMP_parallel");
        nothing = NativeLibrary.GetExport(gomp, "omp_get_thread_num"); // as a region's body: returns at once
    }

    /// <summary>Whether threads sleep at barriers now.</summary>
    internal bool IsThrottled
    {
        get { lock (gate) return release is not null; }
    }

    /// <summary>Begins to watch the machine, where libtorch's threads are libgomp's and the system tells what others use.</summary>
    /// <param name="threads">Threads that compute, asked at each look.</param>
    /// <returns>The watch; null where there is nothing to do.</returns>
    public static BarrierSpin? Watch(Func<int> threads)
    {
        // Who sets the variables of OpenMP has decided.
        if (!OperatingSystem.IsLinux() || Environment.GetEnvironmentVariable("GOMP_SPINCOUNT") is not null ||
            Environment.GetEnvironmentVariable("OMP_WAIT_POLICY") is not null || ProcessorUse.Read() is not { } use || Load() is not { } spin)
            return null;
        new Thread(() => spin.Look(use, threads)) { IsBackground = true, Name = "rlhf barrier spin" }.Start();
        return spin;
    }

    /// <summary>The same without a thread that watches; tests drive it.</summary>
    internal static BarrierSpin? Load()
    {
        nint gomp = OpenMp.Handle;
        return gomp != 0 && NativeLibrary.TryGetExport(gomp, "GOMP_parallel", out _) && NativeLibrary.TryGetExport(gomp, "omp_get_thread_num", out _)
            ? new BarrierSpin(gomp) : null;
    }

    private void Look(ProcessorUse before, Func<int> threads)
    {
        while (true)
        {
            Thread.Sleep(Interval);
            if (ProcessorUse.Read() is not { } now)
                return;
            Note(now.Processors - now.OthersSince(before), threads());
            before = now;
        }
    }

    /// <summary>Takes note of what other programs left of the machine since the last look.</summary>
    /// <param name="free">Processors that other programs did not use, such as 1.2.</param>
    /// <param name="threads">Threads that compute.</param>
    internal void Note(double free, int threads)
    {
        (crowdedLooks, quietLooks) = free < threads - 0.3 ? (crowdedLooks + 1, 0) : (0, quietLooks + 1);
        if (crowdedLooks >= CrowdedLooks && threads > 1)
            Throttle();
        else if (quietLooks >= QuietLooks)
            Spin();
    }

    private void Throttle()
    {
        lock (gate)
        {
            if (release is not null)
                return;
            var until = release = new SemaphoreSlim(0);
            // A team belongs to the thread that made it and is dissolved when that thread ends.
            new Thread(() =>
            {
                parallel(nothing, 0, (uint)Environment.ProcessorCount + 1, 0);
                until.Wait();
                until.Dispose();
            })
            { IsBackground = true, Name = "rlhf sleeping team" }.Start();
        }
    }

    private void Spin()
    {
        lock (gate)
        {
            release?.Release();
            release = null;
        }
    }
}
