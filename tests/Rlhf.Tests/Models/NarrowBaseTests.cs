using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Models.Decoders;
using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Sft;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>
/// Models whose matrices are kept in fewer bytes, against float32 models of the widened matrices: training adapters, reading, answering.
/// </summary>
[Collection(ShortcutCollection.Name)]
public sealed class NarrowBaseTests
{
    private const string Sizes = """
        "vocab_size": 31, "hidden_size": 64, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
        "max_position_embeddings": 32, "initializer_range": 0.2, "head_dim": 16
        """;

    private static readonly Dictionary<string, string> Configs = new()
    {
        ["llama"] = $$"""{"model_type": "llama", "num_key_value_heads": 2, "tie_word_embeddings": true, {{Sizes}}}""",
        ["qwen2, output layer of its own"] = $$"""{"model_type": "qwen2", "num_key_value_heads": 1, "tie_word_embeddings": false, {{Sizes}}}""",
        ["gemma3, embeddings scaled"] = $$"""{"model_type": "gemma3_text", "num_key_value_heads": 1, {{Sizes}}}""",
        ["phi3, joined layers"] = $$"""{"model_type": "phi3", "num_key_value_heads": 2, "pad_token_id": 0, {{Sizes}}}""",
        ["gpt2"] = """
            {"model_type": "gpt2", "vocab_size": 31, "n_positions": 32, "n_embd": 32, "n_layer": 3, "n_head": 4, "attn_pdrop": 0, "resid_pdrop": 0,
             "embd_pdrop": 0, "initializer_range": 0.2}
            """,
    };

    private static readonly SftExample[] Examples = [.. new[] { 3, 9, 2, 6 }.Select((n, row) =>
        new SftExample([.. Enumerable.Range(0, n).Select(t => (5 * row + 3 * t) % 31)]))];

    public static TheoryData<string, BaseStorage, bool> Cases() => new(
        from name in Configs.Keys
        from storage in new[] { BaseStorage.Bfloat16, BaseStorage.Int8 }
        from fused in new[] { false, true }
        select (name, storage, fused));

    [Theory]
    [MemberData(nameof(Cases))]
    public void AdaptersLearnAsOnTheWidenedMatrices(string name, BaseStorage storage, bool fused)
    {
        using var scope = NewDisposeScope();
        using var shortcuts = new Shortcuts(fused, Shortcuts.Libraries[^1], packsAttention: fused);
        using var narrow = Model(name, storage);
        using var wide = Widened(name, narrow);
        foreach (var model in new[] { narrow, wide })
            Attach(model);
        Assert.All(narrow.Parameters.Where(p => p.Value.dim() > 1 && !p.Key.Contains("wpe", StringComparison.Ordinal)),
            p => Assert.Equal(storage == BaseStorage.Int8 ? ScalarType.Int8 : ScalarType.BFloat16, p.Value.dtype));
        double expected = new SftObjective(wide).ForwardBackward(Examples, 0.1).Loss, actual = new SftObjective(narrow).ForwardBackward(Examples, 0.1).Loss;
        Assert.InRange(actual / expected, 1 - 1e-5, 1 + 1e-5);
        Assert.All(narrow.Parameters, p => Assert.Null(p.Value.grad));
        foreach (var (own, other) in narrow.Adapter!.Parameters.Zip(wide.Adapter!.Parameters))
            AssertClose(own.Key, other.Value.grad!, own.Value.grad!);
    }

