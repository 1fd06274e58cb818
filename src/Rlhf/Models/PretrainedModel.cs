using Rlhf.Runtime.Native;
using Rlhf.Weights;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>A model whose weights have the names and layout of Hugging Face's checkpoints.</summary>
public abstract class PretrainedModel : IDisposable
{
    /// <summary>Makes the model's parameters, uninitialised.</summary>
    /// <param name="device">Where the model computes; null is the CPU.</param>
    /// <param name="shared">Parameters of another model to use, by name, instead of making them.</param>
    protected PretrainedModel(Device? device, IReadOnlyDictionary<string, Parameter>? shared = null)
    {
        LibTorch.Initialize();
        Device = device ?? CPU;
        Parameters = new NamedParameters(Device, shared);
    }

    /// <summary>Where the model computes.</summary>
    public Device Device { get; }

    /// <summary>The parameters, under the names that <see cref="SavePretrained"/> writes.</summary>
    public NamedParameters Parameters { get; }

    /// <summary>Applies the configuration's dropout; false (evaluation) unless a trainer says otherwise.</summary>
    public bool Training { get; set; }

    /// <summary>
    /// Sets <see cref="Training"/> until the result is disposed, which restores what it was before: also after an exception.
    /// </summary>
    public IDisposable InMode(bool training)
    {
        var scope = new ModeScope(this, Training);
        Training = training;
        return scope;
    }

    /// <summary>transformers' class name, such as <c>GPT2LMHeadModel</c>.</summary>
    public abstract string Architecture { get; }

    /// <summary>Writes config.json (and generation_config.json where the architecture has one).</summary>
    protected abstract void SaveConfiguration(string folder);

    /// <summary>
    /// The name under which a checkpoint holds a parameter, or null when it has none of it. Old
    /// checkpoints lack a prefix or say gamma and beta.
    /// </summary>
    protected abstract string? FindInCheckpoint(string parameter, IReadOnlySet<string> checkpoint);

    /// <summary>
    /// Parameters that a checkpoint may lack (a head that is trained from scratch); they keep their initial values.
    /// </summary>
    protected virtual bool MayBeMissing(string parameter) => false;

    /// <summary>Fills every parameter with its initial value, drawn from the seed.</summary>
    public abstract void Initialize(long seed);

    /// <summary>Reads all parameters from a checkpoint.</summary>
    /// <returns>Names of parameters that the checkpoint lacks and that may be missing.</returns>
    /// <exception cref="InvalidDataException">A parameter is missing or has another shape; the message
    /// names all of them.</exception>
    public IReadOnlyList<string> LoadWeights(IWeightSource weights)
    {
        using var noGrad = no_grad();
        List<string> missing = [], absent = [];
        var names = weights.Names.ToHashSet();
        foreach (var (name, parameter) in Parameters)
        {
            if (FindInCheckpoint(name, names) is { } stored)
                weights.ReadInto(stored, parameter);
            else if (MayBeMissing(name))
                absent.Add(name);
            else
                missing.Add(name);
        }
        if (missing.Count > 0)
            throw new InvalidDataException($"{weights.Path} is no {Architecture}: it lacks " +
                $"{missing.Count} of {Parameters.Count} tensors, among them {string.Join(", ", missing.Take(4))}. " +
                "Check that config.json and the weights belong together.");
        return absent;
    }

    /// <summary>Writes config.json and model.safetensors, which transformers opens.</summary>
    /// <param name="folder">The model folder; made when it does not exist.</param>
    /// <param name="storeAs">Element type in the file; null keeps float32.</param>
    /// <param name="heads">Further parameters that belong to the model, such as a value head.</param>
    public void SavePretrained(
        string folder, ScalarType? storeAs = null, IEnumerable<KeyValuePair<string, Parameter>>? heads = null)
    {
        Directory.CreateDirectory(folder);
        SaveConfiguration(folder);
        var tensors = Parameters.Concat(heads ?? []).Select(p => new KeyValuePair<string, Tensor>(p.Key, p.Value));
        WeightFiles.Save(folder, [.. tensors], storeAs);
    }

    /// <summary>Turns off gradients: the model will only be read.</summary>
    public void Freeze() => Parameters.RequireGradient(false);

    private sealed class ModeScope(PretrainedModel model, bool before) : IDisposable
    {
        public void Dispose() => model.Training = before;
    }

    /// <inheritdoc/>
    public virtual void Dispose()
    {
        Parameters.Dispose();
        GC.SuppressFinalize(this);
    }
}
