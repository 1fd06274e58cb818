using Rlhf.Models.Adapters;
using Rlhf.Models.Encoders;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Weights;

namespace Rlhf.Models;

/// <summary>Builds the classifier that a model folder's config.json names.</summary>
public static class AutoModelForSequenceClassification
{
    /// <summary>
    /// Loads a model folder: config.json and weights under Hugging Face's names. An adapter's folder loads its base
    /// (<see cref="AdapterFolder"/>), which may be a language model, with the adapter and its head merged into it.
    /// </summary>
    /// <param name="folder">The model folder.</param>
    /// <param name="plan">Where and how the model computes; null is float32 on the CPU. A device alone is a plan, too.</param>
    /// <param name="newHead">A head to train, for a checkpoint without one; null requires the checkpoint's own.</param>
    /// <exception cref="FileNotFoundException">config.json or the weights are absent.</exception>
    /// <exception cref="InvalidDataException">A file is malformed, describes a model that cannot be
    /// built, or lacks weights.</exception>
    public static SequenceClassifier FromPretrained(string folder, ComputePlan? plan = null, NewHead? newHead = null)
    {
        if (AdapterFolder.IsAdapter(folder))
            return FromAdapter(folder, plan, newHead);
        var config = ModelConfig.Read(folder);
        var family = ModelFamilies.OfClassifier(config);
        if (newHead is not null)
        {
            config = LabelMaps.With(config, newHead.Labels, newHead.ProblemType);
            // The head of a language model reads the last token that is not padding.
            if (family.HasCausalLM && config.PadTokenId is null && config.EosTokenIds is [var end, ..])
                config = config.With("pad_token_id", end);
        }
        using var weights = WeightFiles.Open(folder);
        var shape = family.Shape(config);
        weights.RequireAtLeast(shape.Parameters - shape.OutputParameters, folder);
        var model = FromConfig(config, plan);
        try
        {
            if (newHead is null)
                model.LoadWeights(weights);
            else
                model.LoadWeightsUnderNewHead(weights, newHead.Seed);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>The base with the adapter's labels, and the adapter's head in place of a new one.</summary>
    private static SequenceClassifier FromAdapter(string folder, ComputePlan? plan, NewHead? newHead)
    {
        string baseFolder = AdapterFolder.BaseOf(folder);
        var labels = AdapterLabels.Of(folder, baseFolder);
        var model = FromPretrained(baseFolder, plan, labels is null ? null : new NewHead(labels, Seed: 0));
        try
        {
            var adapter = LoraAdapter.Load(model, folder);
            if (model.Plan.Base == BaseStorage.Float32)
                adapter.MergeIntoBase();
        }
        catch
        {
            model.Dispose();
            throw;
        }
        return newHead is null ? model : throw new InvalidDataException($"{folder} is an adapter, whose head belongs to it; to train a new head, "
            + "merge it first (rlhf merge), or begin from its base.");
    }

    /// <summary>The model of a folder's config.json with uninitialized weights.</summary>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static SequenceClassifier FromConfig(string folder, ComputePlan? plan = null) => FromConfig(ModelConfig.Read(folder), plan);

    /// <summary>The model of a configuration with uninitialized weights.</summary>
    /// <exception cref="InvalidDataException">The configuration is malformed, or describes a model that cannot be built.</exception>
    public static SequenceClassifier FromConfig(ModelConfig config, ComputePlan? plan = null)
    {
        var family = ModelFamilies.OfClassifier(config);
        LibTorch.Initialize();
        return family.CreateClassifier(config, plan ?? ComputePlan.Default);
    }

    /// <summary>Label names that the config.json of a folder gives, by index.</summary>
    /// <exception cref="FileNotFoundException">config.json is absent.</exception>
    /// <exception cref="InvalidDataException">The file is malformed.</exception>
    public static IReadOnlyList<string> Labels(string folder) =>
        (AdapterFolder.IsAdapter(folder) ? AdapterLabels.Of(folder, AdapterFolder.BaseOf(folder)) : null) ?? LabelMaps.Read(ModelConfig.Read(folder).Root);

    /// <summary>A model with uninitialized weights.</summary>
    /// <exception cref="ConfigurationException">The configuration cannot be used.</exception>
    public static SequenceClassifier FromConfig(EncoderConfig config, ComputePlan? plan = null) =>
        EncoderFamily.Create(config, plan, null);
}
