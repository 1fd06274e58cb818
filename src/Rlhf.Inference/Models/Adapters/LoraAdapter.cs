using Rlhf.Models.Layers;
using Rlhf.Runtime;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Models.Adapters;

/// <summary>
/// A LoRA adapter on a model: what is trained in place of the model's own weights, which it leaves as they are. Files come from and go to
/// PEFT. One adapter of a model is active at a time; several may be loaded.
/// </summary>
/// <remarks>
/// While it is active, the base's weights require no gradient. Biases that it trains (<see cref="LoraConfig.Bias"/>) are the base's own, as
/// in PEFT: <see cref="Off"/> leaves them as the adapter has them, and only <see cref="Deactivate"/> brings the base's back.
/// </remarks>
public sealed partial class LoraAdapter : IDisposable
{
    private readonly List<(Linear Linear, LoraLayer Layer)> layers = [];
    private readonly List<(Linear Linear, LinearWeights Weights)> substitutes = [];
    private readonly List<Swapped> saved = [], biases = [];
    private readonly List<KeyValuePair<string, Parameter>> parameters = [];
    private readonly List<Parameter> owned = [];
    private readonly bool isTrained;
    private LinearWeights? tiedOutput;
    private bool isOff;
    private List<(Parameter Parameter, bool Required)> gradientsBefore = [];
    private List<(Linear Linear, LinearWeights Weights)> merged = [];

    private LoraAdapter(PretrainedModel model, LoraConfigFile file, bool isNew, bool isTrained)
    {
        (Model, File, this.isTrained) = (model, file, isTrained);
        var whole = LoraTargets.Saved(model, Config, isNew).ToHashSet();
        foreach (var linear in LoraTargets.Linears(model, Config, isNew))
            AddLayer(linear);
        foreach (var linear in model.Linears)
            AddSubstitute(linear, whole);
        foreach (var (name, parameter) in model.Parameters)
            if (whole.Contains(name) && !substitutes.Any(s => s.Linear.Name + "." == name[..(name.LastIndexOf('.') + 1)]))
                AddSwapped(saved, name, parameter);
        KeepOutputOfTied();
        foreach (var (name, parameter) in model.Parameters.Where(p => !whole.Contains(p.Key) && TrainsBias(p.Key)))
            AddSwapped(biases, IsAdapted(name) ? Within(name, Base) : name, parameter);
    }

    /// <summary>The model; it stays its owner's.</summary>
    public PretrainedModel Model { get; }

    /// <summary>The settings.</summary>
    public LoraConfig Config => File.Config;

    /// <summary>What adapter_config.json says.</summary>
    public LoraConfigFile File { get; }

    /// <summary>Is it the model's active adapter?</summary>
    public bool IsActive => Model.Adapter == this;

    /// <summary>What is trained and saved, under the names of <see cref="WeightsName"/>.</summary>
    public IReadOnlyList<KeyValuePair<string, Parameter>> Parameters => parameters;

    /// <summary>Number of weights in <see cref="Parameters"/>.</summary>
    public long ElementCount => parameters.Sum(p => p.Value.numel());

    /// <summary>Puts a new adapter on a model, to be trained, and makes it the active one.</summary>
    /// <param name="model">The model; its own weights are frozen while the adapter is active.</param>
    /// <param name="config">The settings; a classifier's head is trained and saved with the adapter, whatever they say.</param>
    /// <param name="seed">Of the initial values.</param>
    /// <param name="baseModel">Where the model is found again: a folder, or a name on the Hub; written to adapter_config.json.</param>
    /// <param name="revision">The revision of <paramref name="baseModel"/> on the Hub, or null.</param>
    /// <exception cref="ConfigurationException">A setting cannot be used, alone or with this model; the message lists what the model has.</exception>
    public static LoraAdapter Attach(
        PretrainedModel model, LoraConfig config, long seed = 0, string? baseModel = null, string? revision = null)
    {
        var adapter = CreateNew(model, config, baseModel, revision);
        adapter.Initialize(seed);
        adapter.Activate();
        return adapter;
    }

    private static LoraAdapter CreateNew(PretrainedModel model, LoraConfig config, string? baseModel, string? revision)
    {
        ConfigurationException.ThrowIfAny([.. config.Validate()]);
        config = config with { TargetModules = config.TargetModules ?? UsualTargets(model) };
        if (model is SequenceClassifier classifier)
            config = config with
            {
                ModulesToSave = [.. config.ModulesToSave.Concat(LoraTargets.ClassifierHeads).Concat(classifier.NewModules).Distinct()],
            };
        var file = new LoraConfigFile(config, baseModel, revision, model is SequenceClassifier ? "SEQ_CLS" : "CAUSAL_LM");
        return Create(model, file, isNew: true, isTrained: true, e => new ConfigurationException([e.Message]));
    }

