using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Models.Decoders;
using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models.Decoders;

/// <summary>Blocks as one native call each way against blocks composed of libtorch's operators, whose gradients are autograd's.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class DecoderFusedBlockTests
{
    private const int Vocabulary = 31;
    private static readonly int[] Ragged = [3, 9, 1, 6], Uniform = [4, 4, 4];

    /// <summary>What decoders can say: norms, rotary settings, groups, gates, biases, norms of queries, windows.</summary>
    private static readonly Dictionary<string, string> Shapes = new()
    {
        ["llama"] = """{"model_type": "llama", "num_key_value_heads": 2}""",
        ["llama, one head of keys, biases"] =
            """{"model_type": "llama", "num_key_value_heads": 1, "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true}""",
        ["llama, gelu, no groups, wide heads"] = """{"model_type": "llama", "num_key_value_heads": 4, "hidden_act": "gelu", "head_dim": 12}""",
        ["mistral, window"] = """{"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 3}""",
        ["qwen2"] = """{"model_type": "qwen2", "num_key_value_heads": 2}""",
        ["qwen3"] = """{"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8}""",
        ["gemma3"] = """
            {"model_type": "gemma3_text", "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 4, "sliding_window_pattern": 2,
             "query_pre_attn_scalar": 8}
            """,
        ["phi3, part of a head turned"] = """{"model_type": "phi3", "num_key_value_heads": 2, "partial_rotary_factor": 0.5, "head_dim": 8}""",
        ["gpt_neox"] = """{"model_type": "gpt_neox", "hidden_act": "gelu"}""",
        ["gpt_neox, one after the other"] = """{"model_type": "gpt_neox", "use_parallel_residual": false, "hidden_act": "gelu_new"}""",
        ["olmo2"] = """{"model_type": "olmo2", "num_key_value_heads": 2}""",
        ["smollm3, without rope in some layers"] = """{"model_type": "smollm3", "num_key_value_heads": 2, "no_rope_layers": [1, 0, 1]}""",
        ["llama, yarn"] = """
            {"model_type": "llama", "num_key_value_heads": 2,
             "rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 8}}
            """,
    };

    /// <summary>Each library, and oneDNN with attention over packed rows, which is for longer ones.</summary>
    public static TheoryData<MatrixLibrary, string, bool> Cases() => new(
        from library in Shortcuts.Libraries
        from packs in library == MatrixLibrary.OneDnn ? new[] { false, true } : [false]
        from shape in Shapes.Keys
        select (library, shape, packs));

    [Theory]
    [MemberData(nameof(Cases))]
    public void ForwardAndAllGradientsAreTheComposedBlocks(MatrixLibrary library, string shape, bool packs) =>
        AssertSame(library, shape, [Ragged, Uniform], model => { }, packs: packs);

    [Theory]
    [MemberData(nameof(Cases))]
    public void RecomputedActivationsGiveTheSameGradients(MatrixLibrary library, string shape, bool packs) =>
        AssertSame(library, shape, [Ragged], model => { }, new ComputePlan(CPU, RecomputesActivations: true), packs);

    [Theory]
    [MemberData(nameof(Cases))]
    public void AdaptersOnEveryLayerAreTheComposedBlocks(MatrixLibrary library, string shape, bool packs) =>
        AssertSame(library, shape, [Ragged, Uniform], model =>
        {
            var adapter = LoraAdapter.Attach(model, new LoraConfig { R = 3, LoraAlpha = 5, TargetModules = ModuleSelection.AllLinear }, seed: 3);
            using var noGrad = no_grad();
            using var generator = new Generator(8);
            foreach (var (_, parameter) in adapter.Parameters)
            {
                using var values = empty(parameter.shape).normal_(0, 0.3, generator);
                using var scope = NewDisposeScope();
                parameter.copy_(values);
            }
        }, packs: packs);

    /// <summary>Rows of several blocks of queries and keys; windows that begin within one; heads that fill no register.</summary>
    [Theory]
    [InlineData("""{"model_type": "llama", "num_key_value_heads": 2, "max_position_embeddings": 160, "head_dim": 64}""")]
    [InlineData("""{"model_type": "mistral", "num_key_value_heads": 1, "max_position_embeddings": 160, "head_dim": 20, "sliding_window": 41}""")]
    [InlineData("""{"model_type": "qwen3", "num_key_value_heads": 4, "max_position_embeddings": 160, "head_dim": 48}""")]
    public void LongRowsAreTheComposedBlocks(string config) =>
        AssertSame(Shortcuts.Libraries[^1], config, [[131, 1, 24, 70], [32, 33]], model => { }, packs: true);

    [Theory]
    [InlineData("embeddings and the lowest block", "embed_tokens", "layers.0.")]
    [InlineData("a block in the middle", "layers.1.")]
    [InlineData("some of each block", "q_proj", "up_proj", "input_layernorm")]
    [InlineData("all matrices", "proj.weight")]
    public void WhatIsFrozenGetsNoGradient(string what, params string[] frozen)
    {
        Assert.NotEmpty(what);
        AssertSame(Shortcuts.Libraries[^1], "qwen2", [Ragged], model =>
        {
            foreach (var (name, parameter) in model.Parameters)
                parameter.requires_grad = !frozen.Any(f => name.Contains(f, StringComparison.Ordinal));
        });
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void PrefillAndDecodeAreTheComposedBlocks(MatrixLibrary library, string shape, bool packs)
    {
        using var scope = NewDisposeScope();
        var expected = Decode(fused: false, MatrixLibrary.Default);
        var actual = Decode(fused: true, library);
        Assert.Equal(expected.Count, actual.Count);
        foreach (var (e, a) in expected.Zip(actual))
            AssertClose("hidden states, keys or values", e, a);

        List<Tensor> Decode(bool fused, MatrixLibrary with)
        {
            using var shortcuts = new Shortcuts(fused, with, fused && packs);
            using var noGrad = no_grad();
            using var model = Model(shape, ComputePlan.Default);
            using var batch = Batch(Ragged);
            using var cache = model.CreateCache(batch.RowCount, 14);
            List<Tensor> results = [model.Prefill(batch, cache)];
            for (int step = 0; step < 3; step++)
            {
                if (step == 2)
                    cache.Remove(0);
                results.Add(model.Decode(arange(cache.ActiveRows, int64).add_(step), cache));
                for (int layer = 0; layer < model.LayerCount; layer++)
                    for (int row = 0; row < cache.ActiveRows; row++)
                    {
                        results.Add(cache.Keys[layer].select(0, row).narrow(0, 0, cache.Lengths[row]).clone());
                        results.Add(cache.Values[layer].select(0, row).narrow(0, 0, cache.Lengths[row]).clone());
                    }
            }
            return results;
        }
    }

    [Theory]
    [InlineData("""{"model_type": "gemma2", "num_key_value_heads": 1, "head_dim": 8}""")]
    [InlineData("""{"model_type": "llama", "num_key_value_heads": 1, "hidden_act": "relu"}""")]
    [InlineData("""{"model_type": "llama", "num_key_value_heads": 1, "attention_dropout": 0.1}""")]
    public void WhatScriptsCannotDoIsComposed(string config)
    {
        using var shortcuts = new Shortcuts(fusedBlocks: true, MatrixLibrary.Default);
        using var model = Build(config, ComputePlan.Default);
        using var mode = model.InMode(training: true);
        Assert.False(((DecoderForCausalLM)model).CanFuse);
    }

    /// <summary>The blocks' arithmetic is float32 on the same, rounded, weights.</summary>
    [Fact]
    public void FrozenWeightsInBfloat16AreWidened()
    {
        using var shortcuts = new Shortcuts(fusedBlocks: true, Shortcuts.Libraries[^1]);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var narrow = Model("qwen2", new ComputePlan(CPU, ScalarType.BFloat16));
        using var wide = Model("qwen2", ComputePlan.Default);
        narrow.Freeze();
        foreach (var (name, parameter) in wide.Parameters)
            parameter.copy_(narrow.Parameters[name].to(float32));
        using var batch = Batch(Ragged);
        using var cache = narrow.CreateCache(batch.RowCount, 14);
        using var wideCache = wide.CreateCache(batch.RowCount, 14);
        Assert.True(((DecoderForCausalLM)narrow).CanFuse);
        // Only the last normalization's output is rounded, to 8 bits; the cache, too, of which decoding reads.
        foreach (var (expected, actual) in new[]
        {
            (wide.Prefill(batch, wideCache), narrow.Prefill(batch, cache)),
            (wide.Decode(arange(batch.RowCount, int64), wideCache), narrow.Decode(arange(batch.RowCount, int64), cache)),
        })
            Assert.True((expected - actual.to(float32)).abs().max().ToDouble() <= expected.abs().max().ToDouble() / 128);
    }

    /// <summary>Few rows and wide heads go through <see cref="DecoderRows"/>, where the processor has AVX-512.</summary>
    [Theory]
    [InlineData("""{"model_type": "llama", "num_key_value_heads": 2, "head_dim": 16}""")]
    [InlineData("""{"model_type": "qwen2", "num_key_value_heads": 1, "head_dim": 16, "hidden_size": 36, "intermediate_size": 43}""")]
    [InlineData("""{"model_type": "qwen3", "num_key_value_heads": 4, "head_dim": 32, "hidden_size": 20}""")]
    [InlineData("""{"model_type": "mistral", "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 3}""")]
    [InlineData("""{"model_type": "smollm3", "num_key_value_heads": 2, "head_dim": 16, "no_rope_layers": [1, 0, 1]}""")]
    public void StepsOfAFewRowsAreTheComposedBlocks(string config)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var expected = Steps(false);
        var actual = Steps(true);
        foreach (var (e, a) in expected.Zip(actual))
            AssertClose("hidden states, keys or values", e, a);

        List<Tensor> Steps(bool fused)
        {
            using var shortcuts = new Shortcuts(fused, Shortcuts.Libraries[^1]);
            using var model = (DecoderForCausalLM)Build(config, ComputePlan.Default);
            if (System.Runtime.Intrinsics.X86.Avx512F.IsSupported)
                Assert.Equal(fused, model.DecodesRows(4));
            using var batch = Batch(Ragged);
            using var cache = model.CreateCache(batch.RowCount, 14);
            model.Prefill(batch, cache);
            List<Tensor> results = [];
            for (int step = 0; step < 4; step++)
            {
                if (step == 2)
                    cache.Remove(0);
                results.Add(model.Decode(arange(cache.ActiveRows, int64).add_(step), cache));
                for (int row = 0; row < cache.ActiveRows; row++)
                    results.AddRange(((IEnumerable<IReadOnlyList<Tensor>>)[cache.Keys, cache.Values])
                        .Select(kept => kept[^1].select(0, row).narrow(0, 0, cache.Lengths[row]).clone()));
            }
            return results;
        }
    }

    [Fact]
    public void NothingIsLeftBehindByTrainingAndReading()
    {
        using var shortcuts = new Shortcuts(fusedBlocks: true, Shortcuts.Libraries[^1], packsAttention: true);
        using var model = Model("qwen3", ComputePlan.Default);
        List<long> live = [];
        TestSetup.CollectGarbage();
        for (int step = 0; step < 4; step++)
        {
            using (NewDisposeScope())
            using (var batch = Batch(Ragged))
            {
                var output = model.Forward(batch);
                output.backward([Coefficients(output.shape)]);
                using (no_grad())
                    model.Forward(batch);
            }
            live.Add(Tensor.TotalCount);
        }
        Assert.Single(live.Skip(1).Distinct());
    }

    private static void AssertSame(MatrixLibrary library, string shape, int[][] batches, Action<CausalLM> prepare, ComputePlan? plan = null,
        bool packs = false)
    {
        using var scope = NewDisposeScope();
        var (hidden, gradients) = Run(fused: false, MatrixLibrary.Default, ComputePlan.Default);
        var (fusedHidden, fusedGradients) = Run(fused: true, library, plan ?? ComputePlan.Default);
        foreach (var (expected, actual) in hidden.Zip(fusedHidden))
            AssertClose("hidden states", expected, actual);
        Assert.Contains(gradients, g => g.Value is not null);
        foreach (var (name, expected) in gradients)
        {
            Assert.Equal(expected is null, fusedGradients[name] is null);
            if (expected is not null)
                AssertClose(name, expected, fusedGradients[name]!);
        }

        (List<Tensor> Hidden, Dictionary<string, Tensor?> Gradients) Run(bool fused, MatrixLibrary with, ComputePlan plan)
        {
            using var shortcuts = new Shortcuts(fused, with, fused && packs);
            using var model = Model(shape, plan);
            prepare(model);
            using var mode = model.InMode(training: true);
            Assert.Equal(fused, ((DecoderForCausalLM)model).CanFuse);
            List<Tensor> outputs = [];
            foreach (int[] lengths in batches)
            {
                using var batch = Batch(lengths);
                var output = model.Forward(batch);
                output.backward([Coefficients(output.shape)]);
                outputs.Add(output.detach());
            }
            var trained = model.Parameters.Concat(model.Adapter?.Parameters.Select(p => KeyValuePair.Create("adapter " + p.Key, p.Value)) ?? []);
            var gradients = trained.ToDictionary(p => p.Key, p => p.Value.grad?.clone());
            model.Adapter?.Dispose();
            return (outputs, gradients);
        }
    }

    private static void AssertClose(string what, Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.shape, actual.shape);
        double difference = (expected - actual).abs().max().ToDouble(), scale = Math.Max(1, expected.abs().max().ToDouble());
        Assert.True(difference <= 2e-5 * scale, $"{what} differ by {difference} at a scale of {scale}.");
    }

    private static PackedBatch Batch(int[] lengths) =>
        PackedBatch.FromRows([.. lengths.Select((n, row) => Enumerable.Range(0, n).Select(t => (5 * row + 3 * t) % Vocabulary).ToArray())]);

    private static Tensor Coefficients(long[] shape)
    {
        using var generator = new Generator(4);
        return empty(shape).normal_(0, 1, generator);
    }

    private static CausalLM Model(string shape, ComputePlan plan) => Build(Shapes.GetValueOrDefault(shape, shape), plan);

    private static CausalLM Build(string config, ComputePlan plan)
    {
        var json = (JsonObject)JsonNode.Parse(config)!;
        foreach (var (key, value) in (JsonObject)JsonNode.Parse("""
            {"vocab_size": 31, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
             "max_position_embeddings": 32, "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2}
            """)!)
            json.TryAdd(key, value?.DeepClone());
        var model = AutoModelForCausalLM.FromConfig(ModelConfig.Of(json), plan);
        model.Initialize(6);
        // Biases and gains that take part.
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var generator = new Generator(5);
        foreach (var (_, parameter) in model.Parameters.Where(p => p.Value.dim() == 1))
            parameter.add_(empty(parameter.shape).normal_(0, 0.2, generator));
        return model;
    }
}
