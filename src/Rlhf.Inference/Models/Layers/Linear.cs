using Rlhf.Models.Adapters;
using Rlhf.Runtime.Operators;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Rlhf.Models.Layers;

/// <summary>A linear layer: the only object of a model that owns a weight matrix.</summary>
/// <param name="name">Name of the layer in a checkpoint, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="weight">[out, in]; [in, out] where <paramref name="isConv1D"/> is true.</param>
/// <param name="bias">[out], or null.</param>
/// <param name="isConv1D">The weight is stored as transformers' Conv1D stores it, inputs first.</param>
public sealed class Linear(string name, Parameter weight, Parameter? bias = null, bool isConv1D = false)
{
    /// <summary>Name of the layer in a checkpoint; its parameters are <c>NAME.weight</c> and <c>NAME.bias</c>.</summary>
    public string Name { get; } = name;

    /// <summary>[out, in], or [in, out] where <see cref="IsConv1D"/> is true; that of an adapter where one stands in for it.</summary>
    public Parameter Weight => (Substitute ?? Own).Weight;

    /// <summary>[out], or null.</summary>
    public Parameter? Bias => (Substitute ?? Own).Bias;

    /// <summary>The weight is stored as transformers' Conv1D stores it, inputs first.</summary>
    public bool IsConv1D { get; } = isConv1D;

    /// <summary>
    /// What <see cref="Apply"/> adds to the product with <see cref="Weight"/>, or null. Whoever multiplies with the weight without
    /// <see cref="Apply"/> has to ask for it.
    /// </summary>
    public LoraLayer? Adapter { get; internal set; }

    /// <summary>What stands in for the layer's own weight and bias: an adapter's copy of them, or what merging gave.</summary>
    internal LinearWeights? Substitute { get; set; }

    /// <summary>The layer's own weight and bias, whatever stands in for them.</summary>
    internal LinearWeights Own { get; } = new(weight, bias);

    /// <summary>Width of the layer's input.</summary>
    public long Inputs => Weight.shape[IsConv1D ? 0 : 1];

    /// <summary>Width of the layer's output.</summary>
    public long Outputs => Weight.shape[IsConv1D ? 1 : 0];

    /// <summary>Weight and bias, where there is one.</summary>
    public IEnumerable<Parameter> Parameters => Bias is null ? [Weight] : [Weight, Bias];

    /// <summary>Makes the layer's parameters, uninitialized.</summary>
    /// <param name="parameters">The model's parameters.</param>
    /// <param name="name">Name of the layer in a checkpoint.</param>
    /// <param name="inputs">Width of its input.</param>
    /// <param name="outputs">Width of its output.</param>
    /// <param name="hasBias">Does it have a bias?</param>
    /// <param name="isConv1D">Store the weight as transformers' Conv1D does, inputs first.</param>
    public static Linear Add(
        NamedParameters parameters, string name, int inputs, int outputs, bool hasBias = true, bool isConv1D = false)
    {
        long[] shape = isConv1D ? [inputs, outputs] : [outputs, inputs];
        var weight = parameters.AddMatrix(name + ".weight", isConv1D ? 1 : 0, shape);
        return new Linear(name, weight, hasBias ? parameters.Add(name + ".bias", outputs) : null, isConv1D);
    }

    /// <summary>Sets the gradients of the parameters and of the adapter to 0, where there are any.</summary>
    public void ZeroGradients()
    {
        using var scope = NewDisposeScope(); // of the wrappers that grad and zero_ make
        foreach (var parameter in Parameters.Concat(Adapter?.Parameters ?? []))
            if (parameter is { requires_grad: true, grad: { } gradient })
                gradient.zero_();
    }

    /// <summary>[M, in] to [M, out], differentiable; gradients of the parameters go straight into their <c>grad</c>.</summary>
    public Tensor Apply(Tensor x) => Adapter is null ? Product(x) : Adapter.Apply(this, x);

    /// <summary>The same without an adapter.</summary>
    internal Tensor Product(Tensor x) =>
        IsConv1D ? MatrixProduct.Conv1D(x, Weight, Bias) : MatrixProduct.Linear(x, Weight, Bias);
}

/// <summary>Weight and bias of a linear layer, in its own layout.</summary>
internal sealed record LinearWeights(Parameter Weight, Parameter? Bias);
