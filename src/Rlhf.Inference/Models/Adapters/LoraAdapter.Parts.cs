using Rlhf.Models.Layers;
using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Adapters;

/// <summary>What an adapter consists of, and what it begins as.</summary>
public sealed partial class LoraAdapter
{
    private static ModuleSelection UsualTargets(PretrainedModel model) =>
        ModelFamilies.Find(model.Configuration.ModelType)?.LoraTargetModules(model.Configuration) is { Count: > 0 } usual ? ModuleSelection.Of(usual)
        : throw new ConfigurationException([$"TargetModules is not given, and there is no usual choice for {model.Architecture}; "
            + $"it has {LoraTargets.Available(model.Linears)}. Name some, or all-linear."]);

    private void AddLayer(Linear linear)
    {
        int rank = Config.RankOf(linear.Name);
        bool isHead = Model is CausalLM model && model.Head.Layer == linear;
        if (isHead && (Config.UseDora || Config.LoraDropout > 0))
            throw new ConfigurationException([$"UseDora and LoraDropout are not supported for {linear.Name}, the output layer; leave it out of "
                + "TargetModules, or train it as a whole (ModulesToSave)."]);
        var a = Add(linear.Name + ".lora_A.weight", rank, linear.Inputs);
        var b = Add(linear.Name + ".lora_B.weight", linear.Outputs, rank);
        var magnitude = Config.UseDora ? Add(linear.Name + ".lora_magnitude_vector", linear.Outputs) : null;
        layers.Add((linear, new(Model, a, b, magnitude, Config.ScaleOf(linear.Name), Config.LoraDropout)));
    }

    private Parameter Add(string name, params long[] shape)
    {
        using var values = zeros(shape, float32, Model.Device);
        return Own(values, isTrained, name);
    }

    private Parameter Own(Tensor values, bool requiresGrad, string? name = null)
    {
        var parameter = new Parameter(values, requiresGrad).DetachFromDisposeScope() as Parameter
            ?? throw new InvalidOperationException("A parameter is a parameter.");
        owned.Add(parameter);
        if (name is not null)
            parameters.Add(new(Prefix + name, parameter));
        return parameter;
    }

    private void AddSubstitute(Linear linear, HashSet<string> whole)
    {
        if (!whole.Contains(linear.Name + ".weight"))
            return;
        using var weight = Copied(linear.Own.Weight);
        using var bias = linear.Own.Bias?.detach().clone();
        var copy = new LinearWeights(Own(weight, isTrained, linear.Name + ".weight"),
            bias is null ? null : Own(bias, isTrained, linear.Name + ".bias"));
        substitutes.Add((linear, copy));
    }

    /// <summary>A copy to be trained: float32 where the base is kept in fewer bytes.</summary>
    private Tensor Copied(Parameter weight) =>
        Model.Plan.Base == BaseStorage.Float32 ? weight.detach().clone() : NarrowMatrix.Widened(weight).detach().clone();

    private void AddSwapped(List<Swapped> list, string name, Parameter parameter)
    {
        if (Model.Plan.Base != BaseStorage.Float32 && parameter.dtype != ScalarType.Float32)
            throw new ConfigurationException([$"ModulesToSave {name[..name.LastIndexOf('.')]} would be trained as a whole, and the base is kept as "
                + $"{Model.Plan.Base}, which embeddings cannot be trained in; keep the base in float32, or leave it out."]);
        list.Add(new(parameter));
        parameters.Add(new(Prefix + name, parameter));
    }

    /// <summary>Where the embedding of a tied model is trained as a whole, the output layer keeps the base's weights.</summary>
    private void KeepOutputOfTied()
    {
        if (Model is not CausalLM { IsTied: true } model || !saved.Any(s => ReferenceEquals(s.Target, model.Head.Layer.Own.Weight)))
            return;
        using var weight = model.Head.Layer.Own.Weight.detach().clone();
        tiedOutput = new(Own(weight, false), model.Head.Layer.Own.Bias);
        if (!substitutes.Any(s => s.Linear == model.Head.Layer))
            substitutes.Add((model.Head.Layer, tiedOutput));
    }

    private bool TrainsBias(string name) => Config.Bias switch
    {
        LoraBias.All => name.Contains("bias", StringComparison.Ordinal),
        LoraBias.LoraOnly => name.EndsWith(".bias", StringComparison.Ordinal) && IsAdapted(name),
        _ => false,
    };

    private bool IsAdapted(string parameter) => layers.Any(l => l.Linear.Name == parameter[..parameter.LastIndexOf('.')]);

    private static string Within(string parameter, string part) => parameter.Insert(parameter.LastIndexOf('.') + 1, part);

    private void Initialize(long seed)
    {
        using var noGrad = no_grad();
        foreach (var (linear, layer) in layers)
        {
            if (Config.InitLoraWeights == LoraInit.Gaussian)
                InitialWeights.Normal(layer.A, 1.0 / layer.A.shape[0], seed, linear.Name + ".lora_A");
            else if (Config.InitLoraWeights != LoraInit.Zero)
                InitialWeights.Uniform(layer.A, 1 / Math.Sqrt(layer.A.shape[1]), seed, linear.Name + ".lora_A");
            if (Config.InitLoraWeights == LoraInit.Random)
                InitialWeights.Uniform(layer.B, 1 / Math.Sqrt(layer.B.shape[1]), seed, linear.Name + ".lora_B");
            if (layer.Magnitude is { } magnitude)
            {
                using var norm = layer.Norm(linear.Own.Weight, linear.IsConv1D);
                magnitude.copy_(norm);
            }
        }
    }
}