    /// <summary>With an adapter beside the matrices and without one; few rows and many.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void AnswersAreThoseOfTheWidenedMatrices(string name, BaseStorage storage, bool fused)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var shortcuts = new Shortcuts(fused, Shortcuts.Libraries[^1], packsAttention: fused);
        using var narrow = Model(name, storage);
        using var wide = Widened(name, narrow);
        foreach (bool adapts in new[] { false, true })
        {
            foreach (var model in adapts ? new[] { narrow, wide } : [])
                Attach(model);
            foreach (int rows in new[] { 3, 20 })
            {
                using var whole = wide.Adapter?.Merged();
                using var none = narrow.Adapter?.Merged();
                foreach (var (expected, actual) in Steps(wide, rows).Zip(Steps(narrow, rows)))
                    AssertClose("logits", expected, actual);
            }
            if (name == "llama" && fused && RowProduct.IsSupported)
                Assert.True(((DecoderForCausalLM)narrow).DecodesRows(3));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void LargeMatricesAreWidenedInBlocks(bool isInt8)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(1);
        var values = empty(17_000, 1024).normal_(0, 1, generator);
        using var matrix = Int8Parameter.Create([17_000, 1024], 0, CPU);
        using var scale = matrix.Scale;
        matrix.Take(values);
        var weight = isInt8 ? matrix : values.to(bfloat16);
        var wide = NarrowMatrix.Widened(weight).to(float64);
        var x = empty(23, 1024).normal_(0, 1, generator).requires_grad_(true);
        var bias = empty(17_000).normal_(0, 1, generator);
        var y = MatrixProduct.Linear(x, weight, bias);
        var expected = x.detach().to(float64).mm(wide.t()) + bias;
        Assert.True((expected - y).abs().max().ToDouble() < 1e-3);
        var dy = empty(23, 17_000).normal_(0, 1, generator);
        y.backward([dy]);
        Assert.True((dy.to(float64).mm(wide) - x.grad!).abs().max().ToDouble() < 1e-2);
    }

    [Fact]
    public void EachOutputHasItsOwnScale()
    {
        using var scope = NewDisposeScope();
        using var matrix = Int8Parameter.Create([3, 4], 0, CPU);
        using var scale = matrix.Scale;
        // 2 / 127: 1 is 63.5 of it, between two codes, of which the even one is taken; a whole output of zeros stays zeros.
        matrix.Take(tensor(new float[] { 1, -2, 0.5f, 0, 0, 0, 0, 0, 254, 127, 1, -3 }, [3, 4]));
        Assert.Equal([64, -127, 32, 0, 0, 0, 0, 0, 127, 64, 0, -2], matrix.data<sbyte>().Select(c => (int)c));
        Assert.Equal([2f / 127, 1, 2], scale.data<float>());
        using var columns = Int8Parameter.Create([4, 3], 1, CPU);
        using var scales = columns.Scale;
        columns.Take(tensor(new float[] { 1, -2, 0.5f, 0, 0, 0, 0, 0, 254, 127, 1, -3 }, [3, 4]).t());
        Assert.True(NarrowMatrix.Widened(columns).t().allclose(NarrowMatrix.Widened(matrix)));
        Assert.Throws<InvalidDataException>(() => matrix.Take(tensor(new float[] { 1, float.NaN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, [3, 4])));
    }

    [Fact]
    public void FilesInBfloat16AreKeptAsTheyAre()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using var model = Model("qwen2, output layer of its own", BaseStorage.Float32);
        model.SavePretrained(folder.Path, ScalarType.BFloat16);
        using var scope = NewDisposeScope();
        using var wide = AutoModelForCausalLM.FromPretrained(folder.Path);
        using var kept = AutoModelForCausalLM.FromPretrained(folder.Path, new ComputePlan(CPU, Base: BaseStorage.Bfloat16));
        using var rounded = AutoModelForCausalLM.FromPretrained(folder.Path, new ComputePlan(CPU, Base: BaseStorage.Int8));
        foreach (var (name, parameter) in wide.Parameters)
        {
            Assert.Equal(0, (NarrowMatrix.Widened(kept.Parameters[name]) - parameter).abs().max().ToDouble());
            double step = parameter.dim() > 1 ? parameter.abs().amax([1L]).max().ToDouble() / 127 : 0;
            Assert.InRange((NarrowMatrix.Widened(rounded.Parameters[name]) - parameter).abs().max().ToDouble(), 0, step / 2 * 1.0001);
        }
        Assert.Throws<NotSupportedException>(() => rounded.SavePretrained(folder.Path));
        Assert.Throws<NotSupportedException>(() => Attach(rounded).MergeIntoBase());
    }

    /// <summary>Where a model is trained as a whole, and where an adapter has to find float32 matrices.</summary>
    [Fact]
    public void WhatCannotBeIsRefused()
    {
        Assert.Throws<NotSupportedException>(() => AutoModelForSequenceClassification.FromConfig(
            new Rlhf.Models.Encoders.DistilBertConfig(), new ComputePlan(CPU, Base: BaseStorage.Int8)));
        Assert.Throws<NotSupportedException>(() => Build("llama", new ComputePlan(CPU, ScalarType.BFloat16, Base: BaseStorage.Int8)));
        using var narrow = Model("llama", BaseStorage.Int8);
        var error = Assert.Throws<ConfigurationException>(() => LoraAdapter.Attach(narrow, new LoraConfig { ModulesToSave = ["embed_tokens"] }));
        Assert.Contains("embed_tokens would be trained as a whole", error.Message);
    }

