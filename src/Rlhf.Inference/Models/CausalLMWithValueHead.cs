using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Weights;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// A causal language model with a value head on its last hidden states: the policy and the critic of
/// PPO on one trunk, in TRL's file layout.
/// </summary>
/// <remarks>TRL: <c>CausalLMWithValueHead</c>; the head is <c>v_head.summary</c>, one linear layer [1, D].</remarks>
public sealed class CausalLMWithValueHead : IDisposable
{
    private const string WeightName = "v_head.summary.weight", BiasName = "v_head.summary.bias";
    private readonly Parameter weight, bias;

    private CausalLMWithValueHead(CausalLM pretrained)
    {
        PretrainedModel = pretrained;
        ValueHead = new NamedParameters(pretrained.Device);
        weight = ValueHead.Add(WeightName, 1, pretrained.HiddenSize);
        bias = ValueHead.Add(BiasName, 1);
    }

    /// <summary>The language model.</summary>
    public CausalLM PretrainedModel { get; }

    /// <summary>The value head's two parameters.</summary>
    public NamedParameters ValueHead { get; }

    /// <summary>Where the model computes.</summary>
    public Device Device => PretrainedModel.Device;

    /// <summary>All parameters, the value head's last.</summary>
    public IEnumerable<KeyValuePair<string, Parameter>> NamedParameters => PretrainedModel.Parameters.Concat(ValueHead);

    /// <summary>What is trained: the language model's <see cref="PretrainedModel.TrainedParameters"/>, then the value head.</summary>
    public IEnumerable<KeyValuePair<string, Parameter>> TrainedParameters => PretrainedModel.TrainedParameters.Concat(ValueHead);

    /// <summary>Loads a model folder; a value head that it does not hold is drawn from the seed.</summary>
    /// <exception cref="FileNotFoundException">config.json or the weights are not there.</exception>
    /// <exception cref="InvalidDataException">The architecture is not supported, or a file is damaged.</exception>
    public static CausalLMWithValueHead FromPretrained(string folder, ComputePlan? plan = null, long seed = 0)
    {
        // The head of a policy that was trained with an adapter lies beside the adapter.
        bool isAdapter = AdapterFolder.IsAdapter(folder), hasHead = !isAdapter || WeightFiles.FileNames.Any(f => File.Exists(Path.Combine(folder, f)));
        var config = ModelConfig.Read(folder);
        ModelFamilies.OfCausalLM(config); // an architecture that is not supported is said before missing weights
        using var weights = WeightFiles.Open(hasHead ? folder : AdapterFolder.BaseOf(folder));
        var pretrained = isAdapter ? AutoModelForCausalLM.FromPretrained(folder, plan) : AutoModelForCausalLM.FromConfig(config, weights, plan);
        try
        {
            if (!isAdapter)
                pretrained.LoadWeights(weights);
            var model = new CausalLMWithValueHead(pretrained);
            model.InitializeHead(seed);
            if (weights.Names.Contains(WeightName) && weights.Names.Contains(BiasName))
            {
                using var noGrad = no_grad();
                weights.ReadInto(WeightName, model.weight);
                weights.ReadInto(BiasName, model.bias);
            }
            return model;
        }
        catch
        {
            pretrained.Dispose();
            throw;
        }
    }

    /// <summary>Puts a new value head, drawn from the seed, on a model; the model then belongs to this object.</summary>
    public static CausalLMWithValueHead FromModel(CausalLM pretrained, long seed = 0)
    {
        var model = new CausalLMWithValueHead(pretrained);
        model.InitializeHead(seed);
        return model;
    }

    /// <summary>Values [N] of hidden states [N, D]: what the critic expects from each position on.</summary>
    public Tensor Values(Tensor hidden) => nn.functional.linear(hidden.to(weight.dtype), weight, bias).squeeze(-1);

    /// <summary>
    /// A frozen copy to measure the divergence from. With <paramref name="numSharedLayers"/>, the
    /// embeddings and this many blocks at the bottom are the policy's own and are frozen there too.
    /// </summary>
    /// <remarks>TRL: <c>create_reference_model</c>.</remarks>
    /// <exception cref="ArgumentOutOfRangeException">More layers than the model has.</exception>
    public CausalLM CreateReferenceModel(int? numSharedLayers = null) => Reference.CopyOf(PretrainedModel, numSharedLayers).Model;

    /// <summary>Writes config.json, generation_config.json and model.safetensors.</summary>
    /// <param name="folder">The model folder; made when it does not exist.</param>
    /// <param name="storeAs">Element type in the file; null keeps float32.</param>
    /// <param name="includeValueHead">False leaves out the value head, which plain language models do not have.</param>
    /// <param name="maxShardSize">Most bytes of one file of weights (<see cref="WeightFiles.Save"/>); null is one file.</param>
    public void SavePretrained(string folder, ScalarType? storeAs = null, bool includeValueHead = true, long? maxShardSize = null) =>
        PretrainedModel.SavePretrained(folder, storeAs, includeValueHead ? ValueHead : [], maxShardSize);

    /// <inheritdoc/>
    public void Dispose()
    {
        PretrainedModel.Dispose();
        ValueHead.Dispose();
    }

    /// <summary>As torch.nn.Linear does: uniform in ± 1/√D.</summary>
    private void InitializeHead(long seed)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var generator = new Generator((ulong)seed);
        double bound = 1 / Math.Sqrt(PretrainedModel.HiddenSize);
        foreach (var parameter in ValueHead.Tensors)
        {
            using var values = empty(parameter.shape, float32, CPU).uniform_(-bound, bound, generator);
            parameter.copy_(values);
        }
    }
}
