using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Rlhf.Runtime.Native;

/// <summary>Holds back the signals of the calling thread while oneDNN multiplies; they come when it has done so.</summary>
/// <remarks>
/// oneDNN's kernels for x64 use the stack pointer for data: while one runs it points into a heap block. The kernel of the system writes
/// the frame of a signal below the stack pointer, over whatever the heap has there, unless the handler has a stack of its own, and .NET's
/// handlers of Ctrl-C, SIGTERM, SIGHUP, SIGCHLD, SIGCONT and SIGWINCH have none. One signal in ten ended a training run in
/// "corrupted size vs. prev_size". What is sent to the process goes to another thread meanwhile: .NET's own come first in line, and
/// libtorch's workers, where they are started in here, hold signals back for good.
/// </remarks>
internal readonly ref partial struct HeldSignals
{
    private const int Block = 0, SetMask = 2;
    private static readonly bool IsNeeded = OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;
    private static readonly SignalSet FromOutside = AllButErrors();

    private readonly SignalSet before;
    private readonly bool isHolding;

    private HeldSignals(bool begin) => isHolding = begin && ChangeMask(Block, in FromOutside, out before) == 0;

    /// <summary>Begins; ends when what is returned is disposed, on the same thread.</summary>
    public static HeldSignals Begin() => new(IsNeeded);

    /// <summary>The thread's mask is again what it was.</summary>
    public void Dispose()
    {
        if (isHolding)
            _ = ChangeMask(SetMask, in before, out _);
    }

    // On Linux this is the calling thread's mask, as pthread_sigmask, which older versions of glibc have in another library.
    [LibraryImport("libc", EntryPoint = "sigprocmask")]
    [SuppressGCTransition]
    private static partial int ChangeMask(int how, in SignalSet set, out SignalSet before);

    // Errors of the thread itself (SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS) come when they happen.
    private static SignalSet AllButErrors()
    {
        ulong all = ulong.MaxValue;
        foreach (int error in (ReadOnlySpan<int>)[4, 5, 6, 7, 8, 11, 31])
            all &= ~(1UL << (error - 1));
        var set = new SignalSet();
        set[0] = all;
        return set;
    }

    /// <summary>The C library's sigset_t: 1,024 bits, of which Linux has 64.</summary>
    [InlineArray(16)]
    private struct SignalSet
    {
        private ulong first;
    }
}
