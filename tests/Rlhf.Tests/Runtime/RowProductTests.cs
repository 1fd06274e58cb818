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
    [InlineData(16, 4097, 1025)]
    public void EveryNumberIsThatOfTheWholeProduct(int rows, int outputs, int inputs)
    {
        Assert.SkipUnless(RowProduct.IsSupported, "The processor has no AVX-512.");
        using var shortcuts = new Shortcuts(true, MatrixLibrary.OneDnn);
        using var scope = NewDisposeScope();
        using var generator = new Generator(1);
        var x = empty(rows, inputs).normal_(0, 1, generator);
        var weight = empty(outputs, inputs).normal_(0, 1, generator);
        foreach (var stored in new[] { weight, weight.to(bfloat16) })
        {
            var expected = x.to(float64).mm(stored.to(float64).t());
            var actual = RowProduct.TryMultiply(x, stored)!;
            Assert.Equal(expected.shape, actual.shape);
            Assert.True((expected - actual).abs().max().ToDouble() < 1e-3);
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
