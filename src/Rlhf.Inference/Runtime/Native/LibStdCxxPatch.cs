using System.Buffers.Binary;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Rlhf.Runtime.Files;

namespace Rlhf.Runtime.Native;

/// <summary>
/// Makes TorchSharp's native library loadable with a libstdc++ older than GCC 13's.
/// </summary>
/// <remarks>
/// libLibTorchSharp.so asks libstdc++ for version GLIBCXX_3.4.32, for one symbol only: std::ios_base_library_init(), which
/// makes sure that the standard streams exist; an older libstdc++ does that by itself. On a copy of the file, the version
/// need is marked weak and the symbol is bound to a harmless function without arguments that libtorch exports.
/// </remarks>
internal static class LibStdCxxPatch
{
    private const string Symbol = "_ZSt21ios_base_library_initv";
    private const string Replacement = "_ZN2at15get_num_threadsEv";
    private const string Version = "GLIBCXX_3.4.32";
    private const string FileName = "libLibTorchSharp.so";

    /// <summary>Loads a patched copy of the library; 0 with a reason when that is not what is wrong, or does not help.</summary>
    public static nint TryLoad(Assembly torchSharp, out string? failure)
    {
        failure = null;
        // Notebooks load packages from where NuGet unpacked them: torchsharp/0.107.0/lib/net8.0/TorchSharp.dll.
        string? folder = Path.GetDirectoryName(torchSharp.Location);
        string? package = Path.GetDirectoryName(Path.GetDirectoryName(folder));
        string? packages = Path.GetDirectoryName(Path.GetDirectoryName(package));
        if (NativeFiles.Find(FileName, AppContext.BaseDirectory, folder, package) is not { } original)
        {
            failure = $"{FileName} was not found beside the program.";
            return 0;
        }
        // The dependencies first, from where the original lies: the copy's own folder does not hold them.
        foreach (var dependency in (string[])["libgomp-98b21ff3.so.1", "libc10.so", "libtorch_cpu.so", "libtorch.so"])
            if (NativeFiles.Find(dependency, Path.GetDirectoryName(original), packages is null ? null
                : Path.Combine(packages, $"libtorch-cpu-{NativeFiles.Platform}", LibTorch.Version)) is { } path)
                NativeLibrary.TryLoad(path, out _);

        byte[] image = File.ReadAllBytes(original);
        if (!TryPatch(image))
        {
            try
            {
                return NativeLibrary.Load(original);
            }
            catch (DllNotFoundException e)
            {
                failure = e.Message;
                return 0;
            }
        }
        var copy = WriteOnce(image, SHA256.HashData(image));
        if (NativeLibrary.TryLoad(copy, out var handle))
            return handle;
        failure = $"Neither {original} nor its adapted copy {copy} could be loaded.";
        return 0;
    }

