using System.Runtime.InteropServices;

namespace Rlhf.Runtime.Native;

/// <summary>Settings of the C allocator that libtorch's CPU tensors come from.</summary>
internal static partial class Allocator
{
    private const int TrimThreshold = -1, TopPad = -2, MmapMax = -4, ArenaMax = -8;
    private const int AdviseHugePages = 14;
    private const int SmallBlocks = 2048, SmallBlockBytes = 64 << 10;

    // What a process may hold beyond what was ever in use at a time: holes between tensors, and the programs themselves.
    private const double TolerableWaste = 1.5;
    private const long ProgramBytes = 512L << 20;

    // What was given back is faulted in again: 7 % of all time where it was measured, on texts of very different lengths.
    private const int StepsBetweenReturns = 16;

    private static bool keepsFreedMemory;
    private static long mostInUse;
    private static int stepsSinceReturn;

    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int MallOpt(int parameter, int value);

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);

    [LibraryImport("libc", EntryPoint = "malloc")]
    private static partial nint Malloc(nint size);

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int MallocTrim(nint pad);

    [LibraryImport("libc", EntryPoint = "mallinfo2")]
    private static partial HeapUse MallInfo();

    [LibraryImport("libc", EntryPoint = "free")]
    private static partial void Free(nint block);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MAdvise(nint start, nint size, int advice);

    /// <summary>
    /// glibc gives large blocks back to the kernel when they are freed and faults them in again at the next step, which cost
    /// a quarter of a training step where it was measured. This keeps freed memory in the process, in huge pages where the kernel has them.
    /// Does nothing where the C library is not glibc, or when RLHF_ALLOCATOR=default is set.
    /// </summary>
    public static void KeepFreedMemory()
    {
        if (!OperatingSystem.IsLinux() || Environment.GetEnvironmentVariable("RLHF_ALLOCATOR") == "default")
            return;
        try
        {
            // Of every shape that it has multiplied oneDNN keeps the code: a gigabyte where lengths vary, with 1,024 of them.
            _ = SetEnvironment("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128", overwrite: 0);
            MallOpt(MmapMax, 0);
            MallOpt(ArenaMax, 1);
            // -1: never.
            MallOpt(TrimThreshold, -1);
            MallOpt(TopPad, 256 << 20);
            ReserveSmallBlocks();
            ReserveHugePages();
            keepsFreedMemory = true;
        }
        catch (Exception e) when (e is EntryPointNotFoundException or DllNotFoundException)
        {
            // Not glibc (musl, for instance): there is nothing to tune.
        }
    }

    /// <summary>Looks how much is in use; to be called where a step holds most, before its backward pass.</summary>
    public static void RecordPeak()
    {
        if (!keepsFreedMemory)
            return;
        try
        {
            mostInUse = Math.Max(mostInUse, (long)MallInfo().InUse);
        }
        catch (EntryPointNotFoundException)
        {
            keepsFreedMemory = false; // glibc before 2.33
        }
    }

    /// <summary>
    /// Gives freed memory back to the kernel when the process has come to hold much more than was ever in use, and others could
    /// need it: where rows differ in length, no hole of the heap fits the next tensor, and the heap grows to twice what it needs.
    /// To be called after each step.
    /// </summary>
    public static void ReleaseUnused()
    {
        long limit = (long)(TolerableWaste * mostInUse) + ProgramBytes;
        if (!keepsFreedMemory || mostInUse == 0 || ++stepsSinceReturn < StepsBetweenReturns
            || Environment.WorkingSet is var held && held <= limit)
            return;
        stepsSinceReturn = 0;
        if (MachineMemory.Available(TorchSharp.torch.CPU) is var (free, _) && free > held)
            return; // there is plenty
        MallocTrim(nint.MaxValue / 2); // leaves the heap's end, which is free in one piece, as it is
    }

    /// <summary>
    /// Leaves many free blocks of 64 KiB with something small between them. What is small and stays (oneDNN keeps a kernel for each shape
    /// that it has seen) then goes there, and not between two large tensors, where it would keep their memory from becoming one again.
    /// </summary>
    private static void ReserveSmallBlocks()
    {
        var blocks = new nint[SmallBlocks];
        for (int i = 0; i < blocks.Length; i++)
        {
            blocks[i] = Malloc(SmallBlockBytes);
            Malloc(1);
        }
        foreach (nint block in blocks)
            Free(block);
    }

    /// <summary>
    /// Takes addresses for three quarters of the machine's memory, asks for huge pages there, and frees them again: what is allocated from
    /// now on comes from them. Addresses alone take no memory.
    /// </summary>
    private static void ReserveHugePages()
    {
        long page = Environment.SystemPageSize;
        long size = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4 * 3;
        nint block = Malloc((nint)size);
        if (block == 0)
            return;
        long start = (block + page - 1) / page * page;
        _ = MAdvise((nint)start, (nint)((block + size - start) / page * page), AdviseHugePages);
        Free(block);
    }

    /// <summary>glibc's struct mallinfo2.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct HeapUse
    {
        public nuint Arena, FreeChunks, FastChunks, MappedRegions, Mapped, MostMapped, FreeFast, InUse, Free, ReleasableTop;
    }
}
