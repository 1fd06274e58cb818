using Rlhf.Export;
using Rlhf.LlamaCpp;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Export;

/// <summary>LoRA adapters as GGUF, put on their base by llama.cpp, or merged into it before.</summary>
public sealed class GgufAdapterTests
{
    private const string Bytes = "hard-llama3";

    [Theory]
    [InlineData("llama-small", "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj", 3e-5)]
    [InlineData("llama-smol", "q_proj k_proj", 3e-5)]
    [InlineData("gpt2", "c_attn c_proj c_fc", 6e-3)]
    [InlineData("gpt-neox", "query_key_value dense", 6e-3)]
    [InlineData("gemma2", "q_proj v_proj", 6e-3)]
    [InlineData("phi3", "qkv_proj gate_up_proj", 3e-5)]
    public void LlamaCppPutsTheAdapterOnItsBase(string family, string targets, double limit)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "base"), adapter = Path.Combine(folder.Path, "adapter");
        string baseFile = Path.Combine(folder.Path, "base.gguf"), adapterFile = Path.Combine(folder.Path, "adapter.gguf"), merged = Path.Combine(folder.Path, "merged.gguf");
        ExportModels.Write(source, family, ExportModels.Tokenizer(Bytes));
        WriteAdapter(source, adapter, new()
        {
            R = 4,
            LoraAlpha = 6,
            TargetModules = ModuleSelection.Of(targets.Split(' ')),
            UseRslora = family == "llama-smol",
            RankPattern = family == "llama-small" ? [new("k_proj", 2)] : [],
            AlphaPattern = family == "llama-small" ? [new("v_proj", 3)] : [],
        });
        var gguf = ExportFormats.Of("gguf");
        gguf.Write(new(source, "base"), baseFile, new() { Type = "f32" });
        var result = gguf.Write(new(adapter, "adapter"), adapterFile, new() { Type = "f32", AdapterOnly = true });
        gguf.Write(new(adapter, "merged"), merged, new() { Type = "f32" });
        Assert.Equal(LoraParameters(adapter), result.Parameters);

        using var plain = AutoModelForCausalLM.FromPretrained(source);
        using var whole = AutoModelForCausalLM.FromPretrained(adapter);
        int[][] rows = [ExportModels.RandomRow(1, 24, plain.VocabSize)];
        var (without, wanted) = (ExportModels.Logits(plain, rows), ExportModels.Logits(whole, rows));
        Assert.True(Farthest(without, wanted) > 0.3, "The adapter changes next to nothing.");
        Assert.InRange(Farthest(without, Llama.Ask(new(baseFile) { Rows = rows }).Logits), 0, limit);
        Assert.InRange(Farthest(wanted, Llama.Ask(new(baseFile) { Rows = rows, Adapter = adapterFile }).Logits), 0, limit);
        Assert.InRange(Farthest(wanted, Llama.Ask(new(merged) { Rows = rows }).Logits), 0, limit);
    }

    /// <summary>What llama.cpp's adapters cannot do.</summary>
    [Theory]
    [InlineData("dora", "DoRA")]
    [InlineData("bias", "biases")]
    [InlineData("saved", "layers of its own")]
    [InlineData("head", "no tensor of its own")]
    public void WhatAdaptersCannotSayIsRefused(string kind, string why)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "base"), adapter = Path.Combine(folder.Path, "adapter"), target = Path.Combine(folder.Path, "out", "a.gguf");
        ExportModels.Write(source, kind == "bias" ? "llama-bias" : "llama-small", ExportModels.Tokenizer(Bytes));
        WriteAdapter(source, adapter, new()
        {
            R = 4,
            TargetModules = ModuleSelection.Of(kind == "head" ? ["q_proj", "lm_head"] : ["q_proj"]),
            UseDora = kind == "dora",
            Bias = kind == "bias" ? LoraBias.All : LoraBias.None,
            ModulesToSave = kind == "saved" ? ["norm"] : [],
        });
        var error = Assert.Throws<InvalidDataException>(() => ExportFormats.Of("gguf").Write(new(adapter, "a"), target, new() { AdapterOnly = true }));
        Assert.Contains(why, error.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.GetDirectoryName(target)));
    }

    [Fact]
    public void AWholeModelIsNoAdapter()
    {
        using var folder = new Fixtures.TemporaryFolder();
        ExportModels.Write(folder.Path, "llama-small", ExportModels.Tokenizer(Bytes));
        Assert.Throws<ConfigurationException>(() =>
            ExportFormats.Of("gguf").Write(new(folder.Path, "a"), Path.Combine(folder.Path, "a.gguf"), new() { AdapterOnly = true }));
    }

    private static void WriteAdapter(string source, string target, LoraConfig config)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var model = AutoModelForCausalLM.FromPretrained(source);
        using var adapter = LoraAdapter.Attach(model, config, seed: 3, baseModel: source);
        using var generator = new Generator(9);
        foreach (var (name, parameter) in adapter.Parameters)
            if (name.Contains("lora_", StringComparison.Ordinal))
                parameter.add_(empty_like(parameter).uniform_(-0.25, 0.25, generator));
        adapter.Save(target);
    }

    private static long LoraParameters(string adapter)
    {
        using var scope = NewDisposeScope();
        return Rlhf.Weights.SafeTensors.Load(Path.Combine(adapter, LoraAdapter.WeightsName)).Sum(t => t.Value.numel());
    }

    private static double Farthest(float[][][] a, float[][][] b) =>
        a.Zip(b).Max(rows => rows.First.Zip(rows.Second).Max(l => l.First.Zip(l.Second, (x, y) => (double)Math.Abs(x - y)).Max()));
}
