using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>
/// Products of a few rows with a stored matrix, as in decoding, where all time goes into reading the matrix: each number of it is read once,
/// in order, and multiplied with all rows while it is there.
/// </summary>
/// <remarks>M rows, I inputs, O outputs. On processors with AVX-512.</remarks>
internal static unsafe class RowProduct
{
    /// <summary>Up to this many rows reading the matrix takes longer than the arithmetic.</summary>
    public const int MaxRows = 16;

    // Smaller ones stay in the processor's caches.
    private const long FewestElements = 4 << 20;

    /// <summary>Can this processor do it?</summary>
    public static bool IsSupported => Avx512F.IsSupported;

    /// <summary>Memory of a contiguous tensor on the CPU; the tensor must outlive its use.</summary>
    public static void* Pointer(Tensor tensor) => Unsafe.AsPointer(ref MemoryMarshal.GetReference(tensor.bytes));

    /// <summary>x [M, I] · weightᵀ [I, O] in float32, without gradient and on all threads; null where this is not the way.</summary>
    /// <param name="x">[M, I].</param>
    /// <param name="weight">[O, I], float32 or bfloat16.</param>
    public static Tensor? TryMultiply(Tensor x, Tensor weight)
    {
        if (!IsSupported || x.shape[0] > MaxRows || x.device_type != DeviceType.CPU || weight.device_type != DeviceType.CPU
            || weight.dtype is not (ScalarType.Float32 or ScalarType.BFloat16) || !weight.is_contiguous() || weight.numel() < FewestElements
            || MatrixProduct.Library != MatrixLibrary.OneDnn)
            return null;
        var rows = x.to(float32).contiguous();
        var y = empty([x.shape[0], weight.shape[0]]);
        int count = (int)x.shape[0], outputs = (int)weight.shape[0];
        var matrix = new StoredMatrix
        {
            Weight = Pointer(weight),
            Inputs = (int)weight.shape[1],
            Outputs = outputs,
            IsBfloat16 = weight.dtype == ScalarType.BFloat16,
        };
        nint from = (nint)Pointer(rows), to = (nint)Pointer(y);
        ThreadTeam.Run(get_num_threads(), (team, member) =>
        {
            var (start, end) = team.Part(outputs, member, 4);
            Multiply((float*)from, count, matrix, (float*)to, outputs, start, end);
        });
        return y;
    }

    /// <summary>16 numbers of bfloat16, which are the upper halves of float32.</summary>
    public static Vector512<float> LoadBfloat16(ushort* numbers) =>
        Vector512.ShiftLeft(Avx512F.ConvertToVector512UInt32(Vector256.Load(numbers)), 16).AsSingle();

    /// <summary>y [M, O] = x [M, I] · Wᵀ [I, O] + bias, for outputs from <paramref name="start"/> to <paramref name="end"/>.</summary>
    /// <param name="x">[M, I].</param>
    /// <param name="rows">M.</param>
    /// <param name="matrix">The matrix [O, I].</param>
    /// <param name="y">[M, <paramref name="stride"/>], of which row 0's output 0 is the first.</param>
    /// <param name="stride">Numbers from one row of y to the next.</param>
    /// <param name="start">First output.</param>
    /// <param name="end">One past the last output.</param>
    /// <param name="adds">Add to what y holds.</param>
    public static void Multiply(float* x, int rows, StoredMatrix matrix, float* y, int stride, int start, int end, bool adds = false)
    {
        if (matrix.IsBfloat16)
            Multiply<Bfloat16Numbers>(x, rows, matrix, y, stride, start, end, adds);
        else
            Multiply<Float32Numbers>(x, rows, matrix, y, stride, start, end, adds);
    }

    private static void Multiply<T>(float* x, int rows, StoredMatrix matrix, float* y, int stride, int start, int end, bool adds)
        where T : struct, INumbers
    {
        float* block = stackalloc float[16];
        for (int o = start; o < end; o += 4)
        {
            int outputs = Math.Min(4, end - o);
            for (int r = 0; r < rows; r += 4)
            {
                int count = Math.Min(4, rows - r);
                Block<T>(x, matrix, r, count, o, outputs, block);
                for (int i = 0; i < count; i++)
                    for (int j = 0; j < outputs; j++)
                    {
                        float* to = y + (long)(r + i) * stride + o + j;
                        *to = block[4 * i + j] + (matrix.Bias is null ? 0 : matrix.Bias[o + j]) + (adds ? *to : 0);
                    }
            }
        }
    }