    /// <summary>How many weights a new adapter on a model trains, before either takes any memory.</summary>
    /// <param name="model">The model's configuration.</param>
    /// <param name="config">The settings.</param>
    /// <param name="classifies">Is the model a classifier, and no language model?</param>
    /// <exception cref="ConfigurationException">A setting cannot be used, alone or with this model.</exception>
    /// <exception cref="InvalidDataException">The model's configuration is malformed, or not supported.</exception>
    internal static long CountParameters(ModelConfig model, LoraConfig config, bool classifies = false)
    {
        // Tensors of libtorch's meta device have shapes alone.
        using PretrainedModel empty = classifies ? AutoModelForSequenceClassification.FromConfig(model, META) : AutoModelForCausalLM.FromConfig(model, META);
        using var adapter = CreateNew(empty, config, null, null);
        return adapter.ElementCount;
    }

    /// <summary>Makes this the model's adapter, in place of another one.</summary>
    public void Activate()
    {
        if (IsActive)
            return;
        Model.Adapter?.Deactivate();
        gradientsBefore = [.. Model.Parameters.Select(p => (p.Value, p.Value.requires_grad))];
        Model.Freeze();
        foreach (var bias in biases)
            bias.Swap(isTrained);
        Model.Adapter = this;
        TurnOn();
    }

    /// <summary>Takes the adapter off its model, which is then exactly as it was before.</summary>
    public void Deactivate()
    {
        if (!IsActive)
            return;
        DropMerged();
        TurnOff();
        foreach (var bias in biases)
            bias.Swap(false);
        foreach (var (parameter, required) in gradientsBefore)
            parameter.requires_grad = required;
        Model.Adapter = null;
    }

    /// <summary>
    /// The model computes without the adapter until the result is disposed; biases that the adapter trained stay as they are.
    /// PEFT: <c>disable_adapter</c>.
    /// </summary>
    public IDisposable Off()
    {
        if (!IsActive || isOff)
            return new Ending(() => { });
        isOff = true;
        var merges = merged;
        merged = [];
        TurnOff();
        return new Ending(() =>
        {
            isOff = false;
            TurnOn();
            if (merges.Count > 0)
                UseMerged(merges);
        });
    }

    /// <summary>The output layer as it is without the adapter.</summary>
    internal Linear BaseHead(CausalLM model)
    {
        var head = model.Head.Layer;
        var own = tiedOutput ?? head.Own;
        return new Linear(head.Name, own.Weight, own.Bias, head.IsConv1D);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Deactivate();
        foreach (var parameter in owned)
            parameter.Dispose();
        foreach (var each in saved.Concat(biases))
            each.Dispose();
    }

    private static LoraAdapter Create(
        PretrainedModel model, LoraConfigFile file, bool isNew, bool isTrained, Func<Exception, Exception> explain)
    {
        try
        {
            // Copies of the base's weights are of the base alone.
            using var off = new Ending(model.Adapter is { } other ? Suspend(other) : () => { });
            return new LoraAdapter(model, file, isNew, isTrained);
        }
        catch (Exception e) when (e is ConfigurationException or FormatException)
        {
            throw explain(e);
        }
    }

    private static Action Suspend(LoraAdapter other)
    {
        other.Deactivate();
        return () =>
        {
            if (other.Model.Adapter is null)
                other.Activate();
        };
    }

    private void TurnOn()
    {
        foreach (var each in saved)
            each.Swap(isTrained);
        foreach (var (linear, weights) in substitutes)
            linear.Substitute = weights;
        foreach (var (linear, layer) in layers)
            linear.Adapter = layer;
    }

    private void TurnOff()
    {
        foreach (var linear in layers.Select(l => l.Linear).Concat(substitutes.Select(s => s.Linear)))
            (linear.Adapter, linear.Substitute) = (null, null);
        foreach (var each in saved)
            each.Swap(false);
    }

    /// <summary>A parameter of the base, and the values that take turns in it.</summary>
    private sealed class Swapped(Parameter target) : IDisposable
    {
        private bool isKept;

        public Parameter Target { get; } = target;

        /// <summary>The adapter's values while it is off, the base's while it is on.</summary>
        public Tensor Other { get; } = target.detach().clone().DetachFromDisposeScope();

        public void Swap(bool requiresGrad)
        {
            if (isKept)
                return;
            using var noGrad = no_grad();
            using var before = Target.detach().clone();
            Target.copy_(Other);
            Other.copy_(before);
            Target.requires_grad = requiresGrad;
        }

        /// <summary>The values that are there now stay.</summary>
        public void Keep() => isKept = true;

        public void Dispose() => Other.Dispose();
    }

    private sealed class Ending(Action end) : IDisposable
    {
        private Action? end = end;

        public void Dispose()
        {
            end?.Invoke();
            end = null;
        }
    }
}
