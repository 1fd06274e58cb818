using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>
/// Gradients of large weights, aᵀ · b, added to where they belong: no second matrix of the weight's size is made, and the transposed
/// product is as fast as any other, on processors with AVX-512. Its numbers do not depend on how many threads there are.
/// </summary>
/// <remarks>R rows, O outputs, I inputs.</remarks>
internal static unsafe class WeightGradient
{
    // Outputs that a thread takes at a time, and rows that are multiplied together: what they need stays in the second cache.
    private const int Outputs = 96, Rows = 240;

    /// <summary>Multiplications from which on the way is taken: what is small, such as the model that ships, gains little and rounds as before. Tests
    /// set it.</summary>
    internal static long FewestProducts { get; set; } = 1L << 32;

    /// <summary>sum [O, I] += a [R, O]ᵀ · b [R, I] in float32, without gradient; false, and nothing is done, where this is not the way.</summary>
    /// <param name="sum">[O, I], contiguous.</param>
    /// <param name="a">[R, O], the numbers of a row side by side: gradients of a layer's output.</param>
    /// <param name="b">[R, I], in the same way: what the layer was given.</param>
    public static bool TryAdd(Tensor sum, Tensor a, Tensor b)
    {
        if (!TileProduct.IsSupported || MatrixProduct.Library != MatrixLibrary.OneDnn || MatrixProduct.Precision != MatrixPrecision.Float32)
            return false;
        Tensor[] all = [sum, a, b];
        long rows = a.shape[0], outputs = a.shape[1], inputs = b.shape[1];
        if (all.Any(t => t.device_type != DeviceType.CPU || t.dtype != ScalarType.Float32 || t.stride(1) != 1) || !sum.is_contiguous()
            || inputs % TileProduct.Columns != 0 || rows * outputs * inputs < FewestProducts)
            return false;
        Add((float*)TensorPointer.Of(sum), (float*)TensorPointer.Of(a), (nint)a.stride(0), (float*)TensorPointer.Of(b), (nint)b.stride(0), (int)rows, (int)outputs, (int)inputs);
        return true;
    }

    private static void Add(float* sum, float* a, nint aRow, float* b, nint bRow, int rows, int outputs, int inputs)
    {
        // b in panels of up to 64 columns, each of them row by row.
        float* panels = ThreadRoom.Of(0, (long)rows * inputs);
        for (int j = 0, width; j < inputs; j += width)
        {
            width = Width(inputs - j);
            for (int r = 0; r < rows; r++)
                new ReadOnlySpan<float>(b + r * bRow + j, width).CopyTo(new Span<float>(panels + (long)j * rows + (long)r * width, width));
        }
        nint s = (nint)sum, x = (nint)a, y = (nint)panels;
        SharedWork.Run((outputs + Outputs - 1) / Outputs, () =>
        {
            nint packed = (nint)ThreadRoom.Of(1, (long)rows * Outputs);
            return i => AddBlock((float*)s, (float*)x + i * Outputs, aRow, (float*)y, (float*)packed, i * Outputs, Math.Min(Outputs, outputs - i * Outputs), rows, inputs);
        });
    }

    private static void AddBlock(float* sum, float* a, nint aRow, float* panels, float* packed, int first, int count, int rows, int inputs)
    {
        for (int r = 0; r < rows; r++)
            new ReadOnlySpan<float>(a + r * aRow, count).CopyTo(new Span<float>(packed + (long)r * Outputs, count));
        for (int r = 0; r < rows; r += Rows)
            for (int j = 0, width; j < inputs; j += width)
            {
                width = Width(inputs - j);
                TileProduct.Multiply(packed + (long)r * Outputs, 1, Outputs, panels + (long)j * rows + (long)r * width, width,
                    sum + (long)first * inputs + j, inputs, count, width, Math.Min(Rows, rows - r), adds: true);
            }
    }

    private static int Width(int left) => left >= 64 ? 64 : TileProduct.Columns;
}
