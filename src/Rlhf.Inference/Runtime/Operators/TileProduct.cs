using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Rlhf.Runtime.Operators;

/// <summary>Products of small matrices that lie in the processor's caches, on one thread: what attention is made of.</summary>
/// <remarks>M rows, K inner, N columns, in float32. On processors with AVX-512.</remarks>
internal static unsafe class TileProduct
{
    /// <summary>N is a multiple of this.</summary>
    public const int Columns = 32;

    /// <summary>Rows that are computed together; M is best a multiple of this.</summary>
    public const int Rows = 6;

    /// <summary>Can this processor do it?</summary>
    public static bool IsSupported => Avx512F.IsSupported;

    /// <summary>c [M, N] = a [M, K] · b [K, N].</summary>
    /// <param name="a">Left matrix.</param>
    /// <param name="row">Numbers from one row of it to the next,</param>
    /// <param name="column">and from one column to the next: a transposed matrix has 1 and its width.</param>
    /// <param name="b">Right matrix.</param>
    /// <param name="bRow">Numbers from one row of it to the next.</param>
    /// <param name="c">The product.</param>
    /// <param name="cRow">Numbers from one row of it to the next.</param>
    /// <param name="m">M.</param>
    /// <param name="n">N.</param>
    /// <param name="k">K.</param>
    /// <param name="adds">Add to what c holds.</param>
    public static void Multiply(
        float* a, nint row, nint column, float* b, nint bRow, float* c, nint cRow, int m, int n, int k, bool adds = false)
    {
        for (int j = 0; j < n;)
        {
            bool wide = n - j >= 64;
            for (int i = 0; i < m; i += Rows)
                if (wide)
                    SixByFour(a + i * row, row, column, b + j, bRow, c + i * cRow + j, cRow, Math.Min(Rows, m - i), k, adds);
                else
                    SixByTwo(a + i * row, row, column, b + j, bRow, c + i * cRow + j, cRow, Math.Min(Rows, m - i), k, adds);
            j += wide ? 64 : Columns;
        }
    }

    /// <summary>Up to six rows by 64 columns, in 24 registers; where there are fewer rows, the last stands for those that are not there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SixByFour(float* a, nint row, nint column, float* b, nint bRow, float* c, nint cRow, int rows, int k, bool adds)
    {
        float* a1 = a + (rows > 1 ? row : 0), a2 = a1 + (rows > 2 ? row : 0), a3 = a2 + (rows > 3 ? row : 0), a4 = a3 + (rows > 4 ? row : 0),
            a5 = a4 + (rows > 5 ? row : 0);
        Vector512<float> s00 = default, s01 = default, s02 = default, s03 = default, s10 = default, s11 = default, s12 = default, s13 = default,
            s20 = default, s21 = default, s22 = default, s23 = default, s30 = default, s31 = default, s32 = default, s33 = default,
            s40 = default, s41 = default, s42 = default, s43 = default, s50 = default, s51 = default, s52 = default, s53 = default;
        nint i = 0;
        for (int p = 0; p < k; p++, i += column, b += bRow)
        {
            Vector512<float> b0 = Vector512.Load(b), b1 = Vector512.Load(b + 16), b2 = Vector512.Load(b + 32), b3 = Vector512.Load(b + 48);
            var v = Vector512.Create(a[i]);
            s00 = Avx512F.FusedMultiplyAdd(v, b0, s00);
            s01 = Avx512F.FusedMultiplyAdd(v, b1, s01);
            s02 = Avx512F.FusedMultiplyAdd(v, b2, s02);
            s03 = Avx512F.FusedMultiplyAdd(v, b3, s03);
            v = Vector512.Create(a1[i]);
            s10 = Avx512F.FusedMultiplyAdd(v, b0, s10);
            s11 = Avx512F.FusedMultiplyAdd(v, b1, s11);
            s12 = Avx512F.FusedMultiplyAdd(v, b2, s12);
            s13 = Avx512F.FusedMultiplyAdd(v, b3, s13);
            v = Vector512.Create(a2[i]);
            s20 = Avx512F.FusedMultiplyAdd(v, b0, s20);
            s21 = Avx512F.FusedMultiplyAdd(v, b1, s21);
            s22 = Avx512F.FusedMultiplyAdd(v, b2, s22);
            s23 = Avx512F.FusedMultiplyAdd(v, b3, s23);
            v = Vector512.Create(a3[i]);
            s30 = Avx512F.FusedMultiplyAdd(v, b0, s30);
            s31 = Avx512F.FusedMultiplyAdd(v, b1, s31);
            s32 = Avx512F.FusedMultiplyAdd(v, b2, s32);
            s33 = Avx512F.FusedMultiplyAdd(v, b3, s33);
            v = Vector512.Create(a4[i]);
            s40 = Avx512F.FusedMultiplyAdd(v, b0, s40);
            s41 = Avx512F.FusedMultiplyAdd(v, b1, s41);
            s42 = Avx512F.FusedMultiplyAdd(v, b2, s42);
            s43 = Avx512F.FusedMultiplyAdd(v, b3, s43);
            v = Vector512.Create(a5[i]);
            s50 = Avx512F.FusedMultiplyAdd(v, b0, s50);
            s51 = Avx512F.FusedMultiplyAdd(v, b1, s51);
            s52 = Avx512F.FusedMultiplyAdd(v, b2, s52);
            s53 = Avx512F.FusedMultiplyAdd(v, b3, s53);
        }
        Store(s00, s01, s02, s03, c, adds);
        if (rows > 1)
            Store(s10, s11, s12, s13, c + cRow, adds);
        if (rows > 2)
            Store(s20, s21, s22, s23, c + 2 * cRow, adds);
        if (rows > 3)
            Store(s30, s31, s32, s33, c + 3 * cRow, adds);
        if (rows > 4)
            Store(s40, s41, s42, s43, c + 4 * cRow, adds);
        if (rows > 5)
            Store(s50, s51, s52, s53, c + 5 * cRow, adds);
    }

