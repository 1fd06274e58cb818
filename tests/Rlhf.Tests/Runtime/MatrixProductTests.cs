using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using Rlhf.Tests.Models;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Tests.Runtime;

/// <summary>Products of both libraries against libtorch's own in double precision.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class MatrixProductTests
{
    private static readonly (int M, int K, int N)[] Shapes =
        [(1, 5, 7), (5, 1, 7), (5, 7, 1), (1, 1, 1), (1, 64, 1), (33, 17, 65), (128, 96, 40)];

    public static TheoryData<MatrixLibrary, int, int, int, bool> Cases() => new(
        from library in Shortcuts.Libraries
        from shape in Shapes
        from isContiguous in (bool[])[true, false]
        select (library, shape.M, shape.K, shape.N, isContiguous));

    [Theory]
    [MemberData(nameof(Cases))]
    public void ProductsAreThoseOfDoublePrecision(MatrixLibrary library, int m, int k, int n, bool isContiguous)
    {
        using var shortcuts = new Shortcuts(true, library);
        using var scope = NewDisposeScope();
        random.manual_seed(m + k + n);
        Tensor a = Matrix(m, k, isContiguous), b = Matrix(k, n, isContiguous), bias = randn(n), sum = Matrix(m, n, isContiguous);
        var product = a.to(float64).mm(b.to(float64));
        var total = product + sum;
        AssertClose(product, MatrixProduct.Of(a, b));
        AssertClose(product + bias, MatrixProduct.Of(a, b, bias));
        AssertClose(product, MatrixProduct.Accumulate(null, a, b));
        AssertClose(total, MatrixProduct.Accumulate(sum, a, b));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void LayersAndTheirGradientsAreThoseOfDoublePrecision(MatrixLibrary library, int m, int k, int n, bool isContiguous)
    {
        using var shortcuts = new Shortcuts(true, library);
        using var scope = NewDisposeScope();
        random.manual_seed(m + k + n);
        foreach (bool isLinear in (bool[])[false, true])
        {
            var x = Matrix(m, k, isContiguous).requires_grad_();
            Parameter weight = new(isLinear ? randn(n, k) : randn(k, n)), bias = new(randn(n));
            Tensor[] exact = [.. new Tensor[] { x, weight, bias }.Select(t => t.detach().to(float64).requires_grad_())];
            // Twice: gradients add up.
            for (int pass = 0; pass < 2; pass++)
            {
                var y = isLinear ? MatrixProduct.Linear(x, weight, bias) : MatrixProduct.Conv1D(x, weight, bias);
                var expected = exact[0].mm(isLinear ? exact[1].t() : exact[1]) + exact[2];
                AssertClose(expected, y);
                var dy = Matrix(m, n, isContiguous);
                y.backward([dy]);
                expected.backward([dy.to(float64)]);
            }
            AssertClose(exact[0].grad!, x.grad!);
            AssertClose(exact[1].grad!, weight.grad!);
            AssertClose(exact[2].grad!, bias.grad!);
        }
    }

    [Fact]
    public void WhatIsFrozenGetsNoGradient()
    {
        foreach (var library in Shortcuts.Libraries)
        {
            using var shortcuts = new Shortcuts(true, library);
            using var scope = NewDisposeScope();
            var x = randn(4, 3);
            Parameter weight = new(randn(3, 2), requires_grad: false), bias = new(randn(2));
            MatrixProduct.Conv1D(x, weight, bias).sum().backward();
            Assert.Null(weight.grad);
            AssertClose(full(2, 4, float64), bias.grad!);
            using (no_grad())
                Assert.False(MatrixProduct.Conv1D(x, weight, bias).requires_grad);
        }
    }

    [Fact]
    public void DoublePrecisionGoesToTorch()
    {
        using var shortcuts = new Shortcuts(true, MatrixLibrary.OneDnn);
        using var scope = NewDisposeScope();
        Tensor a = randn(3, 4, float64), b = randn(4, 5, float64);
        Assert.Equal(float64, MatrixProduct.Of(a, b).dtype);
        Assert.True(a.mm(b).equal(MatrixProduct.Of(a, b)).all().ToBoolean());
    }

    [Fact]
    public void TheLibraryCanBeChosen()
    {
        Assert.Equal(MatrixLibrary.OneDnn, MatrixProduct.Choose("onednn"));
        Assert.Equal(MatrixLibrary.Default, MatrixProduct.Choose("default"));
        Assert.Equal(MatrixProduct.Choose(null), MatrixProduct.Choose(""));
        Assert.Equal("RLHF_MATMUL is 'mkl'; use default or onednn, or leave it unset.",
            Assert.Throws<ConfigurationException>(() => MatrixProduct.Choose("mkl")).Problems[0]);
    }

    /// <summary>A random matrix; where not contiguous, every second column of a transposed one.</summary>
    private static Tensor Matrix(int rows, int columns, bool isContiguous) =>
        isContiguous ? randn(rows, columns) : randn(2 * columns, rows + 1).t().narrow(0, 1, rows)[.., TensorIndex.Slice(null, null, 2)];

    private static void AssertClose(Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.shape, actual.shape);
        Assert.InRange((expected - actual).abs().max().ToDouble(), 0, 1e-5 * Math.Max(1, expected.abs().max().ToDouble()));
    }
}
