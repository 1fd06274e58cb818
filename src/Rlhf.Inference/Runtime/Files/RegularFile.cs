using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Rlhf.Runtime.Files;

/// <summary>
/// Opens files from outside. What stands under a file's name may be a named pipe, whose opening waits for a writer for ever, a
/// socket, or a device, which never ends or does something when it is read; a cloned repository or an unpacked archive can hold
/// links to them. Links to regular files are followed, as the Hugging Face cache needs.
/// </summary>
internal static partial class RegularFile
{
    private const int TypeMask = 0xf000, Regular = 0x8000, Folder = 0x4000, Pipe = 0x1000, Characters = 0x2000, Blocks = 0x6000,
        Socket = 0xc000;

    /// <summary>Is there a regular file, or a link to one?</summary>
    /// <param name="path">A path.</param>
    public static bool Exists(string path) => File.Exists(path) && Other(path) is null;

    /// <summary>Refuses what is there and is neither a regular file nor a folder; what is not there is not judged.</summary>
    /// <param name="path">A path.</param>
    /// <exception cref="IOException">It is a pipe, a socket or a device.</exception>
    public static void Require(string path)
    {
        if (Other(path) is { } kind)
            throw new IOException(
                $"{path} is {kind} and not a regular file; name a regular file, or save the content to one first.");
    }

    /// <summary>Opens a regular file for reading.</summary>
    /// <param name="path">The file.</param>
    /// <param name="share">What others may do meanwhile.</param>
    /// <param name="bufferSize">Bytes that are read at once; 0 and 1: as they are asked for.</param>
    /// <exception cref="IOException">It cannot be read, or is a pipe, a socket or a device.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read, or is a folder.</exception>
    public static FileStream Open(string path, FileShare share = FileShare.Read, int bufferSize = 4096)
    {
        Require(path);
        return new(path, FileMode.Open, FileAccess.Read, share, bufferSize);
    }

    /// <summary>
    /// The same, and also a pipe that the user hands to this process by name: <c>/dev/stdin</c>, or <c>/dev/fd/63</c>, which is
    /// what a shell makes of <c>&lt;(command)</c>. They have a writer, so that nothing waits for ever. A link to them is refused.
    /// </summary>
    /// <param name="path">The file, or such a pipe.</param>
    /// <exception cref="IOException">It cannot be read, or is another pipe, a socket or a device.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read, or is a folder.</exception>
    public static FileStream OpenOrPiped(string path) =>
        path == "/dev/stdin" || path.StartsWith("/dev/fd/", StringComparison.Ordinal)
            || path.StartsWith("/proc/self/fd/", StringComparison.Ordinal) ? File.OpenRead(path) : Open(path);

    /// <summary>
    /// What it is other than a regular file or a folder; null for these, and where nothing is or the system does not say.
    /// </summary>
    private static string? Other(string path)
    {
        if (OperatingSystem.IsWindows())
            return Path.GetFullPath(path).StartsWith(@"\\.\", StringComparison.Ordinal) ? "a device" : null;
        return (Mode(path) & TypeMask) switch
        {
            0 or Regular or Folder => null,
            Pipe => "a named pipe",
            Socket => "a socket",
            Characters or Blocks => "a device",
            _ => "something else",
        };
    }

    /// <summary>The file's st_mode, links followed; 0 where nothing is. .NET tells neither pipes nor devices from files.</summary>
    private static int Mode(string path)
    {
        const int WorkingFolder = -100, TypeWanted = 1, StatxMode = 28, MacMode = 4;
        Span<byte> status = stackalloc byte[512]; // larger than the structure of either system
        try
        {
            if (OperatingSystem.IsLinux())
                return StatusOfLinux(WorkingFolder, path, 0, TypeWanted, status) == 0 ? ModeAt(StatxMode, status) : 0;
            if (OperatingSystem.IsMacOS())
                return StatusOfMac(path, status) == 0 ? ModeAt(MacMode, status) : 0;
        }
        catch (EntryPointNotFoundException)
        {
            // A C library from before 2018.
        }
        return 0;
    }

    private static int ModeAt(int offset, ReadOnlySpan<byte> status) => BinaryPrimitives.ReadUInt16LittleEndian(status[offset..]);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatusOfLinux(int folder, string path, int flags, uint mask, Span<byte> status);

    [LibraryImport("libc", EntryPoint = "stat", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatusOfMac(string path, Span<byte> status);
}
