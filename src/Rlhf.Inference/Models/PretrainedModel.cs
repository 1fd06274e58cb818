using System.Text.Json.Nodes;
using Rlhf.Models.Adapters;
using Rlhf.Models.Layers;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Text;
using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models;

/// <summary>A model whose weights have the names and layout of Hugging Face's checkpoints.</summary>
public abstract class PretrainedModel : IDisposable
{
    private readonly List<string> loadNotes = [];

    /// <summary>Makes the model's parameters, uninitialized.</summary>
    /// <param name="plan">Where and how the model computes; null is float32 on the CPU.</param>
    /// <param name="shared">Parameters of another model to use, by name, instead of making them.</param>
    protected PretrainedModel(ComputePlan? plan, IReadOnlyDictionary<string, Parameter>? shared = null)
    {
        LibTorch.Initialize();
        Plan = plan ?? ComputePlan.Default;
        if (Plan.RecomputesActivations && !CanRecompute)
            throw new NotSupportedException("Recomputing activations is not available for this model.");
        if (Plan.Base != BaseStorage.Float32 && (!CanStoreBase || Plan.Device.type != DeviceType.CPU || Plan.Weights != ScalarType.Float32))
            throw new NotSupportedException(!CanStoreBase ? $"Keeping the weights as {Plan.Base} is not available for this model."
                : $"Weights are kept as {Plan.Base} and multiplied in float32 on the CPU alone.");
        Parameters = new NamedParameters(Plan.Device, shared, Plan.Weights, Plan.Base);
    }

    /// <summary>Can the family compute activations again in the backward pass?</summary>
    private protected virtual bool CanRecompute => false;

    /// <summary>Can the family multiply with matrices that are kept in fewer bytes?</summary>
    private protected virtual bool CanStoreBase => false;

    /// <summary>Where and how the model computes.</summary>
    public ComputePlan Plan { get; }

    /// <summary>Where the model computes.</summary>
    public Device Device => Plan.Device;

    /// <summary>The parameters, under the names that <see cref="SavePretrained"/> writes.</summary>
    public NamedParameters Parameters { get; }

    /// <summary>The linear layers, the output layer included: what adapters can be attached to.</summary>
    public virtual IReadOnlyList<Linear> Linears => [];

    /// <summary>The adapter that the model computes with, or null; <see cref="LoraAdapter.Attach"/> and its like set it.</summary>
    public LoraAdapter? Adapter { get; internal set; }

    /// <summary>
    /// What a trainer trains and a checkpoint holds: the adapter's parameters, or all of the model's where there is none. Those that
    /// require no gradient stay as they are.
    /// </summary>
    public IReadOnlyList<KeyValuePair<string, Parameter>> TrainedParameters => Adapter?.Parameters ?? Parameters;

    /// <summary>The file of a folder that <see cref="TrainedParameters"/> are saved in: model.safetensors, or an adapter's.</summary>
    public string TrainedFile => Adapter is null ? WeightFiles.FileNames[0] : LoraAdapter.WeightsName;

    /// <summary>Applies the configuration's dropout; false (evaluation) unless a trainer says otherwise.</summary>
    public bool Training { get; set; }

    /// <summary>transformers' class name, such as <c>GPT2LMHeadModel</c>.</summary>
    public abstract string Architecture { get; }

    /// <summary>What config.json says of the model as it is now.</summary>
    public abstract ModelConfig Configuration { get; }

    /// <summary>Raised with every entry of <see cref="LoadNotes"/> of any model, for programs that show them to people.</summary>
    public static event Action<string>? Noticed;

    /// <summary>What <see cref="LoadWeights"/> noticed: tensors of the checkpoint that the model has no place for, and the like.</summary>
    public IReadOnlyList<string> LoadNotes => loadNotes;

    /// <summary>
    /// Sets <see cref="Training"/> until the result is disposed, which restores what it was before: also after an exception.
    /// </summary>
    public IDisposable InMode(bool training)
    {
        var scope = new ModeScope(this, Training);
        Training = training;
        return scope;
    }

    /// <summary>
    /// The name under which a checkpoint holds a parameter, or null when it has none of it. Old
    /// checkpoints lack a prefix or say gamma and beta.
    /// </summary>
    protected internal virtual string? FindInCheckpoint(string parameter, IReadOnlySet<string> checkpoint) =>
        checkpoint.Contains(parameter) ? parameter : null;

    /// <summary>
    /// Parameters that a checkpoint may lack (a head that is trained from scratch); they keep their initial values.
    /// </summary>
    protected virtual bool MayBeMissing(string parameter) => false;

    /// <summary>
    /// Tensors that checkpoints of this kind hold beside the model's parameters and that mean nothing to it: buffers that are computed
    /// anew, heads for another task.
    /// </summary>
    protected virtual bool IsKnownExtra(string tensor) => CheckpointNames.IsBuffer(tensor);

    /// <summary>Fills every parameter with its initial value, drawn from the seed.</summary>
    public abstract void Initialize(long seed);

