using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models.Gpt2;

/// <summary>Blocks as one native call each way against blocks composed of libtorch's operators, whose gradients are autograd's.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class FusedBlockTests
{
    private const int Layers = 3, Vocabulary = 31;
    private static readonly int[] Ragged = [3, 7, 1, 5], Uniform = [4, 4, 4];

    public static TheoryData<MatrixLibrary, string, bool> Cases() => new(
        from library in Shortcuts.Libraries
        from activation in (string[])["gelu", "gelu_new"]
        from isUniform in (bool[])[false, true]
        select (library, activation, isUniform));

    [Theory]
    [MemberData(nameof(Cases))]
    public void ForwardAndAllGradientsAreTheComposedBlocks(MatrixLibrary library, string activation, bool isUniform) =>
        AssertSame(library, activation, [Lengths(isUniform)], _ => true);

    [Theory]
    [MemberData(nameof(Cases))]
    public void TwoBackwardPassesAddUp(MatrixLibrary library, string activation, bool isUniform) =>
        AssertSame(library, activation, [Lengths(isUniform), Lengths(!isUniform)], _ => true);

    [Theory]
    [InlineData("embeddings and lower blocks", "transformer.wte.", "transformer.wpe.", "transformer.h.0.", "transformer.h.1.")]
    [InlineData("embeddings", "transformer.wte.", "transformer.wpe.")]
    [InlineData("a block in the middle", "transformer.h.1.")]
    [InlineData("the topmost block", "transformer.h.2.")]
    [InlineData("all blocks", "transformer.wte.", "transformer.wpe.", "transformer.h.")]
    [InlineData("some of a block", "transformer.wte.", "transformer.wpe.", "transformer.h.0.attn", "transformer.h.0.mlp.c_fc.weight")]
    public void WhatIsFrozenGetsNoGradient(string what, params string[] frozen)
    {
        Assert.NotEmpty(what);
        foreach (var library in Shortcuts.Libraries)
            AssertSame(library, "gelu_new", [Ragged, Uniform], name => !frozen.Any(f => name.StartsWith(f, StringComparison.Ordinal)));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void PrefillAndDecodeAreTheComposedBlocks(MatrixLibrary library, string activation, bool isUniform)
    {
        using var scope = NewDisposeScope();
        var expected = Decode(fused: false, MatrixLibrary.Default);
        var actual = Decode(fused: true, library);
        Assert.Equal(expected.Count, actual.Count);
        foreach (var (e, a) in expected.Zip(actual))
            AssertClose("hidden states, keys or values", e, a);

        List<Tensor> Decode(bool fused, MatrixLibrary with)
        {
            using var shortcuts = new Shortcuts(fused, with);
            using var noGrad = no_grad();
            using var model = Model(activation);
            Assert.Equal(fused, Gpt2FusedBlock.Supports(model.Config, model.Head.Layer.Weight));
            using var batch = Batch(Lengths(isUniform));
            using var cache = model.CreateCache(batch.RowCount, 11);
            List<Tensor> results = [model.Prefill(batch, cache)];
            for (int step = 0; step < 3; step++)
            {
                if (step == 2)
                    cache.Remove(0);
                results.Add(model.Decode(arange(cache.ActiveRows, int64).add_(step), cache));
                for (int layer = 0; layer < Layers; layer++)
                    for (int row = 0; row < cache.ActiveRows; row++)
                    {
                        results.Add(cache.Keys[layer].select(0, row).narrow(0, 0, cache.Lengths[row]).clone());
                        results.Add(cache.Values[layer].select(0, row).narrow(0, 0, cache.Lengths[row]).clone());
                    }
            }
            return results;
        }
    }

    [Fact]
    public void OtherActivationsAreComposed()
    {
        using var shortcuts = new Shortcuts(fusedBlocks: true, MatrixLibrary.Default);
        using var relu = Model("relu");
        Assert.False(Gpt2FusedBlock.Supports(relu.Config, relu.Head.Layer.Weight));
    }

    private static void AssertSame(MatrixLibrary library, string activation, int[][] batches, Func<string, bool> trains)
    {
        using var scope = NewDisposeScope();
        var (hidden, gradients) = Run(fused: false, MatrixLibrary.Default);
        var (fusedHidden, fusedGradients) = Run(fused: true, library);
        foreach (var (expected, actual) in hidden.Zip(fusedHidden))
            AssertClose("hidden states", expected, actual);
        foreach (var (name, expected) in gradients)
        {
            Assert.Equal(trains(name), expected is not null);
            Assert.Equal(trains(name), fusedGradients[name] is not null);
            if (expected is not null)
                AssertClose(name, expected, fusedGradients[name]!);
        }

        (List<Tensor> Hidden, Dictionary<string, Tensor?> Gradients) Run(bool fused, MatrixLibrary with)
        {
            using var shortcuts = new Shortcuts(fused, with);
            using var model = Model(activation);
            foreach (var (name, parameter) in model.Parameters)
                parameter.requires_grad = trains(name);
            List<Tensor> outputs = [];
            foreach (int[] lengths in batches)
            {
                using var batch = Batch(lengths);
                var output = model.Forward(batch);
                output.backward([Coefficients(output.shape)]);
                outputs.Add(output.detach());
            }
            return (outputs, model.Parameters.ToDictionary(p => p.Key, p => p.Value.grad?.clone()));
        }
    }

    private static void AssertClose(string what, Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.shape, actual.shape);
        double difference = (expected - actual).abs().max().ToDouble(), scale = Math.Max(1, expected.abs().max().ToDouble());
        Assert.True(difference <= 1e-5 * scale, $"{what} differ by {difference} at a scale of {scale}.");
    }

    private static int[] Lengths(bool isUniform) => isUniform ? Uniform : Ragged;

    private static PackedBatch Batch(int[] lengths) =>
        PackedBatch.FromRows([.. lengths.Select((n, row) => Enumerable.Range(0, n).Select(t => (5 * row + 3 * t) % Vocabulary).ToArray())]);

    private static Tensor Coefficients(long[] shape)
    {
        using var generator = new Generator(4);
        return empty(shape).normal_(0, 1, generator);
    }

    private static Gpt2LMHeadModel Model(string activation)
    {
        var model = new Gpt2LMHeadModel(new Gpt2Config
        {
            VocabSize = Vocabulary,
            NPositions = 16,
            NEmbd = 24,
            NLayer = Layers,
            NHead = 3,
            NInner = 40,
            ActivationFunction = activation,
            ScaleAttnByInverseLayerIdx = true,
            InitializerRange = 0.3,
            ResidPdrop = 0,
            EmbdPdrop = 0,
            AttnPdrop = 0,
        });
        model.Initialize(6);
        // Biases and gains that take part.
        using var noGrad = no_grad();
        using var generator = new Generator(5);
        foreach (var (_, parameter) in model.Parameters.Where(p => p.Value.dim() == 1))
        {
            using var noise = empty(parameter.shape).normal_(0, 0.2, generator);
            parameter.add_(noise);
        }
        return model;
    }
}
