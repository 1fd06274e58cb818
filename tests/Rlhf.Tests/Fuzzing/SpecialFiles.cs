using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Rlhf.Tests.Fuzzing;

/// <summary>Makes what is no regular file, and reads it without waiting for ever.</summary>
internal static partial class SpecialFiles
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>"pipe", "link to a pipe", "socket", "device" (a link to /dev/zero) or "link to a file".</summary>
    public static void Make(string path, string kind)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows keeps pipes and devices out of folders.");
        switch (kind)
        {
            case "pipe":
                Assert.Equal(0, MakePipe(path, 0b110_000_000));
                break;
            case "link to a pipe":
                Make(path + ".pipe", "pipe");
                File.CreateSymbolicLink(path, path + ".pipe");
                break;
            case "socket":
                // Bound and closed: the name stays. A socket's path is short, so it moves to its place.
                var at = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
                using (var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
                {
                    socket.Bind(new UnixDomainSocketEndPoint(at));
                    File.CreateSymbolicLink(path, path + ".socket");
                    Assert.Equal(0, Rename(at, path + ".socket"));
                }
                break;
            case "device":
                File.CreateSymbolicLink(path, "/dev/zero");
                break;
        }
    }

    /// <summary>What a reader throws, or null; a reader that waits for a pipe's writer fails the test and gets one.</summary>
    public static async Task<Exception?> Within(string path, Action read)
    {
        var reading = Task.Run(() => Record.Exception(read));
        if (await Task.WhenAny(reading, Task.Delay(Patience)) == reading)
            return await reading;
        using (new FileStream(File.ResolveLinkTarget(path, true)?.FullName ?? path, FileMode.Open, FileAccess.ReadWrite))
            Assert.Fail($"The reader of {path} waits.");
        return null;
    }

    [LibraryImport("libc", EntryPoint = "mkfifo", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakePipe(string path, uint mode);

    [LibraryImport("libc", EntryPoint = "rename", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Rename(string from, string to);
}
