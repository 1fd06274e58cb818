using System.Text.Json;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Optimization;
using Rlhf.Training.Sft;
using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Tests.Models.Adapters;

/// <summary>Adapters against the numbers of PEFT (tests/fixtures/README.md, "lora"): every folder with a case.json.</summary>
public sealed class LoraParityTests
{
    private static readonly string Root = Path.Combine(Fixtures.Root, "lora");

    public static TheoryData<string> Cases()
    {
        string[] found = !Directory.Exists(Root) ? [] : [.. Directory.GetDirectories(Root).Where(d => File.Exists(Path.Combine(d, "case.json")))
            .Select(d => Path.GetFileName(d)).Order()];
        return [.. found.Length > 0 ? found : ["llama-attention"]];
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void LogitsWithWithoutAndMergedMatch(string name)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var test = new Case(name);
        var (model, adapter) = (test.Model, test.Adapter);
        Compare(test, "logits", test.Logits());
        using (adapter.Off())
            Compare(test, "disabled_logits", test.Logits());
        Compare(test, "logits", test.Logits());

        // Merged copies for a while: the weights come back exactly.
        var before = model.Parameters.Select(p => p.Value.clone()).ToArray();
        using (adapter.Merged())
            Compare(test, "merged_logits", test.Logits());
        Assert.All(model.Parameters.Zip(before), p => Assert.True(p.First.Value.Equals(p.Second), p.First.Key));
        Compare(test, "logits", test.Logits());

        // Merged for good.
        adapter.MergeIntoBase();
        Assert.Null(model.Adapter);
        Compare(test, "merged_logits", test.Logits());
        foreach (var (key, expected) in test.Tensors.Where(t => t.Key.StartsWith("merged.", StringComparison.Ordinal)))
            test.Close("merged", key, expected, model.Parameters[key["merged.".Length..]], Limit.Noise);
        using var folder = new Fixtures.TemporaryFolder();
        model.SavePretrained(folder.Path);
        Compare(test, "merged_logits", test.Logits(Case.LoadBase(folder.Path)));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void WhatIsTrainedAndSavedIsThatOfPeft(string name)
    {
        using var test = new Case(name);
        Assert.Equal(test.Json.GetProperty("trainable_parameters").GetInt64(), test.Adapter.ElementCount);
        long inBase = test.Adapter.Parameters.Where(p => test.Model.Parameters.Any(b => ReferenceEquals(b.Value, p.Value))).Sum(p => p.Value.numel());
        bool countsCopies = test.Adapter.Config.ModulesToSave.Count == 0 || inBase == 0;
        if (countsCopies)
            Assert.Equal(test.Json.GetProperty("all_parameters").GetInt64(),
                test.Model.Parameters.ElementCount + test.Adapter.ElementCount - inBase);
        Assert.All(test.Model.Parameters.Where(p => !test.Adapter.Parameters.Any(a => ReferenceEquals(a.Value, p.Value))),
            p => Assert.False(p.Value.requires_grad, p.Key));
        AssertSaved(test, test.Adapter);

        // The same settings on the base, without the file.
        test.Adapter.Dispose();
        using var made = LoraAdapter.Attach(test.Model, Config(test.Json.GetProperty("config")), seed: 3);
        AssertSaved(test, made);
        using var folder = new Fixtures.TemporaryFolder();
        made.Save(folder.Path);
        made.Dispose();
        using var again = LoraAdapter.Load(test.Model, folder.Path);
        Assert.Equal(test.Json.GetProperty("trainable_parameters").GetInt64(), again.ElementCount);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void GradientsAndAStepOfAdamWMatch(string name)
    {
        using var scope = NewDisposeScope();
        using var test = new Case(name);
        using var optimizer = new Adam(test.Model.TrainedParameters);
        double loss = test.ForwardBackward();
        Assert.InRange(loss - test.Tensors["loss"].ToDouble(), -test.Allowed("loss"), test.Allowed("loss"));
        int compared = 0;
        foreach (var (key, parameter) in test.Adapter.Parameters)
        {
            var gradient = parameter.grad ?? zeros_like(parameter);
            compared += test.Close("grad", key, test.Find("grad.", key), gradient, Limit.Gradient) ? 1 : 0;
        }
        Assert.Equal(test.Tensors.Keys.Count(k => k.StartsWith("grad.", StringComparison.Ordinal)), compared);
        Assert.All(test.Model.Parameters.Where(p => !p.Value.requires_grad), p => Assert.Null(p.Value.grad));
        optimizer.Step(test.Json.GetProperty("learning_rate_of_after").GetDouble());
        foreach (var (key, parameter) in test.Adapter.Parameters)
            test.Close("after", key, test.Find("after.", key), parameter, Limit.Step);
    }

    private static void Compare(Case test, string name, Tensor actual)
    {
        var expected = test.Tensors[name];
        if (expected.dim() == 3) // what stands at padding counts for nothing
            (expected, actual) = (expected * test.Tensors["attention_mask"].unsqueeze(2), actual * test.Tensors["attention_mask"].unsqueeze(2));
        test.Close(name, name, expected, actual, Limit.Noise);
    }

    private static void AssertSaved(Case test, LoraAdapter adapter)
    {
        using var folder = new Fixtures.TemporaryFolder();
        adapter.Save(folder.Path);
        using var saved = FixtureTensors.Load(Path.Combine(folder.Path, "adapter_model.safetensors"));
        var expected = test.Json.GetProperty("keys_in_file").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.Deserialize<long[]>()!);
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), saved.Names.Order(StringComparer.Ordinal));
        Assert.All(expected, e => Assert.Equal(e.Value, saved.Shape(e.Key)));
    }

    /// <summary>The settings as a program writes them, from those that PEFT was given.</summary>
    private static LoraConfig Config(JsonElement settings)
    {
        var json = new System.Text.Json.Nodes.JsonObject { ["peft_type"] = "LORA" };
        foreach (var setting in settings.EnumerateObject())
            json[setting.Name] = System.Text.Json.Nodes.JsonNode.Parse(setting.Value.GetRawText());
        return LoraConfigFile.Parse(JsonSerializer.SerializeToUtf8Bytes(json), "case.json").Config;
    }

    private enum Limit
    {
        Noise,
        Gradient,
        Step,
    }

    private sealed class Case : IDisposable
    {
        private readonly string folder;

        public Case(string name)
        {
            folder = Fixtures.Path("lora", name);
            Json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "case.json"))).RootElement;
            Tensors = SafeTensors.Load(Path.Combine(folder, "tensors.safetensors"));
            Model = LoadBase(Fixtures.Path(Json.GetProperty("base").GetString()!));
            Adapter = LoraAdapter.Load(Model, Path.Combine(folder, "adapter"), isTrained: true);
        }

        public JsonElement Json { get; }

        public Dictionary<string, Tensor> Tensors { get; }

        public PretrainedModel Model { get; }

        public LoraAdapter Adapter { get; }

        public static PretrainedModel LoadBase(string folder) => IsClassifier(folder)
            ? AutoModelForSequenceClassification.FromPretrained(folder) : AutoModelForCausalLM.FromPretrained(folder);

        /// <summary>[B, T, V], or [B, labels] of a classifier.</summary>
        public Tensor Logits(PretrainedModel? other = null)
        {
            using var batch = PackedBatch.FromPadded(Rows("input_ids"), Rows("attention_mask"));
            switch (other ?? Model)
            {
                case SequenceClassifier classifier:
                    return classifier.Forward(batch);
                case CausalLM model:
                    return batch.Pad(model.Logits(model.Forward(batch)));
                default:
                    throw new InvalidOperationException();
            }
        }

        /// <summary>Mean cross entropy of the next tokens; mean of squares of a classifier.</summary>
        public double ForwardBackward()
        {
            if (Model is CausalLM model)
            {
                SftExample[] examples = [.. Rows("input_ids").Zip(Rows("attention_mask"), (ids, mask) => new SftExample([.. ids.Where((_, t) => mask[t] != 0)]))];
                var objective = new SftObjective(model);
                double count = examples.Sum(objective.Weight);
                return objective.ForwardBackward(examples, 1 / count).Loss / count;
            }
            using var scope = NewDisposeScope();
            using var batch = PackedBatch.FromPadded(Rows("input_ids"), Rows("attention_mask"));
            var loss = ((SequenceClassifier)Model).Forward(batch).square().mean();
            BackwardPass.Run(() => loss.backward());
            return loss.ToDouble();
        }

        /// <summary>The fixture's tensor of a name in the adapter's file.</summary>
        public Tensor? Find(string prefix, string key)
        {
            string name = key["base_model.model.".Length..];
            string inModule = name.Insert(name.LastIndexOf('.') + 1, "modules_to_save.");
            return new[] { name, name + ".weight", inModule }.Select(n => Tensors.GetValueOrDefault(prefix + n)).FirstOrDefault(t => t is not null);
        }

        /// <summary>20 times the rounding noise that the fixture measured, plus 1e-5.</summary>
        public double Allowed(string noise) => 1e-5 + 20 * (Json.GetProperty("rounding_noise").TryGetProperty(noise, out var value) ? value.GetDouble() : 0);

        public bool Close(string noise, string name, Tensor? expected, Tensor actual, Limit limit)
        {
            if (expected is null)
                return false;
            Assert.Equal(expected.shape, actual.shape);
            var difference = (expected - actual.detach()).abs();
            // The keys' part of the bias has no effect: its gradient is rounding noise, of which Adam makes a whole step.
            if (name.EndsWith("c_attn.base_layer.bias", StringComparison.Ordinal) || name.EndsWith("k_proj.base_layer.bias", StringComparison.Ordinal))
                difference = name.Contains("k_proj", StringComparison.Ordinal) ? zeros(1)
                    : cat([difference.narrow(0, 0, difference.shape[0] / 3), difference.narrow(0, difference.shape[0] * 2 / 3, difference.shape[0] / 3)]);
            double worst = difference.max().ToDouble();
            double allowed = limit == Limit.Step && Allowed(noise) > 1e-3 ? 1e-4 : Allowed(noise);
            Assert.True(worst <= allowed, $"{name}: differs by {worst:g3}, allowed is {allowed:g3}.");
            return true;
        }

        public void Dispose()
        {
            Adapter.Dispose();
            Model.Dispose();
            foreach (var tensor in Tensors.Values)
                tensor.Dispose();
        }

        private int[][] Rows(string name) => Enumerable.Range(0, (int)Tensors[name].shape[0])
            .Select(b => Tensors[name][b].data<long>().Select(v => (int)v).ToArray()).ToArray();

        private static bool IsClassifier(string folder) =>
            ModelConfig.Read(folder).Root.Texts("architectures")?[0].EndsWith("ForSequenceClassification", StringComparison.Ordinal) == true;
    }
}