    /// <summary>
    /// Reads all parameters from a checkpoint. Tensors of the checkpoint that the model has no place for are in <see cref="LoadNotes"/>.
    /// </summary>
    /// <returns>Names of parameters that the checkpoint lacks and that may be missing.</returns>
    /// <exception cref="InvalidDataException">A parameter is missing or has another shape (the message names them), or the
    /// checkpoint holds tensors of blocks that the configuration does not describe.</exception>
    public IReadOnlyList<string> LoadWeights(IWeightSource weights)
    {
        using var noGrad = no_grad();
        List<string> missing = [], absent = [];
        var names = weights.Names.ToHashSet();
        HashSet<string> used = [];
        foreach (var (name, parameter) in Parameters.ToArray())
        {
            if (FindInCheckpoint(name, names) is { } stored)
            {
                weights.ReadParameter(stored, parameter);
                used.Add(stored);
            }
            else if (MayBeMissing(name))
                absent.Add(name);
            else
                missing.Add(name);
        }
        if (missing.Count > 0)
            throw new InvalidDataException($"{weights.Path} does not fit {Architecture}: it lacks " +
                $"{missing.Count} of {Parameters.Count} tensors, among them {string.Join(", ", missing.Take(4))}. " +
                "Check that config.json and the weights belong together.");
        loadNotes.Clear();
        ReadFurther(weights, names, used);
        CheckUnused(weights.Path, [.. weights.Names.Where(n => !used.Contains(n) && !IsKnownExtra(n))], used);
        return absent;
    }

    /// <summary>Reads what the checkpoint holds beyond the parameters; adds the names of what it read to <paramref name="used"/>.</summary>
    private protected virtual void ReadFurther(IWeightSource weights, IReadOnlySet<string> names, HashSet<string> used)
    {
    }

    private protected void Note(string note)
    {
        loadNotes.Add(note);
        Noticed?.Invoke(note);
    }

    /// <summary>
    /// A tensor within a block that has no parameter for it means that config.json describes another model; one elsewhere is reported.
    /// </summary>
    private void CheckUnused(string path, string[] unused, HashSet<string> used)
    {
        var blocks = used.Select(CheckpointNames.BlockPattern).OfType<string>().ToHashSet();
        string[] own = [.. unused.Where(n => CheckpointNames.BlockPattern(n) is { } block && blocks.Contains(block))];
        if (own.Length > 0)
            throw new InvalidDataException($"{path} holds {own.Length} tensors that config.json has no place for, among them "
                + $"{string.Join(", ", own.Take(4).Select(n => UntrustedText.Clean(n)))}: it describes another model, such as one with fewer "
                + "layers or without these biases. Check that config.json and the weights belong together.");
        if (unused.Length > 0)
            Note($"{path} holds {unused.Length} tensor{(unused.Length == 1 ? "" : "s")} that {Architecture} has no place for and that "
                + $"{(unused.Length == 1 ? "was" : "were")} not read: {string.Join(", ", unused.Take(6).Select(n => UntrustedText.Clean(n)))}"
                + $"{(unused.Length > 6 ? ", …" : "")}.");
    }

    /// <summary>
    /// Writes config.json and model.safetensors, which transformers opens. A model with an adapter writes the adapter alone, which PEFT
    /// opens, and <paramref name="heads"/> in model.safetensors beside it, as TRL does.
    /// </summary>
    /// <param name="folder">The model folder; made when it does not exist.</param>
    /// <param name="storeAs">Element type in the file; null keeps the model's.</param>
    /// <param name="heads">Further parameters that belong to the model, such as a value head.</param>
    /// <param name="maxShardSize">Most bytes of one file of a whole model's weights (<see cref="WeightFiles.Save"/>); null is one file.</param>
    public void SavePretrained(string folder, ScalarType? storeAs = null, IEnumerable<KeyValuePair<string, Parameter>>? heads = null,
        long? maxShardSize = null)
    {
        Directory.CreateDirectory(folder);
        if (Adapter is { } adapter)
        {
            adapter.Save(folder, storeAs);
            if (heads?.Select(p => new KeyValuePair<string, Tensor>(p.Key, p.Value)).ToArray() is { Length: > 0 } beside)
                WeightFiles.Save(folder, beside, storeAs);
            return;
        }
        if (Plan.Base == BaseStorage.Int8)
            throw new NotSupportedException("A model whose weights are kept as int8 is not saved, as they are not what its file held; load it in float32 first.");
        SaveConfiguration(folder, storeAs);
        var tensors = Parameters.Concat(heads ?? []).Select(p => new KeyValuePair<string, Tensor>(p.Key, p.Value));
        WeightFiles.Save(folder, [.. tensors], storeAs, maxShardSize);
    }

    /// <summary>Turns off gradients: the model will only be read.</summary>
    public void Freeze() => Parameters.RequireGradient(false);

    private protected virtual void SaveConfiguration(string folder, ScalarType? storeAs) => Saved(storeAs).Save(folder, withGeneration: false);

    private protected ModelConfig Saved(ScalarType? storeAs) => Configuration.With(
        [new("architectures", new JsonArray(Architecture)), new("dtype", TypeName(storeAs ?? Plan.Weights))]);

    private static string TypeName(ScalarType type) => type switch
    {
        ScalarType.BFloat16 => "bfloat16",
        ScalarType.Float16 => "float16",
        ScalarType.Float64 => "float64",
        _ => "float32",
    };

    private sealed class ModeScope(PretrainedModel model, bool before) : IDisposable
    {
        public void Dispose() => model.Training = before;
    }

    /// <inheritdoc/>
    public virtual void Dispose()
    {
        Adapter?.Dispose();
        Parameters.Dispose();
        GC.SuppressFinalize(this);
    }
}