    [Theory]
    [InlineData("llama", false)]
    [InlineData("gpt2", false)]
    [InlineData("llama", true)]
    public void PlansCountAnAdapterBeforeItIsThere(string name, bool dora)
    {
        using var model = Model(name, BaseStorage.Float32);
        foreach (var config in new LoraConfig[]
        {
            new() { R = 5, UseDora = dora }, new() { R = 2, UseDora = dora, TargetModules = ModuleSelection.AllLinear, Bias = LoraBias.All },
            new() { R = 3, TargetModules = ModuleSelection.AllLinear, ModulesToSave = ["lm_head"] },
        })
        {
            using var adapter = LoraAdapter.Attach(model, config);
            Assert.Equal(adapter.ElementCount, LoraAdapter.CountParameters(model.Configuration, config));
        }
    }

    [Fact]
    public void RewardModelsKeepTheirHeadInFloat32()
    {
        using var scope = NewDisposeScope();
        var config = LabelMaps.With(ModelConfig.Of((JsonObject)JsonNode.Parse(Configs["llama"])!), ["REWARD"], null).With("pad_token_id", 0);
        using var model = AutoModelForSequenceClassification.FromConfig(config, new ComputePlan(CPU, RecomputesActivations: true, Base: BaseStorage.Int8));
        model.Initialize(3);
        using var adapter = LoraAdapter.Attach(model, new LoraConfig { R = 2, TargetModules = ModuleSelection.AllLinear, InitLoraWeights = LoraInit.Random });
        using var batch = PackedBatch.FromRows([[3, 4, 5], [6, 7]]);
        model.Forward(batch).sum().backward();
        Assert.All(adapter.Parameters, p => Assert.NotNull(p.Value.grad));
    }

    private static List<Tensor> Steps(CausalLM model, int rows)
    {
        using var batch = PackedBatch.FromRows([.. Enumerable.Range(0, rows).Select(r => Enumerable.Range(0, 1 + r % 5).Select(t => (7 * r + t) % 31).ToArray())]);
        using var cache = model.CreateCache(rows, 10);
        using var packed = model.Prefill(batch, cache);
        List<Tensor> logits = [model.Logits(packed)];
        for (int step = 0; step < 2; step++)
        {
            using var hidden = model.Decode(arange(rows, int64).add_(step).fmod_(31), cache);
            logits.Add(model.Logits(hidden));
        }
        return logits;
    }

    private static LoraAdapter Attach(CausalLM model)
    {
        model.Adapter?.Dispose();
        string[] targets = [.. model.Linears.Select(l => l.Name)];
        return LoraAdapter.Attach(model, new LoraConfig { R = 3, LoraAlpha = 5, TargetModules = targets, InitLoraWeights = LoraInit.Random }, seed: 3);
    }

    /// <summary>A float32 model of the matrices of another.</summary>
    private static CausalLM Widened(string name, CausalLM narrow)
    {
        var wide = Build(name, ComputePlan.Default);
        using var noGrad = no_grad();
        foreach (var (parameter, values) in narrow.Parameters)
            using (var widened = NarrowMatrix.Widened(values).alias())
                wide.Parameters[parameter].copy_(widened);
        return wide;
    }

    private static CausalLM Model(string name, BaseStorage storage)
    {
        var model = Build(name, new ComputePlan(CPU, Base: storage));
        model.Initialize(6);
        return model;
    }

    private static CausalLM Build(string name, ComputePlan plan) =>
        AutoModelForCausalLM.FromConfig(ModelConfig.Of((JsonObject)JsonNode.Parse(Configs[name])!), plan);

    private static void AssertClose(string what, Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.shape, actual.shape);
        double difference = (expected - actual).abs().max().ToDouble(), scale = Math.Max(1e-3, expected.abs().max().ToDouble());
        Assert.True(difference <= 5e-5 * scale, $"{what} differ by {difference} at a scale of {scale}.");
    }
}
