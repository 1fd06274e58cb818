using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Rlhf.Tests.Cli;

/// <summary>The command in a terminal of a given width, and what stands on its screen.</summary>
public sealed class PseudoTerminal : IDisposable
{
    private const int ReadWrite = 2, NoControllingTerminal = 0x100;
    private const ulong SetWindowSize = 0x5414; // Linux' TIOCSWINSZ
    private readonly FileStream leader;
    private readonly Decoder utf8 = Encoding.UTF8.GetDecoder();
    private readonly Process process;

    /// <summary>Starts the command.</summary>
    /// <param name="folder">Its working directory.</param>
    /// <param name="width">Columns of the terminal.</param>
    /// <param name="arguments">Its arguments.</param>
    public PseudoTerminal(string folder, int width, params string[] arguments)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && File.Exists("/bin/sh"), "Pseudo-terminals are opened as Linux does.");
        int descriptor = posix_openpt(ReadWrite | NoControllingTerminal);
        Assert.SkipUnless(descriptor >= 0, "No pseudo-terminal can be opened here.");
        leader = new FileStream(new SafeFileHandle(descriptor, ownsHandle: true), FileAccess.Read, bufferSize: 0);
        var name = new byte[128];
        var size = new WindowSize { Rows = 24, Columns = (ushort)width };
        Assert.Equal((0, 0, 0, 0), (grantpt(descriptor), unlockpt(descriptor), ptsname_r(descriptor, name, name.Length),
            ioctl(descriptor, SetWindowSize, ref size)));
        Screen = new(width);
        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = folder };
        foreach (string argument in (string[])["-c", "exec 0<>\"$0\" 1>&0 2>&0; exec \"$@\"",
            Encoding.UTF8.GetString(name).TrimEnd('\0'), "dotnet", Path.Combine(AppContext.BaseDirectory, "Rlhf.Cli.dll"), .. arguments])
            start.ArgumentList.Add(argument);
        start.Environment["TERM"] = "xterm-256color";
        start.Environment["LC_ALL"] = "C.UTF-8";
        start.Environment["HF_HUB_OFFLINE"] = "1";
        foreach (string variable in (string[])["NO_COLOR", "CI", "COLUMNS", "LINES"]) // which say otherwise what the terminal can
            start.Environment.Remove(variable);
        process = Process.Start(start)!;
    }

    public TerminalScreen Screen { get; }

    /// <summary>Lets the command run until this stands on the screen; fails when it ends before.</summary>
    public void WaitFor(string text)
    {
        while (!Screen.Lines.Any(line => line.Contains(text, StringComparison.Ordinal)))
            Assert.True(Read(), $"\"{text}\" never came:\n{Screen}");
    }

    /// <summary>Asks the command to stop, as Ctrl-C does.</summary>
    public void Interrupt() => Assert.Equal(0, kill(process.Id, 15));

    /// <summary>Lets the command run to its end.</summary>
    /// <returns>Its exit code.</returns>
    public int Finish()
    {
        while (Read())
        {
        }
        process.WaitForExit();
        return process.ExitCode;
    }

    public void Dispose()
    {
        if (!process.HasExited)
            process.Kill(entireProcessTree: true);
        process.Dispose();
        leader.Dispose();
    }

    private bool Read()
    {
        var bytes = new byte[4096];
        int length;
        try
        {
            length = leader.Read(bytes);
        }
        catch (IOException)
        {
            length = 0; // the last process that had the other end has closed it
        }
        var letters = new char[bytes.Length];
        Screen.Write(letters.AsSpan(0, utf8.GetChars(bytes, 0, length, letters, 0)));
        return length > 0;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct WindowSize
    {
        public ushort Rows, Columns, Width, Height;
    }

#pragma warning disable SYSLIB1054, CA2101, IDE1006 // the C library's own names
    [DllImport("libc")]
    private static extern int posix_openpt(int flags);

    [DllImport("libc")]
    private static extern int grantpt(int descriptor);

    [DllImport("libc")]
    private static extern int unlockpt(int descriptor);

    [DllImport("libc")]
    private static extern int ptsname_r(int descriptor, byte[] name, nint length);

    [DllImport("libc")]
    private static extern int ioctl(int descriptor, ulong request, ref WindowSize size);

    [DllImport("libc")]
    private static extern int kill(int process, int signal);
#pragma warning restore SYSLIB1054, CA2101, IDE1006
}
