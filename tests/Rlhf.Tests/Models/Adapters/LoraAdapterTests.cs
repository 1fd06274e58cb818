using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Training.Sft;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models.Adapters;

/// <summary>What holds of every adapter, whatever the family, and what is refused.</summary>
public sealed class LoraAdapterTests
{
    private static readonly int[][] Rows = [[3, 17, 5, 44, 21, 9, 60], [12, 7, 33, 2]];

    private static readonly SftExample[] Examples = [.. Rows.Select(r => new SftExample(r))];

    public static TheoryData<string> LanguageModels()
    {
        string root = Path.Combine(Fixtures.Root, "families");
        string[] found = !Directory.Exists(root) ? [] : [.. Directory.GetDirectories(root).Where(d => File.Exists(Path.Combine(d, "config.json")))
            .Where(d => FixtureHasLogits(d + "-expected.safetensors")).Select(d => Path.GetFileName(d)).Order()];
        return [.. found.Length > 0 ? found : ["llama"]];
    }

    /// <summary>
    /// y = (W + s B A) x, so that the gradients are dB = s · dW · Aᵀ and dA = s · Bᵀ · dW for the gradient dW of the merged weights, which a model
    /// without adapter computes: on all linear layers, the output layer included.
    /// </summary>
    [Theory]
    [MemberData(nameof(LanguageModels))]
    public void GradientsFollowFromThoseOfTheMergedModel(string family)
    {
        using var scope = NewDisposeScope();
        using var model = Load(family);
        if (model.Plan.Weights != float32)
            return;
        string[] targets = [.. model.Linears.Select(l => l.Name)];
        var config = new LoraConfig { R = 3, LoraAlpha = 2, TargetModules = targets, InitLoraWeights = LoraInit.Random };
        using var adapter = LoraAdapter.Attach(model, config, seed: 5);
        double loss = ForwardBackward(model);
        var gradients = adapter.Parameters.ToDictionary(p => p.Key, p => p.Value.grad!.clone());
        var values = adapter.Parameters.ToDictionary(p => p.Key, p => p.Value.detach().clone());
        Assert.All(model.Parameters, p => Assert.Null(p.Value.grad));

        adapter.MergeIntoBase();
        model.Parameters.RequireGradient(true);
        Assert.InRange(ForwardBackward(model) - loss, -1e-4, 1e-4);
        double scale = config.LoraAlpha / config.R;
        foreach (var linear in model.Linears)
        {
            string at = $"base_model.model.{linear.Name}.";
            Tensor a = values[at + "lora_A.weight"], b = values[at + "lora_B.weight"];
            var gradient = linear.Weight.grad!;
            gradient = linear.IsConv1D ? gradient.t() : gradient;
            AssertClose(scale * gradient.mm(a.t()), gradients[at + "lora_B.weight"], at);
            AssertClose(scale * b.t().mm(gradient), gradients[at + "lora_A.weight"], at);
        }
    }

    [Fact]
    public void AnAdapterOfTheOutputLayerTrainsWithTheTiedEmbeddingFrozen()
    {
        using var scope = NewDisposeScope();
        using var model = Load("llama-small");
        Assert.True(model.IsTied);
        var before = Logits(model);
        using var folder = new Fixtures.TemporaryFolder();
        using (var adapter = LoraAdapter.Attach(model, new() { TargetModules = (string[])["lm_head"], InitLoraWeights = LoraInit.Random }))
        {
            Assert.True((Logits(model) - before).abs().max().ToDouble() > 1e-3);
            adapter.Save(folder.Path);
        }
        Assert.True(Logits(model).Equals(before));
        // Merged for good, the output layer is its own.
        var loaded = LoraAdapter.Load(model, folder.Path);
        var with = Logits(model);
        loaded.MergeIntoBase();
        Assert.False(model.IsTied);
        AssertClose(with, Logits(model), "merged");
        using var saved = new Fixtures.TemporaryFolder();
        model.SavePretrained(saved.Path);
        using var again = AutoModelForCausalLM.FromPretrained(saved.Path);
        AssertClose(with, Logits(again), "saved");
    }

    /// <summary>The embedding is a parameter of the base; what the adapter has in its place comes and goes.</summary>
    [Theory]
    [InlineData("llama-small")]
    [InlineData("llama")]
    public void ModulesToSaveTakeTheEmbeddingAndNormalizations(string family)
    {
        using var scope = NewDisposeScope();
        using var model = Load(family);
        var before = Logits(model);
        var weights = model.Parameters.Select(p => p.Value.detach().clone()).ToArray();
        using var adapter = LoraAdapter.Attach(model,
            new() { TargetModules = (string[])["q_proj"], ModulesToSave = ["embed_tokens", "input_layernorm"], InitLoraWeights = LoraInit.Random });
        ForwardBackward(model);
        Assert.All(adapter.Parameters, p => Assert.NotNull(p.Value.grad));
        using (no_grad())
            foreach (var (name, parameter) in adapter.Parameters)
                if (!name.Contains("lora_", StringComparison.Ordinal))
                    parameter.add_(0.1);
        var with = Logits(model);
        using (adapter.Off())
            Assert.True(Logits(model).Equals(before));
        using var folder = new Fixtures.TemporaryFolder();
        adapter.Save(folder.Path);
        adapter.Dispose();
        Assert.True(Logits(model).Equals(before));
        Assert.All(model.Parameters.Zip(weights), p => Assert.True(p.First.Value.Equals(p.Second), p.First.Key));
        using var again = LoraAdapter.Load(model, folder.Path);
        AssertClose(with, Logits(model), "loaded");
        if (!model.IsTied)
        {
            again.MergeIntoBase();
            AssertClose(with, Logits(model), "merged");
        }
    }

