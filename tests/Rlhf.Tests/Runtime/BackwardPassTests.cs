using Rlhf.Faults;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime.Operators;
using Rlhf.Tests.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Runtime;

/// <summary>An exception that left a backward function of C# would end the process.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class BackwardPassTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AnExceptionInAModelsBackwardPassIsThrownToTheCaller(bool fused)
    {
        using var shortcuts = new Shortcuts(fusedBlocks: fused, Shortcuts.Libraries[0]);
        using var model = Model();
        TestSetup.CollectGarbage();
        long live = Tensor.TotalCount;
        for (int pass = 0; pass < 2; pass++)
            using (NewDisposeScope())
            {
                using var batch = PackedBatch.FromRows([[1, 2, 3], [4, 5]]);
                var hidden = model.Forward(batch);
                FaultyTraining.FailNextBackwardPass();
                var error = Assert.Throws<InvalidOperationException>(() => BackwardPass.Run(() => hidden.sum().backward()));
                Assert.Contains("fault", error.Message, StringComparison.Ordinal);
                foreach (var parameter in model.Parameters.Tensors)
                    parameter.grad = null;
            }
        TestSetup.CollectGarbage();
        Assert.Equal(live, Tensor.TotalCount);

        // And the next one is sound.
        using var scope = NewDisposeScope();
        using var rows = PackedBatch.FromRows([[1, 2, 3], [4, 5]]);
        BackwardPass.Run(() => model.Forward(rows).square().sum().backward());
        Assert.All(model.Parameters.Tensors, p => Assert.True(p.grad!.isfinite().all().ToBoolean()));
    }

    [Fact]
    public void WithoutTheGuardsCallerTheGradientIsNotANumber()
    {
        using var scope = NewDisposeScope();
        Tensor x = ones([2, 3]).requires_grad_(), weight = ones([3, 4]).requires_grad_(), bias = zeros([4]).requires_grad_();
        FaultyTraining.FailNextBackwardPass();
        MatrixProduct.Conv1D(x, weight, bias).sum().backward();
        Assert.True(x.grad!.isnan().all().ToBoolean());
    }

    private static Gpt2LMHeadModel Model()
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config { VocabSize = 17, NPositions = 8, NEmbd = 8, NLayer = 2, NHead = 2 });
        model.Initialize(1);
        return model;
    }
}
