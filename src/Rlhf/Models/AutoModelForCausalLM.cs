using Rlhf.Models.Gpt2;
using Rlhf.Runtime.Native;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>Makes the causal language model that a folder's config.json names.</summary>
public static class AutoModelForCausalLM
{
    /// <summary>Loads a model folder as Hugging Face lays it out.</summary>
    /// <exception cref="FileNotFoundException">config.json or the weights are not there.</exception>
    /// <exception cref="InvalidDataException">The architecture is not supported, or a file is damaged.</exception>
    public static CausalLM FromPretrained(string folder, Device? device = null)
    {
        using var weights = WeightFiles.Open(folder);
        var model = FromConfig(folder, weights, device);
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

    /// <summary>Does a folder's config.json name an architecture that has a causal language model here?</summary>
    /// <exception cref="FileNotFoundException">There is no config.json.</exception>
    /// <exception cref="InvalidDataException">The file is malformed.</exception>
    public static bool Supports(string folder) => ConfigFile.Read(folder).Text("model_type", "") == "gpt2";

    /// <summary>The model of a folder's config.json with uninitialised weights.</summary>
    public static CausalLM FromConfig(string folder, Device? device = null) => FromConfig(folder, null, device);

    /// <summary>The same; sizes beyond those of <paramref name="weights"/> are refused before anything is allocated.</summary>
    /// <exception cref="InvalidDataException">The files are malformed or do not belong together.</exception>
    internal static CausalLM FromConfig(string folder, IWeightSource? weights, Device? device)
    {
        var config = ConfigFile.Read(folder);
        switch (config.Text("model_type", ""))
        {
            case "gpt2":
                var gpt2 = Gpt2Config.Load(config);
                weights?.RequireAtLeast(gpt2.ParameterCount, folder);
                LibTorch.Initialize();
                return new Gpt2LMHeadModel(gpt2, device);
            case var other:
                throw config.Refuse("model_type", $"'{other}' is no causal language model that is supported; supported is gpt2");
        }
    }
}