    [Fact]
    public void SeveralAdaptersTakeTurnsOnOneBase()
    {
        using var scope = NewDisposeScope();
        using var model = Load("llama");
        var none = Logits(model);
        using var first = LoraAdapter.Attach(model, new() { InitLoraWeights = LoraInit.Random, Bias = LoraBias.All }, seed: 1);
        var one = Logits(model);
        using var second = LoraAdapter.Attach(model, new() { InitLoraWeights = LoraInit.Random, UseDora = true, TargetModules = ModuleSelection.AllLinear }, seed: 2);
        var two = Logits(model);
        Assert.True((one - two).abs().max().ToDouble() > 1e-3);
        first.Activate();
        Assert.True(Logits(model).Equals(one));
        Assert.False(second.IsActive);
        second.Activate();
        Assert.True(Logits(model).Equals(two));
        second.Deactivate();
        Assert.True(Logits(model).Equals(none));
        Assert.All(model.Parameters, p => Assert.True(p.Value.requires_grad));
    }

    [Fact]
    public void WhileItIsOffNothingTurnsItOn()
    {
        using var scope = NewDisposeScope();
        using var model = Load("llama");
        var none = Logits(model);
        using var adapter = LoraAdapter.Attach(model, new() { InitLoraWeights = LoraInit.Random });
        var with = Logits(model);
        using (adapter.Off())
        {
            using (adapter.Merged())
                Assert.True(Logits(model).Equals(none));
            using (adapter.Off())
                Assert.True(Logits(model).Equals(none));
            Assert.True(Logits(model).Equals(none));
        }
        Assert.True(Logits(model).Equals(with));
        using (adapter.Merged())
        {
            using (adapter.Off())
                Assert.True(Logits(model).Equals(none));
            AssertClose(with, Logits(model), "merged again");
        }
        Assert.True(Logits(model).Equals(with));
    }

    /// <summary>The same queries before and after: before is the policy with its adapter off, merged copies or not.</summary>
    [Fact]
    public void AComparisonWithThePolicyWithItsAdapterOffIsOneWithTheBase()
    {
        using var model = Load("llama");
        using var before = Load("llama");
        using var adapter = LoraAdapter.Attach(model, new() { InitLoraWeights = LoraInit.Random, LoraAlpha = 32 });
        using var off = Reference.AdaptersOff(model);
        var sampling = new Rlhf.Generation.GenerationConfig { MaxNewTokens = 8 };
        int[][] Answers(CausalLM policy) => [.. new Rlhf.Generation.TextGenerator(policy).Generate([[3, 17, 5], [12, 7]], sampling, null,
            new RandomStream(4, "test"), cancellation: TestContext.Current.CancellationToken).Responses];
        int[][] expected = Answers(before), with;
        using (adapter.Merged())
            with = Answers(model);
        using (off.AsReference())
        using (adapter.Merged())
            Assert.Equal(expected, Answers(model));
        Assert.NotEqual(expected, with);
    }

    [Fact]
    public void DropoutIsOfTrainingAlone()
    {
        using var scope = NewDisposeScope();
        using var model = Load("llama");
        using var adapter = LoraAdapter.Attach(model, new() { LoraDropout = 0.5, InitLoraWeights = LoraInit.Random });
        var calm = Logits(model);
        Assert.True(Logits(model).Equals(calm));
        using (model.InMode(training: true))
            Assert.False(Logits(model).Equals(calm));
        Assert.True(Logits(model).Equals(calm));
    }

    [Fact]
    public void ACopyOfAPolicyWithAnAdapterIsThePolicyAsItIs()
    {
        using var scope = NewDisposeScope();
        using var model = Load("gpt-neox");
        using var adapter = LoraAdapter.Attach(model, new() { InitLoraWeights = LoraInit.Random });
        using var copy = Reference.CopyOf(model);
        AssertClose(Logits(model), Logits(copy.Model), "copy");
        Assert.Throws<NotSupportedException>(() => Reference.CopyOf(model, 1));
    }

    [Fact]
    public void TheReferenceIsThePolicyWithItsAdapterOff()
    {
        using var scope = NewDisposeScope();
        using var model = Load("llama-small");
        using var rows = ScoredRows.Of([.. Rows.Select(r => TokenRow.From(r, 1))]);
        Tensor without;
        using (var plain = Reference.CopyOf(model))
            without = plain.Logprobs(rows);
        using var adapter = LoraAdapter.Attach(model, new() { InitLoraWeights = LoraInit.Random, ModulesToSave = ["lm_head", "embed_tokens"] });
        using (no_grad())
            foreach (var (_, parameter) in adapter.Parameters)
                parameter.add_(0.05);
        using var reference = Reference.AdaptersOff(model);
        Assert.True(reference.Logprobs(rows).Equals(without));
        Assert.True(adapter.IsActive);
    }

