using System.Buffers.Binary;
using System.Numerics;
using Rlhf.Runtime.Files;

namespace Rlhf.Weights.PyTorch;

/// <summary>
/// The form before PyTorch 1.6: five pickles (magic number, protocol version, system, the object, keys of the storages), then
/// each storage in the order of the keys as a count of elements and the raw elements.
/// </summary>
internal static class TorchLegacy
{
    private const long ProtocolVersion = 1001;
    private static readonly BigInteger Magic = (new BigInteger(0x1950) << 64) + 0xa86a20f9469cfc6c;

    public static TorchContent Read(string path)
    {
        using var stream = RegularFile.Open(path, bufferSize: 1 << 16);
        return Read(stream, path);
    }

    /// <summary>The same from a stream that can seek; the path is for messages.</summary>
    public static TorchContent Read(Stream stream, string path)
    {
        RequireMagic(stream, path);
        if (Value(stream, path) is not ProtocolVersion)
            throw Untrusted.Refuse(path,
                $"a file of torch.save in a protocol other than {ProtocolVersion}; save it again with a newer PyTorch.");
        if (Value(stream, path) is not PickleDict system
            || system.Items.Any(item => item is { Key: "little_endian", Value: false }))
            throw Untrusted.Refuse(path, "the file was written by a big-endian machine; save it again on a little-endian one.");
        var (value, storages) = RestrictedUnpickler.Run(Input(stream, path));
        if (Value(stream, path) is not List<object?> keys)
            throw Untrusted.Refuse(path, "the list of storages is missing after the pickle.");
        return new(value, LocateStorages(stream, path, keys, storages));
    }

    private static PickleInput Input(Stream stream, string path) => new(stream, path, TorchZip.MostPickleBytes);

    private static object? Value(Stream stream, string path) => RestrictedUnpickler.Run(Input(stream, path)).Value;

    private static void RequireMagic(Stream stream, string path)
    {
        object? magic;
        try
        {
            magic = Value(stream, path);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{e.Message} It is not a file of torch.save.", e);
        }
        if (magic is not BigInteger number || number != Magic)
            throw Untrusted.Refuse(path,
                "not a file of torch.save: neither a zip file, nor does it begin with the older form's magic number.");
    }

    private static Dictionary<string, long> LocateStorages(
        Stream stream, string path, List<object?> keys, IReadOnlyDictionary<string, PickledStorage> storages)
    {
        var starts = new Dictionary<string, long>();
        Span<byte> count = stackalloc byte[sizeof(long)];
        foreach (var key in keys)
        {
            if (key is not string name || !storages.TryGetValue(name, out var storage) || starts.ContainsKey(name))
                throw Untrusted.Refuse(path, "the list of storages does not agree with the pickle.");
            if (stream.ReadAtLeast(count, count.Length, throwOnEndOfStream: false) < count.Length)
                throw Untrusted.Refuse(path, $"the file ends before storage {Untrusted.Quote(name)}.");
            var elements = BinaryPrimitives.ReadInt64LittleEndian(count);
            if (elements != storage.Elements)
                throw Untrusted.Refuse(path,
                    $"storage {Untrusted.Quote(name)} has {elements} elements, but the pickle says {storage.Elements}.");
            var bytes = (Int128)elements * Untrusted.Width(storage.Type);
            if (bytes > stream.Length - stream.Position)
                throw Untrusted.Refuse(path,
                    $"the file ends inside storage {Untrusted.Quote(name)}, which has {bytes} bytes; download it again.");
            starts.Add(name, stream.Position);
            stream.Position += (long)bytes;
        }
        if (storages.Keys.FirstOrDefault(key => !starts.ContainsKey(key)) is { } missing)
            throw Untrusted.Refuse(path, $"storage {Untrusted.Quote(missing)} is missing.");
        return starts;
    }
}
