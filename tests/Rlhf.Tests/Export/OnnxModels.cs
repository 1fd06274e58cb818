using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Runtime;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Export;

/// <summary>Models with random weights in the sizes of the fixtures, in which a wrong layer shows.</summary>
internal static class OnnxModels
{
    /// <summary>Language models of the fixtures whose configurations are taken: every family, and every form of it.</summary>
    public static string[] Decoders => ExportModels.Families;

    public static readonly string[] Encoders = ["bert", "distilbert", "roberta"];

    public static ModelConfig Config(string name, Action<JsonObject>? change = null)
    {
        string folder = Encoders.Contains(name) || name == "gpt2" ? name + "-tiny" : Path.Combine("families", name);
        var json = JsonNode.Parse(File.ReadAllText(Fixtures.Path(folder, "config.json")))!.AsObject();
        json["initializer_range"] = 0.18;
        change?.Invoke(json);
        return ModelConfig.Of(json);
    }

    /// <summary>A classifier of three labels.</summary>
    public static SequenceClassifier Classifier(string name, Action<JsonObject>? change = null, ComputePlan? plan = null) => Filled(
        AutoModelForSequenceClassification.FromConfig(LabelMaps.With(Config(name, change), ["a", "b", "c"], null), plan));

    public static CausalLM CausalLM(string name, Action<JsonObject>? change = null, ComputePlan? plan = null) =>
        Filled(AutoModelForCausalLM.FromConfig(Config(name, change), plan));

    /// <summary>Rounds matrices to float16 and back, as a file of that type stores them.</summary>
    public static void RoundToHalf(PretrainedModel model)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        foreach (var parameter in model.Parameters.Tensors.Where(p => p.dim() > 1))
            parameter.copy_(parameter.to(float16).to(float32));
    }

    /// <summary>Rows of other ids than those of the padding token and of the end.</summary>
    public static int[][] Rows(ModelConfig config, int seed, params int[] lengths)
    {
        int vocabulary = config.Root.Int("vocab_size", 0, 0, int.MaxValue);
        HashSet<int> special = [.. config.EosTokenIds, config.PadTokenId ?? -1];
        int[] usual = [.. Enumerable.Range(0, vocabulary).Where(id => !special.Contains(id))];
        var random = new RandomStream(seed, "onnx/rows");
        return [.. lengths.Select(n => Enumerable.Range(0, n).Select(_ => usual[random.NextInt32(0, usual.Length)]).ToArray())];
    }

    private static T Filled<T>(T model) where T : PretrainedModel
    {
        model.Initialize(seed: 11);
        // Norms and biases begin alike: nothing would show whether they are where they belong.
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var generator = new Generator(5);
        foreach (var parameter in model.Parameters.Tensors.Where(p => p.dim() == 1))
            parameter.add_(empty_like(parameter).uniform_(-0.2, 0.2, generator));
        return model;
    }
}
