using BenchmarkDotNet.Attributes;
using Rlhf.Models;
using Rlhf.Models.Fused;
using Rlhf.Models.Gpt2;
using Rlhf.Models.Layers;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Benchmarks;

/// <summary>GPT-2's blocks over packed rows of 6 to 22 tokens.</summary>
[MemoryDiagnoser]
public class PackedForward
{
    private Gpt2LMHeadModel model = null!;
    private PackedBatch batch = null!;
    private Tensor gradient = null!;

    [Params("tiny", "gpt2")]
    public string Shape { get; set; } = "tiny";

    /// <summary>Fused: one native call per block. Composed: libtorch's operators one by one, and autograd.</summary>
    [Params(true, false)]
    public bool Fused { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        FusedBlocks.Enabled = Fused;
        var config = Shape == "gpt2" ? new Gpt2Config() : new Gpt2Config { VocabSize = 8000, NPositions = 128, NEmbd = 256, NLayer = 6, NHead = 8 };
        model = new Gpt2LMHeadModel(config with { ResidPdrop = 0, EmbdPdrop = 0, AttnPdrop = 0 });
        model.Initialize(0);
        var random = new RandomStream(0, "benchmark");
        batch = PackedBatch.FromRows([.. Enumerable.Range(0, 16).Select(_ =>
            Enumerable.Range(0, random.NextInt32(6, 23)).Select(_ => random.NextInt32(0, config.VocabSize)).ToArray())]);
        gradient = randn(batch.TokenCount, config.NEmbd).mul_(1e-3);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        gradient.Dispose();
        batch.Dispose();
        model.Dispose();
        FusedBlocks.Enabled = true;
    }

    [Benchmark]
    public void Forward()
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        model.Forward(batch);
    }

    [Benchmark]
    public void ForwardBackward()
    {
        using var scope = NewDisposeScope();
        model.Forward(batch).backward([gradient]);
    }
}

/// <summary>The output layer of GPT-2 small on 256 positions: logprobs and their gradient.</summary>
[MemoryDiagnoser]
public class Head
{
    private const int Rows = 256, Vocabulary = 50257, Width = 768;
    private Tensor hidden = null!, targets = null!, coefficients = null!;
    private Parameter weight = null!;

    [GlobalSetup]
    public void Setup()
    {
        LibTorch.Initialize();
        hidden = randn(Rows, Width).requires_grad_();
        weight = new Parameter(randn(Vocabulary, Width).mul_(0.02));
        targets = randint(0, Vocabulary, [Rows], int64);
        coefficients = randn(Rows).mul_(1e-3);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        foreach (var tensor in (Tensor[])[hidden, targets, coefficients, weight])
            tensor.Dispose();
    }

    [Benchmark(Baseline = true)]
    public void WholeLogits()
    {
        using var scope = NewDisposeScope();
        nn.functional.log_softmax(hidden.mm(weight.t()), 1).gather(1, targets.unsqueeze(1)).squeeze(1).backward([coefficients]);
    }

    [Benchmark]
    public void Chunks()
    {
        using var scope = NewDisposeScope();
        new OutputHead(new Linear("lm_head", weight))
            .ForwardBackward(hidden, targets, (start, logprobs) => coefficients.narrow(0, start, logprobs.shape[0]));
    }
}

/// <summary>Products of the shape that GPT-2 small's feed-forward layer has on 1,024 tokens.</summary>
public class Products
{
    private Tensor a = null!, b = null!;

    [ParamsAllValues]
    public MatrixLibrary Library { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        LibTorch.Initialize();
        MatrixProduct.Library = Library;
        (a, b) = (randn(1024, 768), randn(768, 3072));
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        a.Dispose();
        b.Dispose();
    }

    [Benchmark]
    public void Product() => MatrixProduct.Of(a, b).Dispose();
}

/// <summary>One step of Adam over the parameters of the tiny policy.</summary>
[MemoryDiagnoser]
public class AdamStep
{
    private Gpt2LMHeadModel model = null!;
    private Training.Optimization.Adam fused = null!;
    private optim.Optimizer torchSharps = null!;

    [GlobalSetup]
    public void Setup()
    {
        model = new Gpt2LMHeadModel(new Gpt2Config { VocabSize = 8000, NPositions = 128, NEmbd = 256, NLayer = 6, NHead = 8 });
        model.Initialize(0);
        foreach (var parameter in model.Parameters.Tensors)
            parameter.grad = full_like(parameter, 1e-3, requires_grad: false);
        fused = new Training.Optimization.Adam(model.Parameters);
        torchSharps = optim.Adam(model.Parameters.Tensors, 1e-5);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        torchSharps.Dispose();
        fused.Dispose();
        model.Dispose();
    }

    [Benchmark(Baseline = true)]
    public void TorchSharps()
    {
        using var scope = NewDisposeScope();
        torchSharps.step();
    }

    [Benchmark]
    public void Fused() => fused.Step(1e-5);
}
