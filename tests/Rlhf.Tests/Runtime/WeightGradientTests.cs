using Rlhf.Runtime.Operators;
using Rlhf.Tests.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Runtime;

/// <summary>Gradients of large weights against libtorch's product in 64 bits.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class WeightGradientTests : IDisposable
{
    private readonly long fewestProducts = WeightGradient.FewestProducts;

    public WeightGradientTests() => WeightGradient.FewestProducts = 1L << 26;

    public void Dispose() => WeightGradient.FewestProducts = fewestProducts;

    [Theory]
    [InlineData(3000, 101, 256)]
    [InlineData(241, 4099, 96)]
    [InlineData(240, 960, 576)]
    [InlineData(739, 96, 1056)]
    public void EveryNumberIsThatOfTheTransposedProduct(int rows, int outputs, int inputs)
    {
        Assert.SkipUnless(TileProduct.IsSupported, "The processor has no AVX-512.");
        using var shortcuts = new Shortcuts(true, MatrixLibrary.OneDnn);
        using var scope = NewDisposeScope();
        using var generator = new Generator(4);
        // A part of a wider matrix, as a chunk of logits is, and an input that is a part of one, too.
        var a = empty(rows, outputs + 7).normal_(0, 1, generator).narrow(1, 5, outputs);
        var b = empty(rows, inputs + 1).normal_(0, 1, generator).narrow(1, 1, inputs);
        var sum = empty(outputs, inputs).normal_(0, 1, generator);
        var expected = a.to(float64).t().mm(b.to(float64)) + sum;
        Assert.True(WeightGradient.TryAdd(sum, a, b));
        Assert.True((expected - sum).abs().max().ToDouble() < 1e-3);
    }

    [Fact]
    public void OtherTypesShapesAndLibrariesGoTheUsualWay()
    {
        using var scope = NewDisposeScope();
        Tensor sum = zeros(512, 512), a = ones(512, 512), b = ones(512, 512);
        using (new Shortcuts(true, MatrixLibrary.Default))
            Assert.False(WeightGradient.TryAdd(sum, a, b));
        if (Shortcuts.Libraries.Contains(MatrixLibrary.OneDnn))
        {
            using var shortcuts = new Shortcuts(true, MatrixLibrary.OneDnn);
            Assert.False(WeightGradient.TryAdd(sum.to(bfloat16), a, b));
            Assert.False(WeightGradient.TryAdd(sum.t(), a.t(), b));
            Assert.False(WeightGradient.TryAdd(zeros(512, 500), a, b.narrow(1, 0, 500)));
            Assert.False(WeightGradient.TryAdd(zeros(8, 32), a.narrow(1, 0, 8), b.narrow(1, 0, 32)));
        }
        Assert.Equal(0, sum.abs().max().ToDouble());
    }
}
