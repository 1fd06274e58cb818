using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Evaluation;

/// <summary>What the shipped model loses of its perplexity on held-out reviews when its matrices are rounded; docs/adapters.md has the figures.</summary>
public sealed class NarrowPerplexityTests(ITestOutputHelper output)
{
    private const int Texts = 100, Nf4Block = 64;

    // The 16 quantiles of a normal distribution that QLoRA's appendix E lists (https://arxiv.org/abs/2305.14314).
    private static readonly float[] Nf4 =
    [
        -1, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
        0.7229568362236023f, 1,
    ];

    [Fact]
    public void HalfTheBytesCostNothingAQuarterCostsLittle()
    {
        var options = new ReviewReadOptions { Split = "test", Limit = Texts, ShuffleSeed = 3, LineBreaks = HtmlLineBreaks.Space };
        string[] texts = [.. ReviewDataset.Load(Fixtures.Shared("data", "imdb"), options).Select(r => r.Text)];
        double exact = Perplexity(ComputePlan.Default), half = Perplexity(new(CPU, Base: BaseStorage.Bfloat16)), quarter = Perplexity(new(CPU, Base: BaseStorage.Int8)),
            eighth = Perplexity(ComputePlan.Default, RoundToNf4);
        output.WriteLine($"float32 {exact:F4}, bfloat16 {half:F4}, int8 {quarter:F4}, NF4 of the blocks' layers {eighth:F4}");
        Assert.InRange(half / exact, 0.999, 1.001);
        Assert.InRange(quarter / exact, 0.998, 1.005);
        Assert.True(eighth > quarter);

        double Perplexity(ComputePlan plan, Action<CausalLM>? prepare = null)
        {
            string folder = Path.Combine(Fixtures.Repository(), "models", "imdb-gpt2-tiny");
            using var model = AutoModelForCausalLM.FromPretrained(folder, plan);
            prepare?.Invoke(model);
            return new LanguageModelEvaluator(model, AutoTokenizer.FromPretrained(folder)).Evaluate(texts).Perplexity;
        }
    }

    /// <summary>The linear layers of the blocks, as QLoRA rounds them: 64 weights share the largest of them, and each takes the nearest quantile.</summary>
    private static void RoundToNf4(CausalLM model)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        // Half way from one quantile to the next.
        var bounds = tensor(Nf4.Zip(Nf4.Skip(1), (a, b) => (a + b) / 2).ToArray());
        var quantiles = tensor(Nf4);
        foreach (var linear in model.Linears.Where(l => l != model.Head.Layer))
        {
            var weight = linear.IsConv1D ? linear.Weight.t().contiguous() : linear.Weight;
            var blocks = weight.reshape(-1, Nf4Block);
            var largest = blocks.abs().amax([1L], keepdim: true).clamp_min_(1e-12);
            var rounded = (quantiles.index_select(0, bucketize(blocks / largest, bounds).flatten()).view(blocks.shape) * largest).view(weight.shape);
            linear.Weight.copy_(linear.IsConv1D ? rounded.t() : rounded);
        }
    }
}