    /// <summary>Four rows by four outputs, in 16 registers; where there are fewer, the last stands for those that are not there.</summary>
    private static void Block<T>(float* x, StoredMatrix matrix, int row, int rows, int output, int outputs, float* result)
        where T : struct, INumbers
    {
        int inputs = matrix.Inputs;
        float* x0 = x + (long)row * inputs, x1 = x0 + (rows > 1 ? inputs : 0), x2 = x1 + (rows > 2 ? inputs : 0), x3 = x2 + (rows > 3 ? inputs : 0);
        void* w = matrix.Weight;
        int step = matrix.Stride == 0 ? inputs : matrix.Stride;
        long w0 = (long)output * step, w1 = w0 + (outputs > 1 ? step : 0), w2 = w1 + (outputs > 2 ? step : 0), w3 = w2 + (outputs > 3 ? step : 0);
        Vector512<float> a00 = default, a01 = default, a02 = default, a03 = default, a10 = default, a11 = default, a12 = default, a13 = default,
            a20 = default, a21 = default, a22 = default, a23 = default, a30 = default, a31 = default, a32 = default, a33 = default;
        int i = 0;
        for (; i <= inputs - 16; i += 16)
        {
            var v0 = Vector512.Load(x0 + i);
            var v1 = Vector512.Load(x1 + i);
            var v2 = Vector512.Load(x2 + i);
            var v3 = Vector512.Load(x3 + i);
            var b = T.Load(w, w0 + i);
            a00 = Avx512F.FusedMultiplyAdd(v0, b, a00);
            a10 = Avx512F.FusedMultiplyAdd(v1, b, a10);
            a20 = Avx512F.FusedMultiplyAdd(v2, b, a20);
            a30 = Avx512F.FusedMultiplyAdd(v3, b, a30);
            b = T.Load(w, w1 + i);
            a01 = Avx512F.FusedMultiplyAdd(v0, b, a01);
            a11 = Avx512F.FusedMultiplyAdd(v1, b, a11);
            a21 = Avx512F.FusedMultiplyAdd(v2, b, a21);
            a31 = Avx512F.FusedMultiplyAdd(v3, b, a31);
            b = T.Load(w, w2 + i);
            a02 = Avx512F.FusedMultiplyAdd(v0, b, a02);
            a12 = Avx512F.FusedMultiplyAdd(v1, b, a12);
            a22 = Avx512F.FusedMultiplyAdd(v2, b, a22);
            a32 = Avx512F.FusedMultiplyAdd(v3, b, a32);
            b = T.Load(w, w3 + i);
            a03 = Avx512F.FusedMultiplyAdd(v0, b, a03);
            a13 = Avx512F.FusedMultiplyAdd(v1, b, a13);
            a23 = Avx512F.FusedMultiplyAdd(v2, b, a23);
            a33 = Avx512F.FusedMultiplyAdd(v3, b, a33);
        }
        result[0] = Vector512.Sum(a00);
        result[1] = Vector512.Sum(a01);
        result[2] = Vector512.Sum(a02);
        result[3] = Vector512.Sum(a03);
        result[4] = Vector512.Sum(a10);
        result[5] = Vector512.Sum(a11);
        result[6] = Vector512.Sum(a12);
        result[7] = Vector512.Sum(a13);
        result[8] = Vector512.Sum(a20);
        result[9] = Vector512.Sum(a21);
        result[10] = Vector512.Sum(a22);
        result[11] = Vector512.Sum(a23);
        result[12] = Vector512.Sum(a30);
        result[13] = Vector512.Sum(a31);
        result[14] = Vector512.Sum(a32);
        result[15] = Vector512.Sum(a33);
        for (; i < inputs; i++)
        {
            float b0 = T.Get(w, w0 + i), b1 = T.Get(w, w1 + i), b2 = T.Get(w, w2 + i), b3 = T.Get(w, w3 + i);
            Tail(result, x0[i], b0, b1, b2, b3);
            Tail(result + 4, x1[i], b0, b1, b2, b3);
            Tail(result + 8, x2[i], b0, b1, b2, b3);
            Tail(result + 12, x3[i], b0, b1, b2, b3);
        }
    }

    private static void Tail(float* to, float x, float b0, float b1, float b2, float b3)
    {
        to[0] += x * b0;
        to[1] += x * b1;
        to[2] += x * b2;
        to[3] += x * b3;
    }

    private interface INumbers
    {
        static abstract Vector512<float> Load(void* numbers, long at);

        static abstract float Get(void* numbers, long at);
    }

    private readonly struct Float32Numbers : INumbers
    {
        public static Vector512<float> Load(void* numbers, long at) => Vector512.Load((float*)numbers + at);

        public static float Get(void* numbers, long at) => ((float*)numbers)[at];
    }

    private readonly struct Bfloat16Numbers : INumbers
    {
        public static Vector512<float> Load(void* numbers, long at) => LoadBfloat16((ushort*)numbers + at);

        public static float Get(void* numbers, long at) => BitConverter.UInt32BitsToSingle((uint)((ushort*)numbers)[at] << 16);
    }
}

/// <summary>A matrix [O, I] in memory that stays where it is, and its bias [O], if any.</summary>
internal readonly unsafe struct StoredMatrix
{
    public required void* Weight { get; init; }

    public float* Bias { get; init; }

    public required int Inputs { get; init; }

    public required int Outputs { get; init; }

    /// <summary>Numbers from one output's to the next; 0, the default, is <see cref="Inputs"/>.</summary>
    public int Stride { get; init; }

    /// <summary>bfloat16; otherwise float32.</summary>
    public bool IsBfloat16 { get; init; }
}
