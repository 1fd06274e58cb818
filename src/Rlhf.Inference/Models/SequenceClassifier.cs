using Rlhf.Models.Onnx;
using Rlhf.Runtime;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>A model that gives each row of tokens one logit per label.</summary>
/// <param name="plan">Where and how the model computes; null is float32 on the CPU.</param>
public abstract class SequenceClassifier(ComputePlan? plan) : PretrainedModel(plan)
{
    // Of language models, masked language models and question answering.
    private static readonly string[] OtherHeads =
        ["lm_head.", "embed_out.", "cls.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "qa_outputs."];

    private bool headIsNew;

    /// <summary>Label names by index, such as NEGATIVE and POSITIVE.</summary>
    public abstract IReadOnlyList<string> Labels { get; }

    /// <summary>One of <see cref="ProblemTypes"/>, or null when config.json does not say.</summary>
    public virtual string? ProblemType => null;

    /// <summary>Longest row in tokens.</summary>
    public abstract int MaxPositions { get; }

    /// <summary>Modules that were drawn and not loaded: a new head, and what comes with it. An adapter has to save them.</summary>
    internal IReadOnlyList<string> NewModules { get; private set; } = [];

    /// <summary>Logits [B, labels]. The caller owns the tensor.</summary>
    public abstract Tensor Forward(PackedBatch batch);

    /// <summary><see cref="Forward"/> in ONNX's operators: logits [B, labels].</summary>
    /// <exception cref="NotSupportedException">The architecture has no form in ONNX.</exception>
    internal virtual OnnxValue Graph(OnnxGraph graph, OnnxRows rows) => throw OnnxGraph.NoForm(Architecture);

    /// <summary>
    /// Gives every parameter its initial value, each from its own random stream, so that one does not
    /// depend on another's presence.
    /// </summary>
    public override void Initialize(long seed)
    {
        using var noGrad = no_grad();
        foreach (var (name, parameter) in Parameters)
            InitializeParameter(name, parameter, seed);
    }

    /// <summary>Gives one parameter its initial value.</summary>
    protected abstract void InitializeParameter(string name, Tensor parameter, long seed);

    /// <summary>
    /// Adds a constant to every logit of every text, by moving a bias: it moves the zero of a reward and leaves differences as
    /// they are.
    /// </summary>
    public abstract void ShiftLogits(double amount);

    /// <summary>Is there a bias that <see cref="ShiftLogits"/> can move? Most language models have none behind their last layer.</summary>
    public virtual bool CanShiftLogits => true;

    /// <summary>Does a parameter belong to the head that a <see cref="NewHead"/> replaces?</summary>
    protected abstract bool IsHead(string parameter);

    /// <summary>
    /// The name under which a checkpoint holds a parameter, or null; see <see cref="PretrainedModel.FindInCheckpoint"/>.
    /// </summary>
    protected abstract string? FindStored(string parameter, IReadOnlySet<string> checkpoint);

    /// <summary>A parameter outside the head that a checkpoint without a head may also lack.</summary>
    protected virtual bool ComesWithHead(string parameter) => false;

    /// <inheritdoc/>
    protected internal sealed override string? FindInCheckpoint(string parameter, IReadOnlySet<string> checkpoint) =>
        headIsNew && IsHead(parameter) ? null : FindStored(parameter, checkpoint);

    /// <inheritdoc/>
    protected sealed override bool MayBeMissing(string parameter) => headIsNew && (IsHead(parameter) || ComesWithHead(parameter));

    /// <summary>Heads for other tasks mean nothing to a classifier.</summary>
    protected override bool IsKnownExtra(string tensor) => base.IsKnownExtra(tensor)
        || OtherHeads.Any(h => tensor.StartsWith(h, StringComparison.Ordinal)) || headIsNew && IsHead(tensor);

    /// <summary>Reads all parameters but those of the head, which are drawn from the seed.</summary>
    internal void LoadWeightsUnderNewHead(IWeightSource weights, long seed)
    {
        headIsNew = true;
        var absent = LoadWeights(weights);
        headIsNew = false;
        NewModules = [.. absent.Select(n => n[..n.LastIndexOf('.')]).Distinct()];
        using var noGrad = no_grad();
        foreach (var name in absent)
            InitializeParameter(name, Parameters[name], seed);
    }
}
