using System.Text.Json.Nodes;
using Rlhf.Runtime;
using Rlhf.Runtime.Text;
using Rlhf.Weights;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Adapters;

/// <summary>PEFT's files.</summary>
public sealed partial class LoraAdapter
{
    /// <summary>PEFT's name of the adapter's weights.</summary>
    public const string WeightsName = "adapter_model.safetensors";

    private const string Prefix = "base_model.model.", Base = "base_layer.";

    /// <summary>Loads an adapter folder onto its base and makes it the active one.</summary>
    /// <param name="model">The base.</param>
    /// <param name="folder">The adapter folder.</param>
    /// <param name="isTrained">Will the adapter be trained?</param>
    /// <exception cref="FileNotFoundException">adapter_config.json or the weights are not there.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, asks for something that is not supported, or belongs to another base.</exception>
    public static LoraAdapter Load(PretrainedModel model, string folder, bool isTrained = false)
    {
        var file = LoraConfigFile.Read(folder);
        if (file.Config.TargetModules is null)
            file = file with { Config = file.Config with { TargetModules = UsualTargets(model) } };
        if (file.TaskType == "SEQ_CLS" && model is CausalLM)
            throw new InvalidDataException($"{folder} is an adapter of a classifier or reward model, not of a language model.");
        var adapter = Create(model, file, isNew: false, isTrained, e => new InvalidDataException(
            $"{folder} does not fit {model.Architecture}: {e.Message} Name the model that it was trained on as its base.", e));
        try
        {
            using var weights = OpenWeights(folder);
            adapter.Read(weights);
            if (model is SequenceClassifier classifier && classifier.NewModules.FirstOrDefault(
                m => !adapter.parameters.Any(p => p.Key.StartsWith($"{Prefix}{m}.", StringComparison.Ordinal))) is { } absent)
                throw new InvalidDataException($"{folder} holds no {absent}, and neither does its base: the adapter was made for another kind of model.");
        }
        catch
        {
            adapter.Dispose();
            throw;
        }
        adapter.Activate();
        return adapter;
    }

