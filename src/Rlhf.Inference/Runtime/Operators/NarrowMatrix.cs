using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Runtime.Operators;

/// <summary>
/// Products in float32 with a frozen matrix that is kept in fewer bytes (<see cref="BaseStorage"/>): it is widened a block of outputs at a
/// time, and never as a whole where it is large.
/// </summary>
/// <remarks>M rows, I inputs, O outputs.</remarks>
internal static class NarrowMatrix
{
    // 4 MiB of float32: what is widened is still in the processor's caches when it is multiplied.
    private const long BlockElements = 1 << 20;

    // Of smaller matrices the product in one go is faster.
    private const long LargeElements = 16 << 20;

    /// <summary>Is a matrix kept in another type than what it is multiplied with in float32?</summary>
    public static bool Is(Tensor weight, Tensor x) => x.dtype == ScalarType.Float32 && weight.dtype is ScalarType.BFloat16 or ScalarType.Int8;

    /// <summary>The matrix in float32, in its own layout; without gradient. A float32 matrix is returned as it is.</summary>
    public static Tensor Widened(Tensor weight)
    {
        using var noGrad = no_grad();
        if (weight is not Int8Parameter matrix)
            return weight.to(float32);
        using var scope = NewDisposeScope();
        return matrix.to(float32).mul_(matrix.Scale.unsqueeze(1 - matrix.OutputAxis)).MoveToOuterDisposeScope();
    }

    /// <summary>Rows of an embedding table [V, D] in float32.</summary>
    public static Tensor Rows(Tensor table, Tensor ids)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var rows = table.index_select(0, ids).to(float32);
        return (table is Int8Parameter matrix ? rows.mul_(matrix.Scale.index_select(0, ids).unsqueeze(1)) : rows).MoveToOuterDisposeScope();
    }

    /// <summary>x [M, I] · weightᵀ [I, O] + bias [O], if any; without gradient.</summary>
    /// <param name="x">[M, I].</param>
    /// <param name="weight">[O, I]; [I, O] where <paramref name="isTransposed"/> is false.</param>
    /// <param name="bias">[O], or null.</param>
    /// <param name="isTransposed">Outputs first, as torch's Linear has them.</param>
    /// <param name="exact">In float32 whatever <see cref="MatrixProduct.Precision"/> says.</param>
    public static Tensor Multiply(Tensor x, Tensor weight, Tensor? bias, bool isTransposed = true, bool exact = false)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        if (isTransposed && RowProduct.TryMultiply(x, weight) is { } few)
            return (bias is null ? few : few.add_(bias)).MoveToOuterDisposeScope();
        if (!IsLarge(weight, isTransposed))
        {
            var wide = Widened(weight);
            return MatrixProduct.Of(x, isTransposed ? wide.t() : wide, bias, exact).MoveToOuterDisposeScope();
        }
        var y = empty([x.shape[0], weight.shape[0]], float32, x.device);
        foreach (var (start, count) in Blocks(weight))
        {
            using var block = NewDisposeScope();
            y.narrow(1, start, count).copy_(MatrixProduct.Of(x, Block(weight, start, count).t(), null, exact));
        }
        return (bias is null ? y : y.add_(bias)).MoveToOuterDisposeScope();
    }

    /// <summary>The gradient [M, I] of x in <see cref="Multiply"/> from that of its result [M, O]; without gradient.</summary>
    public static Tensor Through(Tensor outputGradient, Tensor weight, bool isTransposed = true)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        if (!IsLarge(weight, isTransposed))
        {
            var wide = Widened(weight);
            return MatrixProduct.Of(outputGradient, isTransposed ? wide : wide.t()).MoveToOuterDisposeScope();
        }
        Tensor? sum = null;
        foreach (var (start, count) in Blocks(weight))
        {
            using var block = NewDisposeScope();
            // oneDNN is slow on parts of rows.
            var next = MatrixProduct.Accumulate(sum, outputGradient.narrow(1, start, count).contiguous(), Block(weight, start, count));
            if (!ReferenceEquals(next, sum))
                sum?.Dispose();
            sum = next.MoveToOuterDisposeScope();
        }
        return sum!.MoveToOuterDisposeScope();
    }

    /// <summary>The same as <see cref="Multiply"/>, differentiable by x and the bias.</summary>
    public static Tensor Apply(Tensor x, Tensor weight, Tensor? bias, bool isTransposed)
    {
        if (!is_grad_enabled() || !x.requires_grad && bias is not { requires_grad: true })
            return Multiply(x, weight, bias, isTransposed);
        var y = x.requires_grad ? ProductFunction.apply(x, weight, isTransposed) : Multiply(x, weight, null, isTransposed);
        return bias is null ? y : y + bias;
    }

    private static bool IsLarge(Tensor weight, bool isTransposed) => isTransposed && weight.numel() >= LargeElements;

    private static IEnumerable<(long Start, long Count)> Blocks(Tensor weight)
    {
        long outputs = weight.shape[0], step = Math.Max(1, BlockElements / weight.shape[1]);
        for (long start = 0; start < outputs; start += step)
            yield return (start, Math.Min(step, outputs - start));
    }

    /// <summary>Some outputs [count, I] of a matrix [O, I], float32.</summary>
    private static Tensor Block(Tensor weight, long start, long count)
    {
        var wide = weight.narrow(0, start, count).to(float32);
        return weight is Int8Parameter matrix ? wide.mul_(matrix.Scale.narrow(0, start, count).unsqueeze(1)) : wide;
    }

    private sealed class ProductFunction : autograd.SingleTensorFunction<ProductFunction>
    {
        public override string Name => "NarrowProduct";

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var (x, weight, isTransposed) = ((Tensor)vars[0], (Tensor)vars[1], (bool)vars[2]);
            // As data, since a saved variable would come back as a plain tensor; in an array, which data may be. The matrix is its model's and does not change.
            ctx.save_data(nameof(weight), new[] { weight });
            ctx.save_data(nameof(isTransposed), isTransposed);
            return Multiply(x, weight, null, isTransposed);
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            var weight = ((Tensor[])ctx.get_data("weight"))[0];
            bool isTransposed = (bool)ctx.get_data("isTransposed");
            return BackwardPass.Guard(() => [grad_output.shape[0], weight.shape[isTransposed ? 1 : 0]], grad_output, inputs: 3,
                () => Through(grad_output, weight, isTransposed));
        }
    }
}
