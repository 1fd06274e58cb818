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
    /// <summary>Up to 16 rows, reading the matrix takes longer than the arithmetic; up to this many, this is still faster than a library's product,
    /// whose threads meet more often.</summary>
    public const int MaxRows = 64;

    // Of so many inputs, eight rows stay in the first cache. Rows are cut by this alone, so that none depends on how many there are.
    private const int MostInputs = 768;

    // Smaller ones stay in the processor's caches.
    private const long FewestElements = 4 << 20;

    /// <summary>Can this processor do it?</summary>
    public static bool IsSupported => Avx512F.IsSupported;

    /// <summary>x [M, I] · weightᵀ [I, O] in float32, without gradient and on all threads; null where this is not the way.</summary>
    /// <param name="x">[M, I].</param>
    /// <param name="weight">[O, I], float32, bfloat16 or int8.</param>
    public static Tensor? TryMultiply(Tensor x, Tensor weight)
    {
        if (!IsSupported || x.shape[0] > MaxRows || x.device_type != DeviceType.CPU || weight.device_type != DeviceType.CPU
            || !(weight.dtype is ScalarType.Float32 or ScalarType.BFloat16 || weight is Int8Parameter { OutputAxis: 0 }) || !weight.is_contiguous() || weight.numel() < FewestElements
            || MatrixProduct.Library != MatrixLibrary.OneDnn)
            return null;
        var rows = x.to(float32).contiguous();
        var y = empty([x.shape[0], weight.shape[0]]);
        int count = (int)x.shape[0], outputs = (int)weight.shape[0];
        var matrix = StoredMatrix.Of(weight);
        nint from = (nint)TensorPointer.Of(rows), to = (nint)TensorPointer.Of(y);
        ThreadTeam.Run(get_num_threads(), (team, member) =>
        {
            var (start, end) = team.Part(outputs, member, 4);
            Multiply((float*)from, count, matrix, (float*)to, outputs, start, end);
        });
        return y;
    }

    /// <summary>y [M, O] = x [M, I] · Wᵀ [I, O] + bias, for outputs from <paramref name="start"/> to <paramref name="end"/>.</summary>
    /// <param name="x">[M, I].</param>
    /// <param name="rows">M.</param>
    /// <param name="matrix">The matrix [O, I].</param>
    /// <param name="y">[M, <paramref name="stride"/>], of which row 0's output 0 is the first.</param>
    /// <param name="stride">Numbers from one row of y to the next.</param>
    /// <param name="start">First output.</param>
    /// <param name="end">One past the last output.</param>
    /// <param name="adds">Add to what y holds.</param>
    /// <param name="next">The matrix that this thread multiplies with afterwards, of the same type, and from which output on: fetched in the
    /// end, so that it need not be waited for.</param>
    public static void Multiply(float* x, int rows, StoredMatrix matrix, float* y, int stride, int start, int end, bool adds = false,
        (StoredMatrix Matrix, int Start)? next = null)
    {
        if (matrix.Scale is not null)
            Multiply<Int8Numbers>(x, rows, matrix, y, stride, start, end, adds, next ?? (matrix, start));
        else if (matrix.IsBfloat16)
            Multiply<Bfloat16Numbers>(x, rows, matrix, y, stride, start, end, adds, next ?? (matrix, start));
        else
            Multiply<Float32Numbers>(x, rows, matrix, y, stride, start, end, adds, next ?? (matrix, start));
    }

    private static void Multiply<T>(
        float* x, int rows, StoredMatrix matrix, float* y, int stride, int start, int end, bool adds, (StoredMatrix Matrix, int Start) next)
        where T : struct, IStoredNumbers
    {
        int inputs = matrix.Inputs, parts = Math.Max(1, (inputs + MostInputs - 1) / MostInputs), part = ((inputs + parts - 1) / parts + 15) / 16 * 16;
        long step = matrix.Step;
        float* sums = stackalloc float[16];
        for (int first = start; first < end; first += RowKernels.BlockOutputs)
            for (int from = 0; from < inputs; from += part)
            {
                int count = Math.Min(part, inputs - from), last = Math.Min(end, first + RowKernels.BlockOutputs);
                void* here = T.At(matrix.Weight, first * step + from);
                // As many outputs as here are brought into the cache meanwhile, so many numbers from one to the next.
                var (fetched, gap) = from + part < inputs ? ((nint)T.At(here, part), step)
                    : first + RowKernels.BlockOutputs < end ? ((nint)T.At(matrix.Weight, (first + RowKernels.BlockOutputs) * step), step)
                    : ((nint)T.At(next.Matrix.Weight, (long)next.Start * next.Matrix.Step), next.Matrix.Step);
                for (int r = 0; r < rows; r += 8)
                {
                    int some = Math.Min(8, rows - r), width = some > 4 ? 2 : 4;
                    for (int o = first; o < last; o += width)
                    {
                        int outputs = Math.Min(width, last - o);
                        float* numbers = x + (long)r * inputs + from;
                        void* w = T.At(here, (o - first) * step);
                        // Of the first two passes over the block, each fetches half of the next one; later ones fetch what they read anyway.
                        void* ahead = r < 16 ? T.At((void*)fetched, (o - first + (r > 0 ? 1 : 0)) * gap) : w;
                        if (some > 4)
                            RowKernels.EightByTwo<T>(numbers, inputs, some, w, outputs > 1 ? step : 0, count, ahead, rows > 8 ? 0 : gap, sums);
                        else
                            RowKernels.FourByFour<T>(numbers, inputs, some, w, step, outputs, count, ahead, rows > 8 ? 0 : gap, 2 * gap, sums);
                        for (int j = 0; j < outputs; j++)
                            for (int i = 0; i < some; i++)
                            {
                                float* to = y + (long)(r + i) * stride + o + j;
                                float sum = sums[16 / width * j + i];
                                if (matrix.Scale is not null)
                                    sum *= matrix.Scale[o + j];
                                *to = from > 0 ? *to + sum : sum + (matrix.Bias is null ? 0 : matrix.Bias[o + j]) + (adds ? *to : 0);
                            }
                    }
                }
            }
    }

    /// <summary>
    /// y [M, I] = weights [M, O] · W [O, I], with I in whole groups of 16: of attention's weights and values.
    /// </summary>
    /// <param name="weights">[M, O].</param>
    /// <param name="rows">M.</param>
    /// <param name="matrix">The matrix [O, I].</param>
    /// <param name="y">[M, I].</param>
    public static void Combine(float* weights, int rows, StoredMatrix matrix, float* y)
    {
        if (matrix.IsBfloat16)
            RowKernels.Combine<Bfloat16Numbers>(weights, rows, matrix, y);
        else
            RowKernels.Combine<Float32Numbers>(weights, rows, matrix, y);
    }

    /// <summary>Begins to fetch the first outputs of a matrix.</summary>
    public static void Fetch(StoredMatrix matrix)
    {
        int bytes = matrix.Scale is not null ? 1 : matrix.IsBfloat16 ? 2 : 4, perLine = 64 / bytes;
        for (int o = 0; o < Math.Min(RowKernels.BlockOutputs, matrix.Outputs); o++)
            for (int i = 0; i < matrix.Inputs; i += perLine)
                Sse.Prefetch1((byte*)matrix.Weight + ((long)o * matrix.Step + i) * bytes);
    }
}
