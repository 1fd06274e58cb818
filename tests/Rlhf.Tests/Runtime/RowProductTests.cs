using Rlhf.Runtime.Operators;
using Rlhf.Tests.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Runtime;

/// <summary>Products of a few rows against libtorch's own.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class RowProductTests
{
    [Theory]
    [InlineData(1, 4100, 1024)]
    [InlineData(3, 4099, 1031)]
    [InlineData(8, 8192, 576)]
    [InlineData(5, 4101, 1040)]
    [InlineData(7, 2801, 1536)]
    [InlineData(11, 2803, 1531)]
    [InlineData(16, 4097, 1025)]
    public void EveryNumberIsThatOfTheWholeProduct(int rows, int outputs, int inputs)
    {
        Assert.SkipUnless(RowProduct.IsSupported, "The processor has no AVX-512.");
        using var shortcuts = new Shortcuts(true, MatrixLibrary.OneDnn);
        using var scope = NewDisposeScope();
        using var generator = new Generator(1);
        var x = empty(rows, inputs).normal_(0, 1, generator);
        var weight = empty(outputs, inputs).normal_(0, 1, generator);
        using var matrix = Int8Parameter.Create([outputs, inputs], 0, CPU);
        using var scale = matrix.Scale;
        matrix.Take(weight);
        foreach (var stored in new[] { weight, weight.to(bfloat16), matrix })
        {
            var expected = x.to(float64).mm(NarrowMatrix.Widened(stored).to(float64).t());
            var actual = RowProduct.TryMultiply(x, stored)!;
            Assert.Equal(expected.shape, actual.shape);
            Assert.True((expected - actual).abs().max().ToDouble() < 1e-3);
        }
    }

    /// <summary>What is sampled for a query must not depend on the queries beside it.</summary>
    [Fact]
    public void ARowIsTheSameToTheLastBitBesideAnyOthers()
    {
        Assert.SkipUnless(RowProduct.IsSupported, "The processor has no AVX-512.");
        using var shortcuts = new Shortcuts(true, MatrixLibrary.OneDnn);
        using var scope = NewDisposeScope();
        using var generator = new Generator(2);
        var x = empty(RowProduct.MaxRows, 1543).normal_(0, 1, generator);
        var weight = empty(2801, 1543).normal_(0, 1, generator);
        var all = RowProduct.TryMultiply(x, weight)!;
        for (int rows = 1; rows < RowProduct.MaxRows; rows++)
        {
            int first = RowProduct.MaxRows - rows;
            var some = RowProduct.TryMultiply(x.narrow(0, first, rows), weight)!;
            Assert.Equal(0, (some - all.narrow(0, first, rows)).abs().max().ToDouble());
        }
    }

    [Theory]
    [InlineData(1, 5, 16)]
    [InlineData(3, 70, 64)]
    [InlineData(4, 33, 48)]
    [InlineData(9, 17, 96)]
    public unsafe void WeightedRowsAreThoseOfTheWholeProduct(int rows, int count, int size)
    {
        Assert.SkipUnless(RowProduct.IsSupported, "The processor has no AVX-512.");
        using var scope = NewDisposeScope();
        using var generator = new Generator(3);
        var weights = empty(rows, count).normal_(0, 1, generator);
        // As in a cache: another head's numbers stand beside each.
        var both = empty(count, 2 * size).normal_(0, 1, generator);
        foreach (var stored in new[] { both, both.to(bfloat16) })
        {
            var actual = empty(rows, size);
            RowProduct.Combine((float*)TensorPointer.Of(weights), rows, new StoredMatrix
            {
                Weight = TensorPointer.Of(stored),
                Inputs = size,
                Outputs = count,
                Stride = 2 * size,
                IsBfloat16 = stored.dtype == ScalarType.BFloat16,
            }, (float*)TensorPointer.Of(actual));
            var expected = weights.to(float64).mm(stored.narrow(1, 0, size).to(float64));
            Assert.True((expected - actual).abs().max().ToDouble() < 1e-4);
        }
    }

    [Fact]
    public void ManyRowsAndSmallMatricesGoTheUsualWay()
    {
        using var scope = NewDisposeScope();
        Assert.Null(RowProduct.TryMultiply(zeros(RowProduct.MaxRows + 1, 2048), zeros(4096, 2048)));
        Assert.Null(RowProduct.TryMultiply(zeros(2, 16), zeros(16, 16)));
    }

    [Fact]
    public void EveryThreadOfATeamDoesItsPartOfEveryPhase()
    {
        foreach (int size in new[] { 1, 2, 3 })
        {
            var seen = new int[size, 100];
            ThreadTeam.Run(size, (team, member) =>
            {
                for (int phase = 0; phase < 100; phase++)
                {
                    // All have done the phase before.
                    seen[member, phase] = phase == 0 ? 1 : Enumerable.Range(0, size).Min(m => seen[m, phase - 1]) + 1;
                    team.Meet();
                }
            });
            for (int member = 0; member < size; member++)
                Assert.Equal(100, seen[member, 99]);
        }
    }
}