    private static string WriteOnce(byte[] image, byte[] hash)
    {
        var home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);
        var root = Environment.GetEnvironmentVariable("RLHF_CACHE");
        if (root is not { Length: > 0 })
            root = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg ? Path.Combine(xdg, "rlhf")
                : home.Length > 0 ? Path.Combine(home, ".cache", "rlhf") : null;
        Exception? last = null;
        foreach (var candidate in (string?[])[root, Path.Combine(Path.GetTempPath(), $"rlhf-{Environment.UserName}")])
        {
            if (candidate is null)
                continue;
            try
            {
                return WriteOnce(image, hash, candidate);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                last = e;
            }
        }
        throw new IOException($"No folder could be written for the adapted copy of {FileName}: {last?.Message} Set RLHF_CACHE " +
            "to a writable folder.", last);
    }

    private static string WriteOnce(byte[] image, byte[] hash, string root)
    {
        var folder = Path.Combine(root, "native", Convert.ToHexStringLower(hash)[..16]);
        var target = Path.Combine(folder, FileName);
        // Nothing but this user's own, unchanged file is ever loaded: a shared temporary folder is no place to trust a name.
        if (File.Exists(target) && SHA256.HashData(File.ReadAllBytes(target)).AsSpan().SequenceEqual(hash))
            return target;
        Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        AtomicFile.Write(target, stream => stream.Write(image), image.Length);
        return target;
    }

    /// <summary>Patches an ELF64 little-endian image in place. False when it does not ask for the newer libstdc++.</summary>
    /// <exception cref="InvalidDataException">The image asks for it in a way this code does not know.</exception>
    internal static bool TryPatch(Span<byte> elf)
    {
        if (elf.Length < 64 || elf[0] != 0x7f || elf[1] != (byte)'E' || elf[4] != 2 || elf[5] != 1)
            return false;
        int sectionTable = checked((int)U64(elf, 40)), entrySize = U16(elf, 58), count = U16(elf, 60), names = U16(elf, 62);
        var sections = new Dictionary<string, (int Offset, int Size)>();
        int nameTable = checked((int)U64(elf, sectionTable + names * entrySize + 24));
        for (int i = 0; i < count; i++)
        {
            int header = sectionTable + i * entrySize;
            sections[Text(elf, nameTable + (int)U32(elf, header))] =
                (checked((int)U64(elf, header + 24)), checked((int)U64(elf, header + 32)));
        }
        if (!sections.TryGetValue(".gnu.version_r", out var needs) || !sections.TryGetValue(".dynstr", out var strings)
            || !sections.TryGetValue(".dynsym", out var symbols) || !sections.TryGetValue(".gnu.version", out var versions))
            return false;

        int weak = FindVersionNeed(elf, needs.Offset, strings.Offset);
        if (weak < 0)
            return false;
        int replacement = IndexOfString(elf.Slice(strings.Offset, strings.Size), Replacement);
        if (replacement < 0)
            throw new InvalidDataException($"{FileName} needs {Version} of libstdc++, which this system lacks. Install " +
                "libstdc++ 13 or newer.");

        ushort flags = U16(elf, weak + 4);
        BinaryPrimitives.WriteUInt16LittleEndian(elf[(weak + 4)..], (ushort)(flags | 2));
        for (int i = 0; i < symbols.Size / 24; i++)
        {
            int entry = symbols.Offset + i * 24;
            if (Text(elf, strings.Offset + (int)U32(elf, entry)) != Symbol)
                continue;
            BinaryPrimitives.WriteUInt32LittleEndian(elf[entry..], (uint)replacement);
            BinaryPrimitives.WriteUInt16LittleEndian(elf[(versions.Offset + 2 * i)..], 1);
        }
        return true;
    }

    private static int FindVersionNeed(ReadOnlySpan<byte> elf, int need, int strings)
    {
        while (true)
        {
            int auxiliary = need + (int)U32(elf, need + 8);
            for (int i = 0; i < U16(elf, need + 2); i++)
            {
                if (Text(elf, strings + (int)U32(elf, auxiliary + 8)) == Version)
                    return auxiliary;
                auxiliary += (int)U32(elf, auxiliary + 12);
            }
            if (U32(elf, need + 12) is var next and not 0)
                need += (int)next;
            else
                return -1;
        }
    }

    private static int IndexOfString(ReadOnlySpan<byte> table, string text)
    {
        Span<byte> wanted = stackalloc byte[text.Length + 2];
        Encoding.ASCII.GetBytes(text, wanted[1..]);
        int at = table.IndexOf(wanted);
        return at < 0 ? -1 : at + 1;
    }

    private static string Text(ReadOnlySpan<byte> elf, int offset)
    {
        var rest = elf[offset..];
        return Encoding.ASCII.GetString(rest[..rest.IndexOf((byte)0)]);
    }

    private static ushort U16(ReadOnlySpan<byte> elf, int at) => BinaryPrimitives.ReadUInt16LittleEndian(elf[at..]);
    private static uint U32(ReadOnlySpan<byte> elf, int at) => BinaryPrimitives.ReadUInt32LittleEndian(elf[at..]);
    private static ulong U64(ReadOnlySpan<byte> elf, int at) => BinaryPrimitives.ReadUInt64LittleEndian(elf[at..]);
}