    [Theory]
    [InlineData(LoraInit.Default, true)]
    [InlineData(LoraInit.Gaussian, true)]
    [InlineData(LoraInit.Zero, true)]
    [InlineData(LoraInit.Random, false)]
    public void ANewAdapterChangesNothingUnlessItIsAskedTo(LoraInit init, bool isSame)
    {
        using var scope = NewDisposeScope();
        using var model = Load("llama");
        var before = Logits(model);
        using var adapter = LoraAdapter.Attach(model, new() { R = 4, TargetModules = ModuleSelection.AllLinear, InitLoraWeights = init });
        Assert.Equal(isSame, (Logits(model) - before).abs().max().ToDouble() < 1e-6);
        var a = adapter.Parameters.First(p => p.Key.EndsWith("layers.0.mlp.gate_proj.lora_A.weight", StringComparison.Ordinal)).Value;
        double largest = a.abs().max().ToDouble(), deviation = a.std().ToDouble();
        // Uniform in ± 1/√inputs has a deviation of that by √3; gaussian has 1/r.
        double bound = 1 / Math.Sqrt(a.shape[1]);
        if (init == LoraInit.Gaussian)
            Assert.InRange(deviation, 0.8 / 4, 1.2 / 4);
        else if (init == LoraInit.Zero)
            Assert.Equal(0, largest);
        else
            Assert.InRange(deviation, 0.8 * bound / Math.Sqrt(3), 1.2 * bound / Math.Sqrt(3));
    }

    [Fact]
    public void WhatCannotBeUsedIsRefusedAndSaysWhatThereIs()
    {
        using var model = Load("llama");
        Refused(new() { R = 0 }, "rank of at least 1");
        Refused(new() { TargetModules = (string[])["c_attn"] }, "q_proj, self_attn.k_proj");
        Refused(new() { TargetModules = (string[])["q_proj", "kproj"] }, "kproj is no linear layer");
        Refused(new() { TargetModules = ModuleSelection.Matching("nothing") }, "match no linear layer");
        Refused(new() { TargetModules = (string[])["embed_tokens"] }, "no linear layer: adapters of embeddings");
        Refused(new() { ModulesToSave = ["value_head"] }, "ModulesToSave value_head is no module");
        Refused(new() { LayersToTransform = [9] }, "in the blocks 9 match no linear layer");
        Refused(new() { RankPattern = [new("q_proj(", 2)] }, "not a valid regular expression");
        Refused(new() { TargetModules = ModuleSelection.AllLinear, LayersToTransform = [0] }, "LayersToTransform needs TargetModules by name");
        Refused(new() { TargetModules = (string[])["lm_head"], LoraDropout = 0.1 }, "not supported for lm_head");
        Assert.Null(model.Adapter);
        Assert.All(model.Parameters, p => Assert.True(p.Value.requires_grad));

        void Refused(LoraConfig config, string why) =>
            Assert.Contains(why, Assert.Throws<ConfigurationException>(() => LoraAdapter.Attach(model, config)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnAdapterOfAnotherBaseIsRefused()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using (var model = Load("llama"))
        using (var adapter = LoraAdapter.Attach(model, new() { R = 2 }))
            adapter.Save(folder.Path);
        using (var other = Load("gpt-neox"))
            Assert.Contains("match no linear layer", Assert.Throws<InvalidDataException>(() => LoraAdapter.Load(other, folder.Path)).Message);
        using (var wider = Load("llama-smol"))
        {
            var error = Assert.Throws<InvalidDataException>(() => LoraAdapter.Load(wider, folder.Path));
            Assert.Contains("was trained on a model of another size", error.Message);
            Assert.Null(wider.Adapter);
        }
    }

    private static bool FixtureHasLogits(string expected) => File.Exists(expected) && FixtureTensors.Load(expected).Has("right.lm_loss");

    private static CausalLM Load(string family) => AutoModelForCausalLM.FromPretrained(Fixtures.Path("families", family));

    private static double ForwardBackward(CausalLM model)
    {
        var objective = new SftObjective(model);
        double count = Examples.Sum(objective.Weight);
        return objective.ForwardBackward(Examples, 1 / count).Loss / count;
    }

    private static Tensor Logits(CausalLM model)
    {
        using var noGrad = no_grad();
        using var batch = PackedBatch.FromRows(Rows);
        return model.Logits(model.Forward(batch));
    }

    private static void AssertClose(Tensor expected, Tensor actual, string what)
    {
        Assert.Equal(expected.shape, actual.shape);
        double allowed = 1e-5 + 2e-4 * expected.abs().max().ToDouble(), worst = (expected - actual).abs().max().ToDouble();
        Assert.True(worst <= allowed, $"{what}: differs by {worst:g3}, allowed is {allowed:g3}.");
    }
}