    /// <summary>Up to six rows by 32 columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SixByTwo(float* a, nint row, nint column, float* b, nint bRow, float* c, nint cRow, int rows, int k, bool adds)
    {
        float* a1 = a + (rows > 1 ? row : 0), a2 = a1 + (rows > 2 ? row : 0), a3 = a2 + (rows > 3 ? row : 0), a4 = a3 + (rows > 4 ? row : 0),
            a5 = a4 + (rows > 5 ? row : 0);
        Vector512<float> s00 = default, s01 = default, s10 = default, s11 = default, s20 = default, s21 = default, s30 = default, s31 = default,
            s40 = default, s41 = default, s50 = default, s51 = default;
        nint i = 0;
        for (int p = 0; p < k; p++, i += column, b += bRow)
        {
            Vector512<float> b0 = Vector512.Load(b), b1 = Vector512.Load(b + 16), v = Vector512.Create(a[i]);
            s00 = Avx512F.FusedMultiplyAdd(v, b0, s00);
            s01 = Avx512F.FusedMultiplyAdd(v, b1, s01);
            v = Vector512.Create(a1[i]);
            s10 = Avx512F.FusedMultiplyAdd(v, b0, s10);
            s11 = Avx512F.FusedMultiplyAdd(v, b1, s11);
            v = Vector512.Create(a2[i]);
            s20 = Avx512F.FusedMultiplyAdd(v, b0, s20);
            s21 = Avx512F.FusedMultiplyAdd(v, b1, s21);
            v = Vector512.Create(a3[i]);
            s30 = Avx512F.FusedMultiplyAdd(v, b0, s30);
            s31 = Avx512F.FusedMultiplyAdd(v, b1, s31);
            v = Vector512.Create(a4[i]);
            s40 = Avx512F.FusedMultiplyAdd(v, b0, s40);
            s41 = Avx512F.FusedMultiplyAdd(v, b1, s41);
            v = Vector512.Create(a5[i]);
            s50 = Avx512F.FusedMultiplyAdd(v, b0, s50);
            s51 = Avx512F.FusedMultiplyAdd(v, b1, s51);
        }
        Store(s00, s01, c, adds);
        if (rows > 1)
            Store(s10, s11, c + cRow, adds);
        if (rows > 2)
            Store(s20, s21, c + 2 * cRow, adds);
        if (rows > 3)
            Store(s30, s31, c + 3 * cRow, adds);
        if (rows > 4)
            Store(s40, s41, c + 4 * cRow, adds);
        if (rows > 5)
            Store(s50, s51, c + 5 * cRow, adds);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector512<float> s0, Vector512<float> s1, Vector512<float> s2, Vector512<float> s3, float* c, bool adds)
    {
        Store(s0, s1, c, adds);
        Store(s2, s3, c + 32, adds);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector512<float> s0, Vector512<float> s1, float* c, bool adds)
    {
        Vector512.Store(adds ? Vector512.Load(c) + s0 : s0, c);
        Vector512.Store(adds ? Vector512.Load(c + 16) + s1 : s1, c + 16);
    }
}
