using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Weights;

namespace Rlhf.Models;

/// <summary>Makes the causal language model that a folder's config.json names.</summary>
public static class AutoModelForCausalLM
{
    /// <summary>
    /// Loads a model folder as Hugging Face lays it out. An adapter's folder loads its base (<see cref="AdapterFolder"/>) with the adapter
    /// merged into it; beside it where the base is kept in fewer bytes (<see cref="ComputePlan.Base"/>).
    /// </summary>
    /// <param name="folder">The model folder.</param>
    /// <param name="plan">Where and how the model computes; null is float32 on the CPU. A device alone is a plan, too.</param>
    /// <exception cref="FileNotFoundException">config.json or the weights are not there.</exception>
    /// <exception cref="InvalidDataException">The architecture is not supported, or a file is damaged.</exception>
    public static CausalLM FromPretrained(string folder, ComputePlan? plan = null)
    {
        if (AdapterFolder.IsAdapter(folder))
            return FromAdapter(folder, plan);
        var config = ModelConfig.Read(folder);
        ModelFamilies.OfCausalLM(config); // an architecture that is not supported is said before missing weights
        using var weights = WeightFiles.Open(folder);
        var model = FromConfig(config, weights, plan);
        try
        {
            model.LoadWeights(weights);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    private static CausalLM FromAdapter(string folder, ComputePlan? plan)
    {
        var model = FromPretrained(AdapterFolder.BaseOf(folder), plan);
        try
        {
            var adapter = LoraAdapter.Load(model, folder);
            // Narrow weights would round the updates away.
            if (model.Plan.Base == BaseStorage.Float32)
                adapter.MergeIntoBase();
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Does a folder's config.json name an architecture that has a causal language model here?</summary>
    /// <exception cref="FileNotFoundException">There is no config.json.</exception>
    /// <exception cref="InvalidDataException">The file is malformed.</exception>
    public static bool Supports(string folder) => ModelFamilies.Find(ModelConfig.Read(folder).ModelType) is { HasCausalLM: true };

    /// <summary>The model of a folder's config.json with uninitialized weights.</summary>
    /// <exception cref="FileNotFoundException">There is no config.json.</exception>
    /// <exception cref="InvalidDataException">The architecture is not supported, or the file is malformed.</exception>
    public static CausalLM FromConfig(string folder, ComputePlan? plan = null) => FromConfig(ModelConfig.Read(folder), plan);

    /// <summary>The model of a configuration with uninitialized weights.</summary>
    /// <exception cref="InvalidDataException">The architecture is not supported, or the configuration is malformed.</exception>
    public static CausalLM FromConfig(ModelConfig config, ComputePlan? plan = null) => FromConfig(config, null, plan);

    /// <summary>The same; sizes beyond those of <paramref name="weights"/> are refused before anything is allocated.</summary>
    /// <exception cref="InvalidDataException">The files are malformed or do not belong together.</exception>
    internal static CausalLM FromConfig(ModelConfig config, IWeightSource? weights, ComputePlan? plan)
    {
        var family = ModelFamilies.OfCausalLM(config);
        weights?.RequireAtLeast(family.Shape(config).Parameters, Path.GetDirectoryName(config.Path) ?? config.Path);
        LibTorch.Initialize();
        return family.CreateCausalLM(config, plan ?? ComputePlan.Default);
    }
}
