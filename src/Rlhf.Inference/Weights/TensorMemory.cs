using Microsoft.Win32.SafeHandles;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>Moves raw elements between files and tensors without holding a second copy of a tensor.</summary>
internal static class TensorMemory
{
    private const int ReadBytesAtOnce = 256 << 20;

    /// <summary>
    /// Elements converted at once: little memory, yet few native calls, each of which waits for all threads.
    /// </summary>
    private const long ElementsAtOnce = 4 << 20;

    /// <summary>
    /// Reads elements that lie row-major in a file into a tensor of the same shape on any device, converting floating point
    /// types.
    /// </summary>
    public static void Read(
        SafeFileHandle file, string path, string name,
        ScalarType stored, ReadOnlySpan<long> shape, long offset, Tensor destination)
    {
        RequireFit(path, name, stored, shape, destination);
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        if (!destination.is_contiguous())
        {
            var whole = empty(shape.ToArray(), stored);
            Read(file, path, name, stored, shape, offset, whole);
            destination.copy_(whole);
            return;
        }
        var flat = destination.detach().view(-1);
        // A byte other than 0 and 1 is not a legal bool in C++, so bools never go straight from a file into memory.
        if (flat.device_type == DeviceType.CPU && flat.dtype == stored && stored != ScalarType.Bool)
            ReadBytes(file, path, name, offset, flat);
        else
            ReadConverted(file, path, name, stored, offset, flat);
    }

    /// <summary>
    /// Reads elements that lie in a file with steps between them; shape and strides must have been checked against the file.
    /// </summary>
    public static void ReadStrided(
        SafeFileHandle file, string path, string name,
        ScalarType stored, long[] shape, long[] strides, long offset, Tensor destination)
    {
        RequireFit(path, name, stored, shape, destination);
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        var extent = 1 + shape.Zip(strides, (size, step) => (size - 1) * step).Sum();
        var memory = empty([extent], stored == ScalarType.Bool ? ScalarType.Byte : stored);
        ReadBytes(file, path, name, offset, memory);
        var view = memory.as_strided(shape, strides);
        destination.copy_(stored == ScalarType.Bool ? view.ne(0) : view);
    }

    /// <summary>Reads as many bytes as a contiguous CPU tensor holds.</summary>
    public static unsafe void ReadBytes(SafeFileHandle file, string path, string name, long offset, Tensor flat)
    {
        var address = (byte*)TensorPointer.Of(flat);
        for (long done = 0, length = flat.numel() * flat.ElementSize; done < length;)
        {
            var piece = new Span<byte>(address + done, (int)Math.Min(length - done, ReadBytesAtOnce));
            var count = RandomAccess.Read(file, piece, offset + done);
            if (count == 0)
                throw Untrusted.Refuse(path, $"the file ends at byte {offset + done}, inside tensor {Untrusted.Quote(name)}.");
            done += count;
        }
        GC.KeepAlive(flat);
    }

    private static void ReadConverted(SafeFileHandle file, string path, string name, ScalarType stored, long offset, Tensor flat)
    {
        var length = flat.numel();
        var staging = empty([Math.Min(length, ElementsAtOnce)], stored == ScalarType.Bool ? ScalarType.Byte : stored);
        var width = Untrusted.Width(stored);
        for (long start = 0; start < length; start += ElementsAtOnce)
        {
            using var scope = NewDisposeScope();
            var piece = staging.narrow(0, 0, Math.Min(ElementsAtOnce, length - start));
            ReadBytes(file, path, name, offset + start * width, piece);
            flat.narrow(0, start, piece.numel()).copy_(stored == ScalarType.Bool ? piece.ne(0) : piece);
        }
    }

    /// <summary>Refuses a destination of another shape, or of a type that the stored one does not convert to.</summary>
    public static void RequireFit(string path, string name, ScalarType stored, ReadOnlySpan<long> shape, Tensor destination)
    {
        if (!shape.SequenceEqual(destination.shape))
            throw Untrusted.Refuse(path, $"tensor {Untrusted.Quote(name)} has shape {Untrusted.Format<long>(shape)}, " +
                $"but the model expects {Untrusted.Format<long>(destination.shape)}.");
        if (stored != destination.dtype && !(IsFloatingPoint(stored) && IsFloatingPoint(destination.dtype)))
            throw Untrusted.Refuse(path, $"tensor {Untrusted.Quote(name)} is stored as {stored}, " +
                $"which does not convert to {destination.dtype}.");
    }

    /// <summary>Writes a tensor's elements row-major, as another type if asked.</summary>
    /// <exception cref="ArgumentException">A finite value would become infinite.</exception>
    public static void Write(Stream stream, string name, Tensor tensor, ScalarType storeAs)
    {
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        var flat = tensor.detach().contiguous().view(-1);
        var length = flat.numel();
        for (long start = 0; start < length; start += ElementsAtOnce)
        {
            using var chunk = NewDisposeScope();
            var source = flat.narrow(0, start, Math.Min(ElementsAtOnce, length - start)).cpu();
            var piece = source.to(storeAs);
            if (storeAs == ScalarType.Float16 && source.dtype != storeAs && Overflows(source, piece))
                throw new ArgumentException(
                    $"Tensor {Untrusted.Quote(name)} has values beyond 65504, which Float16 cannot hold; store as BFloat16.");
            stream.Write(piece.bytes);
        }
    }

    private static bool Overflows(Tensor source, Tensor converted)
    {
        var infinite = converted.isinf();
        return infinite.any().item<bool>() && infinite.logical_and(source.isfinite()).any().item<bool>();
    }

    private static bool IsFloatingPoint(ScalarType type) =>
        type is ScalarType.Float16 or ScalarType.BFloat16 or ScalarType.Float32 or ScalarType.Float64;
}
