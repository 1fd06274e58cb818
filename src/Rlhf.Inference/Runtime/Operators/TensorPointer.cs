using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>Where tensors on the CPU lie.</summary>
internal static unsafe class TensorPointer
{
    /// <summary>The memory of a tensor's first number, null where it has none; the tensor must outlive its use.</summary>
    /// <param name="tensor">A tensor on the CPU, of any size and strides.</param>
    public static void* Of(Tensor tensor)
    {
        long count = tensor.numel();
        if (count == 0)
            return null;
        if (count * tensor.ElementSize <= int.MaxValue && tensor.is_contiguous())
            return Start(tensor);
        // TorchSharp shows the memory as a span, which is no longer than that, and of contiguous tensors alone.
        using var plain = tensor.detach();
        using var first = plain.as_strided([1], [1], plain.storage_offset());
        return Start(first);
    }

    private static void* Start(Tensor tensor) => Unsafe.AsPointer(ref MemoryMarshal.GetReference(tensor.bytes));
}
