using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Models.Layers;
using Rlhf.Runtime.Operators;
using Rlhf.Tests.Models;
using Rlhf.Training.Ppo;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Tests.Conventions;

/// <summary>
/// What a GPU would compute, on libtorch's meta device, whose tensors have shapes and no numbers: whoever looks at one from the
/// host, or calls an operator that only CPUs have, gets an exception. (The device lacks libtorch's index_select, layer_norm and
/// fused Adam: no whole model runs there.)
/// </summary>
[Collection(ShortcutCollection.Name)]
public sealed class MetaDeviceTests
{
    [Fact]
    public void TheDeviceRefusesTheHost()
    {
        using var scope = NewDisposeScope();
        var x = ones([2, 2], device: META);
        Assert.ThrowsAny<Exception>(() => x.sum().item<float>());
        Assert.ThrowsAny<Exception>(() => x.data<float>().ToArray());
        Assert.ThrowsAny<Exception>(() => x.cpu());
    }

    [Fact]
    public void LayersAndTheirGradients()
    {
        // Shortcuts of the CPU are on offer, and must not be taken.
        using var shortcuts = new Shortcuts(fusedBlocks: true, Shortcuts.Libraries[^1]);
        using var scope = NewDisposeScope();
        using var parameters = new NamedParameters(META);
        Parameter conv = parameters.Add("conv", 4, 6), linear = parameters.Add("linear", 3, 6);
        Parameter convBias = parameters.Add("conv.bias", 6), linearBias = parameters.Add("linear.bias", 3);
        Assert.False(Gpt2FusedBlock.Supports(new Gpt2Config(), conv));
        var x = zeros([5, 4], float32, META).requires_grad_();
        // Twice: gradients add up.
        for (int pass = 0; pass < 2; pass++)
            MatrixProduct.Linear(MatrixProduct.Conv1D(x, conv, convBias), linear, linearBias).sum().backward();
        Assert.Equal(x.shape, x.grad!.shape);
        Assert.All(parameters, p => Assert.Equal(p.Value.shape, p.Value.grad!.shape));
    }

    [Fact]
    public void HeadAndLosses()
    {
        using var shortcuts = new Shortcuts(fusedBlocks: true, Shortcuts.Libraries[^1]);
        using var scope = NewDisposeScope();
        // Several chunks.
        int v = 60_000;
        long n = OutputHead.ChunkRows(v) + 5;
        var weight = new Parameter(zeros([v, 4], float32, META));
        var head = new OutputHead(new Linear("lm_head", weight));
        Tensor hidden = zeros([n, 4], float32, META), targets = zeros([n], int64, META), share = Meta(n);
        var pass = head.ForwardBackward(hidden, targets, (start, logprobs) =>
            PpoMath.PolicyLoss(logprobs, Meta(logprobs.shape[0]), Meta(logprobs.shape[0]),
                share.narrow(0, start, logprobs.shape[0]), 0.2).Gradient,
            withEntropy: true);
        Assert.Equal(hidden.shape, pass.HiddenGradient.shape);
        Assert.Equal(weight.shape, weight.grad!.shape);
        Assert.Equal([n], pass.Entropy!.shape);
        Assert.Equal([n], head.FullKl(hidden, head, hidden, targets).Kl.shape);
        Assert.Equal([n], head.Logprobs(hidden, targets).shape);
        Assert.Equal([n], PpoMath.ValueLoss(Meta(n), Meta(n), Meta(n), share, 0.2).Gradient.shape);
    }

    private static Tensor Meta(long n) => zeros([n], float32, META);
}
