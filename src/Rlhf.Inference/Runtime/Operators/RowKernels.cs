using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Rlhf.Runtime.Operators;

/// <summary>
/// The inner loops of <see cref="RowProduct"/>: 16 sums in 16 registers. Each fetches what the next one reads into the second cache meanwhile.
/// </summary>
internal static unsafe class RowKernels
{
    /// <summary>Outputs that are computed while the next as many are fetched.</summary>
    public const int BlockOutputs = 16;

    /// <summary>Up to eight rows by two outputs, in 16 registers; where there are fewer, the last stands for those that are not there.</summary>
    /// <param name="x">First number of the first row.</param>
    /// <param name="stride">Numbers from one row to the next.</param>
    /// <param name="rows">Number of rows, 5 to 8.</param>
    /// <param name="w">First number of the first output.</param>
    /// <param name="step">Numbers from it to the second output's.</param>
    /// <param name="count">Numbers of each.</param>
    /// <param name="ahead">What to bring into the cache meanwhile: as many numbers from here,</param>
    /// <param name="second">and as many from so much further on.</param>
    /// <param name="result">Output by output, the sums of each row.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void EightByTwo<T>(float* x, int stride, int rows, void* w, long step, int count, void* ahead, long second, float* result)
        where T : struct, IStoredNumbers
    {
        float* x0 = x, x1 = x + stride, x2 = x1 + stride, x3 = x2 + stride, x4 = x3 + stride, x5 = x4 + (rows > 5 ? stride : 0),
            x6 = x5 + (rows > 6 ? stride : 0), x7 = x6 + (rows > 7 ? stride : 0);
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default,
            b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        nint i = 0;
        for (; i <= count - 16; i += 16)
        {
            Fetch<T>(ahead, i);
            Fetch<T>(ahead, second + i);
            Vector512<float> a = T.Load(w, i), b = T.Load(w, step + i);
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
            float a = T.Get(w, i), b = T.Get(w, step + i);
            Tail(result, a, x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 4, a, x4[i], x5[i], x6[i], x7[i]);
            Tail(result + 8, b, x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 12, b, x4[i], x5[i], x6[i], x7[i]);
        }
    }

    /// <summary>Up to four rows by four outputs; as <see cref="EightByTwo"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void FourByFour<T>(
        float* x, int stride, int rows, void* w, long step, int outputs, int count, void* ahead, long second, long third, float* result)
        where T : struct, IStoredNumbers
    {
        float* x0 = x, x1 = x0 + (rows > 1 ? stride : 0), x2 = x1 + (rows > 2 ? stride : 0), x3 = x2 + (rows > 3 ? stride : 0);
        long w1 = (outputs > 1 ? step : 0), w2 = w1 + (outputs > 2 ? step : 0), w3 = w2 + (outputs > 3 ? step : 0);
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default,
            c0 = default, c1 = default, c2 = default, c3 = default, d0 = default, d1 = default, d2 = default, d3 = default;
        nint i = 0;
        for (; i <= count - 16; i += 16)
        {
            Fetch<T>(ahead, i);
            Fetch<T>(ahead, second + i);
            Fetch<T>(ahead, third + i);
            Fetch<T>(ahead, third + second + i);
            Vector512<float> v0 = Vector512.Load(x0 + i), v1 = Vector512.Load(x1 + i), v2 = Vector512.Load(x2 + i), v3 = Vector512.Load(x3 + i);
            var b = T.Load(w, i);
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
            Tail(result, T.Get(w, i), x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 4, T.Get(w, w1 + i), x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 8, T.Get(w, w2 + i), x0[i], x1[i], x2[i], x3[i]);
            Tail(result + 12, T.Get(w, w3 + i), x0[i], x1[i], x2[i], x3[i]);
        }
    }

    /// <summary><see cref="RowProduct.Combine"/> of numbers of a type.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Combine<T>(float* weights, int rows, StoredMatrix matrix, float* y)
        where T : struct, IStoredNumbers
    {
        int count = matrix.Outputs, size = matrix.Inputs;
        for (int r = 0; r < rows; r += 4)
        {
            int some = Math.Min(4, rows - r);
            float* w0 = weights + (long)r * count, w1 = w0 + (some > 1 ? count : 0), w2 = w1 + (some > 2 ? count : 0), w3 = w2 + (some > 3 ? count : 0);
            for (int d = 0; d < size; d += 32)
            {
                int second = d + 16 < size ? 16 : 0;
                Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
                void* v = T.At(matrix.Weight, d);
                for (nint t = 0; t < count; t++, v = T.At(v, matrix.Step))
                {
                    Fetch<T>(v, BlockOutputs * (long)matrix.Step);
                    Fetch<T>(v, BlockOutputs * (long)matrix.Step + second);
                    Vector512<float> a = T.Load(v, 0), b = T.Load(v, second);
                    var weight = Vector512.Create(w0[t]);
                    a0 = Avx512F.FusedMultiplyAdd(weight, a, a0);
                    b0 = Avx512F.FusedMultiplyAdd(weight, b, b0);
                    weight = Vector512.Create(w1[t]);
                    a1 = Avx512F.FusedMultiplyAdd(weight, a, a1);
                    b1 = Avx512F.FusedMultiplyAdd(weight, b, b1);
                    weight = Vector512.Create(w2[t]);
                    a2 = Avx512F.FusedMultiplyAdd(weight, a, a2);
                    b2 = Avx512F.FusedMultiplyAdd(weight, b, b2);
                    weight = Vector512.Create(w3[t]);
                    a3 = Avx512F.FusedMultiplyAdd(weight, a, a3);
                    b3 = Avx512F.FusedMultiplyAdd(weight, b, b3);
                }
                float* to = y + (long)r * size + d;
                for (int i = 0; i < some; i++, to += size)
                {
                    Vector512.Store(i == 0 ? a0 : i == 1 ? a1 : i == 2 ? a2 : a3, to);
                    Vector512.Store(i == 0 ? b0 : i == 1 ? b1 : i == 2 ? b2 : b3, to + second);
                }
            }
        }
    }

    /// <summary>Into the second cache, from which numbers come fast enough; to fetch them into the first one is slower.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fetch<T>(void* numbers, long at)
        where T : struct, IStoredNumbers => Sse.Prefetch1(T.At(numbers, at));

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
}
