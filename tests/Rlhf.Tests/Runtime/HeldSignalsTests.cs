using System.Globalization;
using System.Runtime.InteropServices;
using Rlhf.Runtime.Native;

namespace Rlhf.Tests.Runtime;

public sealed class HeldSignalsTests
{
    [Fact]
    public void Signals_from_outside_are_held_back_errors_are_not_and_the_mask_is_then_what_it_was()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64,
            "Nothing is held back on this platform.");
        ulong before = Mask(), inside, again;
        using (HeldSignals.Begin())
        {
            inside = Mask();
            using (HeldSignals.Begin())
                Assert.Equal(inside, Mask());
            again = Mask();
        }
        Assert.Equal((before, inside), (Mask(), again));
        // SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGCONT, SIGWINCH, and 34, by which .NET stops threads.
        Assert.All(new[] { 1, 2, 3, 15, 17, 18, 28, 34 }, signal => Assert.NotEqual(0UL, inside >> (signal - 1) & 1));
        // SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
        Assert.All(new[] { 4, 5, 6, 7, 8, 11, 31 }, signal => Assert.Equal(before >> (signal - 1) & 1, inside >> (signal - 1) & 1));
    }

    private static ulong Mask() => ulong.Parse(
        File.ReadLines("/proc/thread-self/status").Single(line => line.StartsWith("SigBlk:", StringComparison.Ordinal))["SigBlk:".Length..],
        NumberStyles.HexNumber | NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture);
}
