using System.Runtime.InteropServices;

namespace Rlhf.Runtime.Native;

/// <summary>Ends the process while threads compute in native code.</summary>
internal static partial class ProcessEnd
{
    /// <summary>
    /// Ends the process at once. <see cref="Environment.Exit"/> runs the destructors of native libraries, and a thread that computes with what they
    /// free ends the process with a segmentation fault instead.
    /// </summary>
    /// <param name="code">The exit status.</param>
    public static void Now(int code)
    {
        if (!OperatingSystem.IsWindows())
            ExitWithoutDestructors(code);
        Environment.Exit(code);
    }

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void ExitWithoutDestructors(int code);
}