    /// <summary>
    /// A model of an adapter folder beside its base: it shares the base's weights and has its own adapter, so that several adapters of one
    /// base can be used at the same time without loading the base again.
    /// </summary>
    /// <param name="baseModel">The base, without an adapter of its own. It has to outlive the result, and its weights are frozen.</param>
    /// <param name="folder">The adapter folder.</param>
    /// <returns>The model; dispose it before its base. What the adapter trains of the base itself (biases, embeddings) is its own copy.</returns>
    /// <exception cref="ArgumentException">The base has an adapter.</exception>
    /// <exception cref="FileNotFoundException">adapter_config.json or the weights are not there.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, asks for something that is not supported, or belongs to another base.</exception>
    public static CausalLM LoadBeside(CausalLM baseModel, string folder)
    {
        if (baseModel.Adapter is not null)
            throw new ArgumentException("The base has an adapter of its own.", nameof(baseModel));
        var config = LoraConfigFile.Read(folder).Config;
        var whole = LoraTargets.Saved(baseModel, config, isNew: false).ToHashSet();
        baseModel.Freeze();
        var model = baseModel.CreateView(name => whole.Contains(name)
            || config.Bias != LoraBias.None && name.Contains("bias", StringComparison.Ordinal));
        try
        {
            Load(model, folder);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Opens adapter_model.safetensors, or adapter_model.bin as older versions of PEFT write it.</summary>
    internal static IWeightSource OpenWeights(string folder)
    {
        string safe = Path.Combine(folder, WeightsName), older = Path.Combine(folder, "adapter_model.bin");
        return WeightFiles.OpenFile(System.IO.File.Exists(safe) ? safe : System.IO.File.Exists(older) ? older
            : throw new FileNotFoundException($"{folder}: there are no weights; expected {WeightsName} or adapter_model.bin.", safe));
    }

    /// <summary>Writes adapter_config.json and adapter_model.safetensors, which PEFT opens.</summary>
    /// <param name="folder">The adapter folder; made when it does not exist.</param>
    /// <param name="storeAs">Element type in the file; null keeps each weight's own.</param>
    public void Save(string folder, ScalarType? storeAs = null)
    {
        Directory.CreateDirectory(folder);
        File.Save(folder, layers.Any(l => l.Linear.IsConv1D));
        // A classifier's labels and padding token are nowhere else, where its base is a language model.
        if (Model is SequenceClassifier)
            Model.Configuration.With("architectures", new JsonArray(Model.Architecture)).Save(folder, withGeneration: false);
        SafeTensors.Save(Path.Combine(folder, WeightsName),
            [.. parameters.Select(p => KeyValuePair.Create(p.Key, Values(p.Value))), .. AdaptedHead()], storeAs: storeAs);
    }

    /// <summary>Where an output layer called lm_head is adapted, PEFT saves its weight as well.</summary>
    private IEnumerable<KeyValuePair<string, Tensor>> AdaptedHead()
    {
        string[] embeddings = ["embed_tokens", "lm_head"];
        var targets = Config.TargetModules!;
        bool isNamed = embeddings.Any(e => targets.Pattern?.Contains(e, StringComparison.Ordinal) ?? targets.Names.Contains(e));
        return Model is CausalLM model && isNamed && layers.Any(l => l.Linear == model.Head.Layer)
            ? [new($"{Prefix}{model.Head.Layer.Name}.{Base}weight", model.Head.Layer.Own.Weight)] : [];
    }

    private void Read(IWeightSource weights)
    {
        using var noGrad = no_grad();
        var names = weights.Names.ToHashSet();
        var expected = parameters.ToDictionary(p => p.Key, p => Stored(p.Key, names));
        string[] missing = [.. expected.Where(e => e.Value is null).Select(e => e.Key[Prefix.Length..])];
        string[] unknown = [.. names.Where(n => !expected.ContainsValue(n) && !IsKnownExtra(n) && !IsOfBase(weights, n)).Select(n => UntrustedText.Clean(n)).Order()];
        if (missing.Length > 0 || unknown.Length > 0)
            throw new InvalidDataException($"{weights.Path} does not fit {Model.Architecture} and {LoraConfigFile.Name}: "
                + string.Join(" and ", ((string[])[Some("lacks", missing), Some("holds what they have no place for,", unknown)]).Where(s => s.Length > 0))
                + ". Name the model that it was trained on as its base.");
        foreach (var (name, parameter) in parameters)
        {
            var target = Values(parameter);
            if (!weights.Shape(expected[name]!).SequenceEqual(target.shape))
                throw new InvalidDataException($"{weights.Path}: {name[Prefix.Length..]} is [{string.Join(", ", weights.Shape(expected[name]!))}], but "
                    + $"{Model.Architecture} needs [{string.Join(", ", target.shape)}]: the adapter was trained on a model of another size. "
                    + "Name the model that it was trained on as its base.");
            weights.ReadInto(expected[name]!, target);
        }
    }

    /// <summary>
    /// PEFT saves the output layer itself with an adapter of it. It has to be the base's: where it is not, the vocabulary was changed.
    /// </summary>
    private bool IsOfBase(IWeightSource weights, string name)
    {
        string module = name.Replace(Base, "", StringComparison.Ordinal);
        if (!module.StartsWith(Prefix, StringComparison.Ordinal))
            return false;
        module = module[Prefix.Length..];
        var own = Model.Linears.FirstOrDefault(l => l.Name + ".weight" == module)?.Own.Weight
            ?? (Model.Parameters.Contains(module) ? Model.Parameters[module] : null);
        if (own is null || !weights.Shape(name).SequenceEqual(own.shape))
            return false;
        using var stored = empty_like(own);
        weights.ReadInto(name, stored);
        return stored.Equals(own);
    }

    /// <summary>A parameter's values as the adapter has them: while it is off, those in the base are the base's.</summary>
    private Tensor Values(Parameter parameter) =>
        !IsActive && saved.Concat(biases).FirstOrDefault(s => ReferenceEquals(s.Target, parameter)) is { } swapped ? swapped.Other : parameter;

    private static string Some(string what, string[] names) => names.Length == 0 ? ""
        : $"it {what} {string.Join(", ", names.Take(4))}{(names.Length > 4 ? $" and {names.Length - 4} more" : "")}";

    /// <summary>The name that a file has for a parameter; older versions of PEFT leave <c>base_layer</c> out.</summary>
    private static string? Stored(string name, HashSet<string> names) => names.Contains(name) ? name
        : name.Replace(Base, "", StringComparison.Ordinal) is var older && names.Contains(older) ? older
        : name.EndsWith(".lora_magnitude_vector", StringComparison.Ordinal) && names.Contains(name + ".weight") ? name + ".weight" : null;

    /// <summary>A critic's head, and what PEFT stores twice where biases and whole modules meet.</summary>
    private static bool IsKnownExtra(string name) => CheckpointNames.IsValueHead(name)
        || name.Contains(".original_module.", StringComparison.Ordinal) || name.Contains(".modules_to_save.", StringComparison.Ordinal);
}
