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

    // Outputs that are computed while the next as many are fetched.
    private const int BlockOutputs = 16;

    // Of so many inputs, eight rows stay in the first cache. Rows are cut by this alone, so that none depends on how many there are.
    private const int MostInputs = 768;

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
        int inputs = matrix.Inputs, parts = Math.Max(1, (inputs + MostInputs - 1) / MostInputs), part = ((inputs + parts - 1) / parts + 15) / 16 * 16;
        long step = matrix.Stride == 0 ? inputs : matrix.Stride;
        float* sums = stackalloc float[16];
        for (int first = start; first < end; first += BlockOutputs)
            for (int from = 0; from < inputs; from += part)
            {
                int count = Math.Min(part, inputs - from), last = Math.Min(end, first + BlockOutputs);
                long here = first * step + from, next = from + part < inputs ? here + part : first + BlockOutputs < end ? (first + BlockOutputs) * step : here;
                for (int r = 0; r < rows; r += 8)
                {
                    int some = Math.Min(8, rows - r), width = some > 4 ? 2 : 4;
                    for (int o = first; o < last; o += width)
                    {
                        int outputs = Math.Min(width, last - o);
                        long at = (o - first) * step;
                        float* numbers = x + (long)r * inputs + from;
                        // Of two passes over the block, each fetches half of the next one.
                        long fetched = next + at + (r > 0 ? step : 0), second = rows > 8 ? 0 : step;
                        if (some > 4)
                            EightByTwo<T>(numbers, inputs, some, matrix.Weight, here + at, outputs > 1 ? step : 0, count, fetched, second, sums);
                        else
                            FourByFour<T>(numbers, inputs, some, matrix.Weight, here + at, step, outputs, count, fetched, second, sums);
                        for (int j = 0; j < outputs; j++)
                            for (int i = 0; i < some; i++)
                            {
                                float* to = y + (long)(r + i) * stride + o + j;
                                float sum = sums[16 / width * j + i];
                                *to = from > 0 ? *to + sum : sum + (matrix.Bias is null ? 0 : matrix.Bias[o + j]) + (adds ? *to : 0);
                            }
                    }
                }
            }
    }

    /// <summary>Up to eight rows by two outputs, in 16 registers; where there are fewer, the last stands for those that are not there.</summary>
    /// <param name="x">First number of the first row.</param>
    /// <param name="stride">Numbers from one row to the next.</param>
    /// <param name="rows">Number of rows, 5 to 8.</param>
    /// <param name="w">The matrix.</param>
    /// <param name="at">First number of the first output there.</param>
    /// <param name="step">Numbers from it to the second output's.</param>
    /// <param name="count">Numbers of each.</param>
    /// <param name="fetched">What to bring into the cache meanwhile: as many numbers from here,</param>
    /// <param name="second">and as many so much further on.</param>
    /// <param name="result">Output by output, the sums of each row.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EightByTwo<T>(float* x, int stride, int rows, void* w, long at, long step, int count, long fetched, long second, float* result)
        where T : struct, INumbers
    {
        float* x0 = x, x1 = x + stride, x2 = x1 + stride, x3 = x2 + stride, x4 = x3 + stride, x5 = x4 + (rows > 5 ? stride : 0),
            x6 = x5 + (rows > 6 ? stride : 0), x7 = x6 + (rows > 7 ? stride : 0);
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default,
            b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        nint i = 0;
        for (; i <= count - 16; i += 16)
        {
            T.Fetch(w, fetched + i);
            T.Fetch(w, fetched + second + i);
            Vector512<float> a = T.Load(w, at + i), b = T.Load(w, at + step + i);
            var v = Vector512.Load(x0 + i);
            a0 = Avx512F.FusedMultiplyAdd(v, a, a0);
            b0 = Avx512F.FusedMultiplyAdd(v, b, b0);
            v = Vector512.Load(x1 + i);
            a1 = Avx512F.FusedMultiplyAdd(v, a, a1);
            b1 = Avx512F.FusedMultiplyAdd(v, b, b1);
            v = Vector512.Load(x2 + i);
            a2 = Avx512F.FusedMultiplyAdd(v, a, a2);
            b2 = Avx512F.FusedMultiplyAdd(v, b, b2);
            v = Vector512.Load(x3 + i);
            a3 = Avx512F.FusedMultiplyAdd(v, a, a3);
            b3 = Avx512F.FusedMultiplyAdd(v, b, b3);
            v = Vector512.Load(x4 + i);
            a4 = Avx512F.FusedMultiplyAdd(v, a, a4);
            b4 = Avx512F.FusedMultiplyAdd(v, b, b4);
            v = Vector512.Load(x5 + i);
            a5 = Avx512F.FusedMultiplyAdd(v, a, a5);
            b5 = Avx512F.FusedMultiplyAdd(v, b, b5);
            v = Vector512.Load(x6 + i);
            a6 = Avx512F.FusedMultiplyAdd(v, a, a6);
            b6 = Avx512F.FusedMultiplyAdd(v, b, b6);
            v = Vector512.Load(x7 + i);
            a7 = Avx512F.FusedMultiplyAdd(v, a, a7);
            b7 = Avx512F.FusedMultiplyAdd(v, b, b7);
        }
        Sums(a0, a1, a2, a3, a4, a5, a6, a7, result);
        Sums(b0, b1, b2, b3, b4, b5, b6, b7, result + 8);
        for (; i < count; i++)
        {
            float a = T.Get(w, at + i), b = T.Get(w, at + step + i);
            Tail(result, a, x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 4, a, x4[i], x5[i], x6[i], x7[i]);
            Tail(result + 8, b, x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 12, b, x4[i], x5[i], x6[i], x7[i]);
        }
    }

    /// <summary>Up to four rows by four outputs; as <see cref="EightByTwo"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByFour<T>(
        float* x, int stride, int rows, void* w, long at, long step, int outputs, int count, long fetched, long second, float* result)
        where T : struct, INumbers
    {
        float* x0 = x, x1 = x0 + (rows > 1 ? stride : 0), x2 = x1 + (rows > 2 ? stride : 0), x3 = x2 + (rows > 3 ? stride : 0);
        long w0 = at, w1 = w0 + (outputs > 1 ? step : 0), w2 = w1 + (outputs > 2 ? step : 0), w3 = w2 + (outputs > 3 ? step : 0);
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default,
            c0 = default, c1 = default, c2 = default, c3 = default, d0 = default, d1 = default, d2 = default, d3 = default;
        nint i = 0;
        for (; i <= count - 16; i += 16)
        {
            T.Fetch(w, fetched + i);
            T.Fetch(w, fetched + second + i);
            T.Fetch(w, fetched + 2 * step + i);
            T.Fetch(w, fetched + 2 * step + second + i);
            Vector512<float> v0 = Vector512.Load(x0 + i), v1 = Vector512.Load(x1 + i), v2 = Vector512.Load(x2 + i), v3 = Vector512.Load(x3 + i);
            var b = T.Load(w, w0 + i);
            a0 = Avx512F.FusedMultiplyAdd(v0, b, a0);
            a1 = Avx512F.FusedMultiplyAdd(v1, b, a1);
            a2 = Avx512F.FusedMultiplyAdd(v2, b, a2);
            a3 = Avx512F.FusedMultiplyAdd(v3, b, a3);
            b = T.Load(w, w1 + i);
            b0 = Avx512F.FusedMultiplyAdd(v0, b, b0);
            b1 = Avx512F.FusedMultiplyAdd(v1, b, b1);
            b2 = Avx512F.FusedMultiplyAdd(v2, b, b2);
            b3 = Avx512F.FusedMultiplyAdd(v3, b, b3);
            b = T.Load(w, w2 + i);
            c0 = Avx512F.FusedMultiplyAdd(v0, b, c0);
            c1 = Avx512F.FusedMultiplyAdd(v1, b, c1);
            c2 = Avx512F.FusedMultiplyAdd(v2, b, c2);
            c3 = Avx512F.FusedMultiplyAdd(v3, b, c3);
            b = T.Load(w, w3 + i);
            d0 = Avx512F.FusedMultiplyAdd(v0, b, d0);
            d1 = Avx512F.FusedMultiplyAdd(v1, b, d1);
            d2 = Avx512F.FusedMultiplyAdd(v2, b, d2);
            d3 = Avx512F.FusedMultiplyAdd(v3, b, d3);
        }
        Sums(a0, a1, a2, a3, b0, b1, b2, b3, result);
        Sums(c0, c1, c2, c3, d0, d1, d2, d3, result + 8);
        for (; i < count; i++)
        {
            Tail(result, T.Get(w, w0 + i), x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 4, T.Get(w, w1 + i), x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 8, T.Get(w, w2 + i), x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 12, T.Get(w, w3 + i), x0[i], x1[i], x2[i], x3[i]);
        }
    }

    /// <summary>The sum of each of eight vectors; all are added up in the same order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Sums(Vector512<float> a0, Vector512<float> a1, Vector512<float> a2, Vector512<float> a3,
        Vector512<float> a4, Vector512<float> a5, Vector512<float> a6, Vector512<float> a7, float* result)
    {
        Vector512<float> low = Quarters(a0, a1, a2, a3), high = Quarters(a4, a5, a6, a7);
        var halves = Avx512F.Shuffle4x128(low, high, 0x88) + Avx512F.Shuffle4x128(low, high, 0xDD);
        Vector128.Store(halves.GetLower().GetLower() + halves.GetLower().GetUpper(), result);
        Vector128.Store(halves.GetUpper().GetLower() + halves.GetUpper().GetUpper(), result + 4);
    }

    /// <summary>Within each 128 bits, the sums of four vectors' four numbers there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Quarters(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d)
    {
        var ab = (Avx512F.UnpackLow(a, b) + Avx512F.UnpackHigh(a, b)).AsDouble();
        var cd = (Avx512F.UnpackLow(c, d) + Avx512F.UnpackHigh(c, d)).AsDouble();
        return Avx512F.UnpackLow(ab, cd).AsSingle() + Avx512F.UnpackHigh(ab, cd).AsSingle();
    }

    private static void Tail(float* to, float w, float x0, float x1, float x2, float x3)
    {
        to[0] += w * x0;
        to[1] += w * x1;
        to[2] += w * x2;
        to[3] += w * x3;
    }

    private interface INumbers
    {
        static abstract Vector512<float> Load(void* numbers, long at);

        static abstract float Get(void* numbers, long at);

        /// <summary>Brings a number's line into the second cache, from which it comes fast enough; fetching into the first one is slower.</summary>
        static abstract void Fetch(void* numbers, long at);
    }

    private readonly struct Float32Numbers : INumbers
    {
        public static Vector512<float> Load(void* numbers, long at) => Vector512.Load((float*)numbers + at);

        public static float Get(void* numbers, long at) => ((float*)numbers)[at];

        public static void Fetch(void* numbers, long at) => Sse.Prefetch1((float*)numbers + at);
    }

    private readonly struct Bfloat16Numbers : INumbers
    {
        public static Vector512<float> Load(void* numbers, long at) => LoadBfloat16((ushort*)numbers + at);

        public static float Get(void* numbers, long at) => BitConverter.UInt32BitsToSingle((uint)((ushort*)numbers)[at] << 16);

        public static void Fetch(void* numbers, long at) => Sse.Prefetch1((ushort*)numbers + at);
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
