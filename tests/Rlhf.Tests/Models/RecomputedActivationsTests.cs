using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Sft;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>A step with activations computed again in the backward pass against one that keeps them: the same numbers to the last bit.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class RecomputedActivationsTests
{
    private const string Llama = """
        {"model_type": "llama", "vocab_size": 31, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 32, "initializer_range": 0.2}
        """;

    private const string Gpt2 = """
        {"model_type": "gpt2", "vocab_size": 31, "n_positions": 32, "n_embd": 32, "n_layer": 3, "n_head": 4, "attn_pdrop": 0, "resid_pdrop": 0,
         "embd_pdrop": 0, "initializer_range": 0.2}
        """;

    private static readonly SftExample[] Examples = [.. new[] { 3, 9, 2, 6 }.Select((n, row) =>
        new SftExample([.. Enumerable.Range(0, n).Select(t => (5 * row + 3 * t) % 31)]))];

    public static TheoryData<string, string, bool, bool> Cases()
    {
        TheoryData<string, string, bool, bool> cases = [];
        foreach (var (name, config) in new[]
        {
            ("llama", Llama), ("llama with dropout", Llama.Replace("\"model_type\"", "\"attention_dropout\": 0.2, \"model_type\"", StringComparison.Ordinal)),
            ("gpt2", Gpt2), ("gpt2 with dropout", Gpt2.Replace("_pdrop\": 0", "_pdrop\": 0.2", StringComparison.Ordinal)),
        })
            foreach (bool adapts in new[] { false, true })
                foreach (bool fused in new[] { false, true })
                    cases.Add(name, config, adapts, fused);
        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void LossesAndGradientsAreTheSameBits(string name, string config, bool adapts, bool fused)
    {
        using var scope = NewDisposeScope();
        using var shortcuts = new Shortcuts(fused, Shortcuts.Libraries[^1]);
        var (losses, gradients) = Run(config, ComputePlan.Default, adapts, dropout: 0);
        var (again, gradientsAgain) = Run(config, new ComputePlan(CPU, RecomputesActivations: true), adapts, dropout: 0);
        Assert.NotEmpty(name);
        Assert.Equal(losses, again);
        AssertSameBits(gradients, gradientsAgain);
    }

    /// <summary>Adapters whose updates the blocks' native calls do not know: dropout of their own, and lengths apart from directions.</summary>
    [Theory]
    [InlineData(Llama, 0.3, false)]
    [InlineData(Llama, 0.3, true)]
    [InlineData(Gpt2, 0.3, false)]
    [InlineData(Gpt2, 0, true)]
    public void AdaptersOfEveryKindAreTheSameBits(string config, double dropout, bool dora)
    {
        using var scope = NewDisposeScope();
        var (losses, gradients) = Run(config, ComputePlan.Default, adapts: true, dropout, dora);
        var (again, gradientsAgain) = Run(config, new ComputePlan(CPU, RecomputesActivations: true), adapts: true, dropout, dora);
        Assert.Equal(losses, again);
        AssertSameBits(gradients, gradientsAgain);
    }

    [Fact]
    public void NothingIsLeftBehind()
    {
        using var shortcuts = new Shortcuts(fusedBlocks: false, MatrixLibrary.Default);
        using var model = Model(Llama.Replace("\"model_type\"", "\"attention_dropout\": 0.2, \"model_type\"", StringComparison.Ordinal),
            new ComputePlan(CPU, RecomputesActivations: true));
        var objective = new SftObjective(model);
        List<long> live = [];
        TestSetup.CollectGarbage();
        for (int step = 0; step < 4; step++)
        {
            objective.ForwardBackward(Examples, 1);
            TestSetup.CollectGarbage();
            live.Add(Tensor.TotalCount);
        }
        Assert.Single(live.Skip(1).Distinct());
    }

    [Fact]
    public void APlanCountsOneInputOfEachBlockAndTheRestOfOneAlone()
    {
        var shape = ModelShape.Of(KnownShapes.Find("smollm2-135m")!);
        int[] rows = [256, 100];
        long all = shape.ActivationBytes(rows, ComputePlan.Default, training: true),
            few = shape.ActivationBytes(rows, new ComputePlan(CPU, RecomputesActivations: true), training: true);
        Assert.Equal(all / 30 + 30L * 356 * 576 * 4, few);
        Assert.True(few < all / 4);
    }

    private static (List<double> Losses, Dictionary<string, byte[]> Gradients) Run(string config, ComputePlan plan, bool adapts, double dropout, bool dora = false)
    {
        using var model = Model(config, plan);
        using var adapter = adapts ? LoraAdapter.Attach(model, new LoraConfig
        {
            R = 3,
            TargetModules = ModuleSelection.AllLinear,
            InitLoraWeights = LoraInit.Random,
            LoraDropout = dropout,
            UseDora = dora,
        }, seed: 3) : null;
        var objective = new SftObjective(model);
        random.manual_seed(11);
        List<double> losses = [];
        for (int pass = 0; pass < 2; pass++)
            losses.Add(objective.ForwardBackward(Examples, 0.1).Loss);
        // What follows draws the same random numbers, too.
        losses.Add(rand(1).ToDouble());
        return (losses, objective.Trained.Where(p => p.Value.grad is not null).ToDictionary(p => p.Key, p => p.Value.grad!.bytes.ToArray()));
    }

    private static void AssertSameBits(Dictionary<string, byte[]> expected, Dictionary<string, byte[]> actual)
    {
        Assert.NotEmpty(expected);
        Assert.Equal(expected.Keys, actual.Keys);
        Assert.All(expected, g => Assert.Equal(g.Value, actual[g.Key]));
    }

    private static CausalLM Model(string config, ComputePlan plan)
    {
        var model = AutoModelForCausalLM.FromConfig(ModelConfig.Of((JsonObject)JsonNode.Parse(config)!), plan);
        model.Initialize(6);
        return model;
    }
}
